//! Accepts connections: limit, idle timeout, graceful shutdown.
//!
//! `axum::serve` has none of these, so connections are served by hyper, on which it is built.

mod files;
pub(crate) mod tls;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use stitch_common::config::Api;
use stitch_common::user_error::UserError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::metrics;

/// Idle timeout: the longest wait for the next request head.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for a request head: an address with many keys, and headers.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// The pause after the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A service that answers HTTP requests.
pub(crate) trait HttpService:
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

/// A bound listener. Until it serves, connections wait in the system's queue.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    permits: Arc<Semaphore>,
    connections_max: usize,
    stop_timeout: Duration,
}

impl Server {
    pub(crate) async fn bind(api: &Api) -> Result<Self, UserError> {
        let bind_error = |error: io::Error| {
            let message = format!("api.listen = {}: cannot listen there: {error}", api.listen);
            let help = "choose another address; port 0 lets the system choose a free one";
            UserError::new(message, help)
        };
        let listener = TcpListener::bind(api.listen).await.map_err(bind_error)?;
        files::raise_limit(api.connections_max);
        Ok(Self {
            address: listener.local_addr().map_err(bind_error)?,
            listener,
            permits: Arc::new(Semaphore::new(api.connections_max)),
            connections_max: api.connections_max,
            stop_timeout: api.stop_timeout,
        })
    }

    /// The address that it listens on.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then finishes the requests in flight. Returns how many connections had to be cut
    /// off because their requests took too long.
    ///
    /// # Cancellation
    /// Cuts off every connection.
    pub(crate) async fn serve<S: HttpService>(
        self,
        service: S,
        tls: Option<TlsAcceptor>,
        stop: &CancellationToken,
    ) -> usize {
        let mut tasks = JoinSet::new();
        // Cancel-safe: an accept that is dropped leaves the connection in the queue.
        while let Some(accepted) = stop.run_until_cancelled(self.accept()).await {
            while tasks.try_join_next().is_some() {}
            let (stream, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            metrics::connections(self.open());
            let (service, tls, stop) = (service.clone(), tls.clone(), stop.clone());
            let permits = Arc::clone(&self.permits);
            let max = self.connections_max;
            tasks.spawn(async move {
                connection(stream, service, tls, &stop).await;
                drop(permit);
                metrics::connections(max - permits.available_permits());
            });
        }
        drop(self.listener);
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.stop_timeout, all).await.is_ok() {
            return 0;
        }
        tasks.len()
    }

    fn open(&self) -> usize {
        self.connections_max - self.permits.available_permits()
    }

    /// Accepts the next connection, once the limit allows one more.
    async fn accept(&self) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, permit))
    }
}

async fn connection(
    stream: TcpStream,
    service: impl HttpService,
    tls: Option<TlsAcceptor>,
    stop: &CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was closed at once");
        return;
    }
    let Some(tls) = tls else {
        return requests(stream, service, stop).await;
    };
    match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, service, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

/// Answers the requests of one connection. When `stop` is cancelled, the request in flight is still answered.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl HttpService,
    stop: &CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        // Cancel-safe: the connection is pinned outside, and is polled on where it was.
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client went away, or did not speak HTTP: not an error of this server.
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests;
