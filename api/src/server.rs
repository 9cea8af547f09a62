//! Connections: how many there may be, how long they may be silent, and their end when the server stops.
//!
//! `axum::serve` has no bound for any of these, so connections are served by hyper, on which it stands.

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
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::metrics;

/// A client may take so long to send the head of its next request.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// And so long to agree on encryption.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The head of a request: an address with many keys, and headers.
const HEAD_BYTES_MAX: usize = 128 * 1024;
/// After the system had no room for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What answers requests.
pub(crate) trait Answer:
    Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answer for S where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// A bound listener, not serving yet: connections wait in the system's queue.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
    connections: Arc<Semaphore>,
    connections_max: usize,
    stop_timeout: Duration,
}

impl Server {
    /// Listens.
    pub(crate) async fn bind(api: &Api) -> Result<Self, UserError> {
        let taken = |error: io::Error| {
            let what = format!("api.listen = {}: cannot listen there: {error}", api.listen);
            let help = "choose another address; port 0 lets the system choose a free one";
            UserError::new(what, help)
        };
        let listener = TcpListener::bind(api.listen).await.map_err(taken)?;
        files::raise_limit(api.connections_max);
        Ok(Self {
            address: listener.local_addr().map_err(taken)?,
            listener,
            connections: Arc::new(Semaphore::new(api.connections_max)),
            connections_max: api.connections_max,
            stop_timeout: api.stop_timeout,
        })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, and then until what was begun is answered; returns how many connections had
    /// to be cut off because that took too long.
    ///
    /// # Cancellation
    /// Every connection is cut off.
    pub(crate) async fn serve<A: Answer>(
        self,
        answers: A,
        tls: Option<TlsAcceptor>,
        stop: &CancellationToken,
    ) -> usize {
        let mut tasks = JoinSet::new();
        // All branches are cancel-safe: an accept that is dropped leaves the connection in the queue.
        while let Some(accepted) = stop.run_until_cancelled(self.accept()).await {
            while tasks.try_join_next().is_some() {}
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            metrics::connections(self.open());
            let (answers, tls, stop) = (answers.clone(), tls.clone(), stop.clone());
            let connections = Arc::clone(&self.connections);
            let most = self.connections_max;
            tasks.spawn(async move {
                connection(stream, answers, tls, &stop).await;
                drop(place);
                metrics::connections(most - connections.available_permits());
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
        self.connections_max - self.connections.available_permits()
    }

    /// The next connection, once there may be one more.
    async fn accept(&self) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.connections).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let (stream, _) = self.listener.accept().await?;
        Ok((stream, place))
    }
}

async fn connection(
    stream: TcpStream,
    answers: impl Answer,
    tls: Option<TlsAcceptor>,
    stop: &CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has gone at once");
        return;
    }
    let Some(tls) = tls else {
        return requests(stream, answers, stop).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, answers, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "no agreement on encryption"),
        Err(_) => tracing::debug!("a client took too long to agree on encryption"),
    }
}

/// Answers the requests of one connection. When `stop` is cancelled, the one that was begun is still answered.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    answers: impl Answer,
    stop: &CancellationToken,
) {
    let service = TowerToHyperService::new(answers);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        // The connection is polled on where it was.
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client went away, or did not speak HTTP: its own business.
        tracing::debug!(%error, "a connection has ended");
    }
}

#[cfg(test)]
mod tests;
