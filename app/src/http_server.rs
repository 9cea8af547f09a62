//! The HTTP server of every program: accepts connections within limits, with deadlines, and stops cleanly.
//!
//! `axum::serve` has no limits, so connections are served by hyper, on which it is built. What hyper does not bound is
//! bounded here: connections in all and of one client ([`clients`]), and how slowly a client may take its responses
//! ([`write_deadline`]). How long a request may take, and how large its body may be, is the service's business.

mod clients;
mod files;
pub mod tls;
mod write_deadline;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use stitch_common::user_error::UserError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt};

use self::clients::Clients;
use self::write_deadline::WriteDeadline;

/// Room for a request head: an address with many keys, and headers.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// The pause after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection beyond the limit of its client gets, if it is not encrypted.
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 37\r\nretry-after: 1\r\nconnection: close\r\n\r\ntoo many connections of this address\n";

/// A service that answers HTTP requests.
pub trait HttpService:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// What clients may take of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; further ones wait in the system's queue.
    pub connections: usize,
    /// Connections at once of one client: of one address, or of one IPv6 network of 64 bits. Further ones are closed.
    pub connections_per_client: usize,
    /// How long a new connection may take for its TLS handshake, and then for its first request head.
    pub first_head: Duration,
    /// How long an open connection may be idle, or take for the head of another request.
    pub idle: Duration,
    /// How long a client may take for each 64 KiB of what is written to it.
    pub write: Duration,
    /// How long a clean stop waits for requests in flight.
    pub stop: Duration,
}

impl Limits {
    /// The deadlines that suit browsers, proxies and scrapers, with these limits of connections and of a clean stop.
    #[must_use]
    pub const fn new(connections: usize, connections_per_client: usize, stop: Duration) -> Self {
        Self {
            connections,
            connections_per_client,
            first_head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            write: Duration::from_secs(20),
            stop,
        }
    }
}

/// A bound listener. Until it serves, connections wait in the system's queue.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    permits: Arc<Semaphore>,
    clients: Clients,
    limits: Limits,
}

impl Server {
    /// Listens at `listen`, which errors call by its configuration key. Raises the limit of open files.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn bind(key: &str, listen: SocketAddr, limits: Limits) -> Result<Self, UserError> {
        let bind_error = |error: io::Error| {
            let message = format!("{key} = {listen}: cannot listen there: {error}");
            let help = "choose another address; port 0 lets the system choose a free one";
            UserError::new(message, help)
        };
        let listener = TcpListener::bind(listen).await.map_err(bind_error)?;
        files::raise_limit(limits.connections);
        Ok(Self {
            address: listener.local_addr().map_err(bind_error)?,
            listener,
            permits: Arc::new(Semaphore::new(limits.connections)),
            clients: Clients::new(limits.connections_per_client),
            limits,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then finishes the requests in flight. Returns how many connections had to be cut
    /// off because their requests took too long. `observe` is called with the number of open connections when it changes.
    ///
    /// # Cancellation
    /// Cuts off every connection.
    pub async fn serve<S: HttpService>(
        self,
        service: S,
        tls: Option<TlsAcceptor>,
        stop: &CancellationToken,
        observe: fn(usize),
    ) -> usize {
        let mut tasks = JoinSet::new();
        // Cancel-safe: an accept that is dropped leaves the connection in the queue.
        while let Some(accepted) = stop.run_until_cancelled(self.accept()).await {
            while tasks.try_join_next().is_some() {}
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(client_permit) = self.clients.admit(peer.ip()) else {
                tracing::debug!(%peer, "closed: too many connections of this address");
                refuse(&stream, tls.is_some());
                continue;
            };
            observe(self.open());
            let (service, tls, stop) = (service.clone(), tls.clone(), stop.clone());
            let permits = Arc::clone(&self.permits);
            let limits = self.limits;
            tasks.spawn(async move {
                connection(stream, service, tls, limits, &stop).await;
                drop((permit, client_permit));
                observe(limits.connections - permits.available_permits());
            });
        }
        drop(self.listener);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.limits.stop, all).await.is_ok() {
            return 0;
        }
        tasks.len()
    }

    fn open(&self) -> usize {
        self.limits.connections - self.permits.available_permits()
    }

    /// Accepts the next connection, once the limit allows one more.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, peer) = self.listener.accept().await?;
        Ok((stream, peer, permit))
    }
}

/// Says why the connection is closed, where that is possible without waiting.
fn refuse(stream: &TcpStream, encrypted: bool) {
    if encrypted {
        return;
    }
    if let Err(error) = stream.try_write(TOO_MANY) {
        tracing::debug!(%error, "the reason could not be sent");
    }
}

async fn connection(
    stream: TcpStream,
    service: impl HttpService,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    stop: &CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was closed at once");
        return;
    }
    let Some(tls) = tls else {
        return requests(stream, service, limits, stop).await;
    };
    match tokio::time::timeout(limits.first_head, tls.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, service, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// Answers the requests of one connection. When `stop` is cancelled, the request in flight is still answered.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl HttpService,
    limits: Limits,
    stop: &CancellationToken,
) {
    let (begun, mut first_request) = watch::channel(false);
    let service = service.map_request(move |request| {
        begun.send_replace(true);
        request
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(WriteDeadline::new(stream, limits.write)),
            TowerToHyperService::new(service),
        );
    let mut connection = pin!(connection);
    let mut no_head = pin!(async {
        let begun = first_request.wait_for(|begun| *begun);
        if tokio::time::timeout(limits.first_head, begun).await.is_ok() {
            std::future::pending::<()>().await;
        }
    });
    let ended = tokio::select! {
        // A stop is looked at first: an answer that is ready at the same time has to say that the connection closes.
        biased;
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        // Cancel-safe: the connection is pinned outside, and is polled on where it was.
        ended = connection.as_mut() => ended,
        () = no_head.as_mut() => {
            tracing::debug!("a new connection sent no request in time");
            return;
        }
    };
    if let Err(error) = ended {
        // The client went away, is too slow, or did not speak HTTP: not an error of this server.
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
