//! What the outside may ask a running processor: `/health`, `/ready` and `/metrics`.
//!
//! The server has threads of its own, so it answers while the counting loop is stuck, and says so.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use stitch_common::clock::Clock;
use stitch_common::config::Http;
use stitch_common::user_error::UserError;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::status::Status;

/// How often samples are folded into histograms: they would pile up where nobody asks for metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const INDEX: &str = "stitch-processor\n\
    /health   200 while the counting loop goes round\n\
    /ready    200 while this process is a member with a valid lease and has joined the group\n\
    /metrics  for Prometheus\n";

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shown<C> {
    status: Arc<Status>,
    metrics: PrometheusHandle,
    clock: C,
}

impl Server {
    /// Listens, and says on `out` where.
    ///
    /// # Errors
    /// The address is taken, or not this machine's.
    pub async fn start<C: Clock + Send + Sync + 'static>(
        http: &Http,
        status: Arc<Status>,
        metrics: PrometheusHandle,
        clock: C,
        out: &mut dyn Write,
    ) -> Result<Self, UserError> {
        let taken = |error: std::io::Error| {
            let what = format!(
                "http.listen = {}: cannot listen there: {error}",
                http.listen
            );
            UserError::new(
                what,
                "choose another address; port 0 lets the system choose a free one",
            )
        };
        let listener = TcpListener::bind(http.listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep(metrics.clone()));
        let routes = routes(Shown {
            status,
            metrics,
            clock,
        });
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the http server has ended");
            }
        });
        tracing::info!(%address, "listening");
        let said = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
        if let Err(error) = said {
            tracing::warn!(%error, "the address could not be printed");
        }
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Ends with the server.
async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

fn routes<C: Clock + Send + Sync + 'static>(shown: Shown<C>) -> Router {
    Router::new()
        .route("/", get(INDEX))
        .route("/health", get(health::<C>))
        .route("/ready", get(ready::<C>))
        .route("/metrics", get(render::<C>))
        .with_state(shown)
}

async fn health<C: Clock>(State(shown): State<Shown<C>>) -> (StatusCode, &'static str) {
    if shown.status.is_alive(shown.clock.now()) {
        (StatusCode::OK, "the counting loop goes round\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the counting loop stands still\n",
        )
    }
}

async fn ready<C: Clock>(State(shown): State<Shown<C>>) -> (StatusCode, &'static str) {
    if shown.status.is_ready() && shown.status.is_alive(shown.clock.now()) {
        (StatusCode::OK, "counting\n")
    } else {
        let why = "no member with a valid lease, or not in the group\n";
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

async fn render<C: Clock>(State(shown): State<Shown<C>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS)], shown.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use stitch_common::clock::Moment;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A clock that stands where it was set.
    #[derive(Clone, Default)]
    struct Hand(Arc<AtomicU64>);

    impl Clock for Hand {
        fn now(&self) -> Moment {
            Moment::new(Duration::from_secs(self.0.load(Ordering::Relaxed)))
        }
        fn wall(&self) -> chrono::DateTime<chrono::Utc> {
            chrono::DateTime::UNIX_EPOCH
        }
        async fn sleep(&self, _: Duration) {}
    }

    async fn answer(server: &Server, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: stitch\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, body.to_owned())
    }

    #[tokio::test]
    async fn health_follows_the_loop_and_ready_the_membership() {
        let (status, clock) = (Arc::new(Status::default()), Hand::default());
        clock.0.store(1000, Ordering::Relaxed);
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let http = Http {
            listen: ([127, 0, 0, 1], 0).into(),
        };
        let mut out = Vec::new();
        let server = Server::start(&http, Arc::clone(&status), metrics, clock.clone(), &mut out);
        let server = server.await.unwrap();
        let printed = String::from_utf8(out).unwrap();
        assert_eq!(
            printed,
            format!("listening on http://{}\n", server.address())
        );

        assert_eq!(answer(&server, "/health").await.0, 503, "no beat yet");
        status.beat(clock.now());
        assert_eq!(answer(&server, "/health").await.0, 200);
        assert_eq!(answer(&server, "/ready").await.0, 503, "no member yet");
        status.set_ready(true);
        assert_eq!(answer(&server, "/ready").await.0, 200);
        clock.0.store(1060, Ordering::Relaxed);
        assert_eq!(
            answer(&server, "/health").await.0,
            503,
            "the loop stands still"
        );
        assert_eq!(answer(&server, "/ready").await.0, 503);
        assert_eq!(answer(&server, "/metrics").await.0, 200);
        assert_eq!(answer(&server, "/other").await.0, 404);

        let taken = Http {
            listen: server.address(),
        };
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let failure = Server::start(&taken, status, metrics, clock, &mut Vec::new()).await;
        assert!(failure.unwrap_err().message.contains("http.listen"));
    }
}
