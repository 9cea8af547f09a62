//! A namespace, an API process, and a minimal HTTP client.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Record, Shape};
use stitch_harness::process::Process;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{PATIENT, TestConfig, TestNamespace};
use stitch_harness::web::{get, metric};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub(crate) const BOUND: Duration = Duration::from_secs(120);
/// What the API says in `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(1);
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A running API.
pub(crate) struct Api {
    pub(crate) process: Process,
    pub(crate) address: String,
}

pub(crate) async fn namespace(name: &str) -> Result<TestNamespace> {
    let mut config = TestConfig::new(name)?;
    config.config += PATIENT;
    TestNamespace::build(&Servers::from_environment()?, &config).await
}

/// The first `count` events of the generator.
pub(crate) fn events(count: usize) -> Result<Vec<Record>> {
    let shape = Shape {
        tracks: 60,
        ..Shape::default()
    };
    Ok(Generator::new(shape)?.take(count).collect())
}

impl Api {
    /// Starts an API process with these environment variables.
    pub(crate) async fn start(
        namespace: &TestNamespace,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let mut program = namespace.api_command("run", &["--output", "json"])?;
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        program.environment.extend(variables);
        let mut process = program.start()?;
        let address = TestNamespace::address(&mut process).await?;
        Ok(Self { process, address })
    }

    /// Sends a GET request; returns the status and the object of the answer.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let (status, body) = get(&self.address, path).await?;
        let object = serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))?;
        Ok((status, object))
    }

    /// Sends a GET request that must be answered with 200.
    pub(crate) async fn ok(&self, path: &str) -> Result<Value> {
        let (status, object) = self.get(path).await?;
        ensure!(status == 200, "{path}: {status} {object}");
        Ok(object)
    }

    /// Sends a POST request that must be answered with 200.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, object) = self.post_with(path, "", body).await?;
        ensure!(status == 200, "{path}: {status} {object}");
        Ok(object)
    }

    /// Sends a POST request with these header lines in addition; returns the status and the object of the answer.
    pub(crate) async fn post_with(
        &self,
        path: &str,
        lines: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{lines}\r\n",
            body.len()
        );
        let (status, body) = exchange(&self.address, &(head + &body)).await?;
        Ok((status, serde_json::from_str(&body).context(body)?))
    }

    /// The status of a GET request with this token.
    pub(crate) async fn status_for(&self, path: &str, token: &str) -> Result<u16> {
        let head = format!("GET {path} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
        let (status, _) = exchange(&self.address, &head).await?;
        Ok(status)
    }

    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let (_, page) = get(&self.address, "/metrics").await?;
        metric(&page, name).with_context(|| format!("{name}: {page}"))
    }

    /// Waits until a metric has this value.
    pub(crate) async fn until(&self, name: &str, value: f64) -> Result<()> {
        let reached = async {
            while (self.metric(name).await? - value).abs() > 0.5 {
                sleep(POLL_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        match timeout(BOUND, reached).await {
            Ok(reached) => reached,
            Err(_) => anyhow::bail!("{name} is {} and not {value}", self.metric(name).await?),
        }
    }

    /// Waits until an answer has this freshness state.
    pub(crate) async fn until_state(&self, path: &str, state: &str) -> Result<Value> {
        self.until_freshness(path, state, |freshness| freshness["state"] == state)
            .await
    }

    /// Waits until an answer says that its counts are uncertain by this cause alone.
    pub(crate) async fn until_cause(&self, path: &str, cause: &str) -> Result<Value> {
        let is_only = |freshness: &Value| {
            let causes = freshness["causes"].as_array();
            causes.is_some_and(|causes| causes.len() == 1 && causes[0]["cause"] == cause)
        };
        self.until_freshness(path, cause, is_only).await
    }

    async fn until_freshness(
        &self,
        path: &str,
        what: &str,
        is_reached: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let reached = async {
            loop {
                let (status, answer) = self.get(path).await?;
                // While Cassandra is too slow it is asked again, as clients should.
                if answer["type"] == "/problems/store-unavailable" {
                    sleep(RETRY_AFTER).await;
                    continue;
                }
                ensure!(status == 200, "{path}: {status} {answer}");
                if is_reached(&answer["freshness"]) {
                    return anyhow::Ok(answer);
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        match timeout(BOUND, reached).await {
            Ok(answer) => answer,
            Err(_) => anyhow::bail!("not {what}: {}", self.ok(path).await?),
        }
    }

    /// Stops the process, which must exit cleanly.
    pub(crate) async fn stop(self) -> Result<()> {
        let finished = self.process.stop(BOUND).await?;
        let object: Value = serde_json::from_str(&finished.output)
            .with_context(|| format!("{}{}", finished.output, finished.errors))?;
        ensure!(finished.code == Some(0), "{finished:?}");
        ensure!(
            object["outcome"] == "stopped" && object["connections_cut_off"] == 0,
            "{object}"
        );
        ensure!(!finished.errors.contains("panicked"), "{}", finished.errors);
        Ok(())
    }
}

/// Sends a whole request; returns status and body of the answer.
async fn exchange(address: &str, request: &str) -> Result<(u16, String)> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    timeout(BOUND, connection.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split(' ').nth(1).context("a status")?;
    Ok((status.parse()?, body.to_owned()))
}
