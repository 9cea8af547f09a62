//! The HTTP server of a running processor or archiver: `/health`, `/ready` and `/metrics`.
//!
//! It has threads of its own, so it answers while the event loop is stuck, and says so.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::http_server::{self, Limits};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use stitch_common::clock::Clock;
use stitch_common::user_error::UserError;
use stitch_config::Http;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use stitch_common::liveness::Liveness;

/// How often samples are folded into histograms: without scrapes they would pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Scrapers and probes are few; a connection is an open file that the event loop could need.
const LIMITS: Limits = Limits::new(256, 16, Duration::ZERO);
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a program says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What `/ready` answers while it is ready.
    pub ready: &'static str,
    /// When it is ready: what follows "while".
    pub ready_while: &'static str,
}

impl Program {
    fn index(self) -> String {
        let Self {
            name, ready_while, ..
        } = self;
        format!(
            "{name}\n\
             /health   200 while the event loop is alive\n\
             /ready    200 while {ready_while}\n\
             /metrics  metrics for Prometheus\n"
        )
    }
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Shared<C> {
    program: Program,
    liveness: Arc<Liveness>,
    metrics: PrometheusHandle,
    clock: C,
}

impl Server {
    /// Starts the server and prints its address to `out`.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub async fn start<C: Clock + Send + Sync + 'static>(
        program: Program,
        http: &Http,
        liveness: Arc<Liveness>,
        metrics: PrometheusHandle,
        clock: C,
        out: &mut dyn Write,
    ) -> Result<Self, UserError> {
        let server = http_server::Server::bind("http.listen", http.listen, LIMITS).await?;
        let address = server.address();
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep(metrics.clone()));
        let routes = routes(Shared {
            program,
            liveness,
            metrics,
            clock,
        });
        tasks.spawn(async move {
            // It ends with this process: its answers are of use until then.
            let never = CancellationToken::new();
            server.serve(routes, None, &never, |_| {}).await;
        });
        tracing::info!(%address, "listening");
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "anyone who can reach this address may read health and metrics");
        }
        let printed = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
        if let Err(error) = printed {
            tracing::warn!(%error, "the address could not be printed");
        }
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        interval.tick().await;
        metrics.run_upkeep();
    }
}

fn routes<C: Clock + Send + Sync + 'static>(shared: Shared<C>) -> Router {
    Router::new()
        .route("/", get(index::<C>))
        .route("/health", get(health::<C>))
        .route("/ready", get(ready::<C>))
        .route("/metrics", get(render::<C>))
        .with_state(shared)
}

async fn index<C: Clock>(State(shared): State<Shared<C>>) -> String {
    shared.program.index()
}

async fn health<C: Clock>(State(shared): State<Shared<C>>) -> (StatusCode, &'static str) {
    if shared.liveness.is_alive(shared.clock.now()) {
        (StatusCode::OK, "the event loop is alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the event loop is stuck\n")
    }
}

async fn ready<C: Clock>(State(shared): State<Shared<C>>) -> (StatusCode, String) {
    if shared.liveness.is_ready() && shared.liveness.is_alive(shared.clock.now()) {
        (StatusCode::OK, format!("{}\n", shared.program.ready))
    } else {
        let why = format!(
            "not yet, or not any more: ready while {}\n",
            shared.program.ready_while
        );
        (StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

async fn render<C: Clock>(State(shared): State<Shared<C>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS)], shared.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use stitch_common::clock::Moment;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    const PROGRAM: Program = Program {
        name: "program",
        ready: "at work",
        ready_while: "it works",
    };

    /// A clock that shows the time it was set to.
    #[derive(Clone, Default)]
    struct TestClock(Arc<AtomicU64>);

    impl Clock for TestClock {
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
    async fn one_address_gets_only_so_many_connections_of_a_processor() {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let http = Http {
            listen: ([127, 0, 0, 1], 0).into(),
        };
        let (status, clock) = (Arc::new(Liveness::default()), TestClock::default());
        let mut out = Vec::new();
        let server = Server::start(PROGRAM, &http, status, metrics, clock, &mut out);
        let server = server.await.unwrap();
        let mut open = Vec::new();
        let mut answered = 0;
        for _ in 0..40 {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            let request = b"GET /health HTTP/1.1\r\nHost: stitch\r\n\r\n";
            stream.write_all(request).await.ok();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.ok();
            if first == *b"HTTP/1.1 200" {
                answered += 1;
            }
            open.push(stream);
        }
        assert_eq!(answered, LIMITS.connections_per_client);
    }

    #[tokio::test]
    async fn health_follows_the_event_loop_and_ready_the_membership() {
        let (status, clock) = (Arc::new(Liveness::default()), TestClock::default());
        clock.0.store(1000, Ordering::Relaxed);
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let http = Http {
            listen: ([127, 0, 0, 1], 0).into(),
        };
        let mut out = Vec::new();
        let server = Server::start(
            PROGRAM,
            &http,
            Arc::clone(&status),
            metrics,
            clock.clone(),
            &mut out,
        );
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
        assert_eq!(answer(&server, "/health").await.0, 503, "the loop is stuck");
        assert_eq!(answer(&server, "/ready").await.0, 503);
        assert_eq!(answer(&server, "/metrics").await.0, 200);
        assert_eq!(answer(&server, "/other").await.0, 404);

        let taken = Http {
            listen: server.address(),
        };
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let failure = Server::start(PROGRAM, &taken, status, metrics, clock, &mut Vec::new()).await;
        assert!(failure.unwrap_err().message.contains("http.listen"));
    }
}
