//! An S3 server of a test's own (`deploy/lib/s3-server`), with one bucket.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::servers::repository;

/// The first start installs the server.
const START_BOUND: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A server with the bucket `bucket`. Dropping it ends it.
#[derive(Debug)]
pub struct ObjectServer {
    process: Child,
    address: String,
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl ObjectServer {
    /// A server that takes any credentials.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// A server that knows no credentials: all of them are wrong.
    pub async fn that_knows_nobody() -> Result<Self> {
        // The one request without a check creates the bucket.
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")]).await
    }

    async fn start_with(environment: &[(&str, &str)]) -> Result<Self> {
        let script = repository()?.join("deploy/lib/s3-server");
        let free = TcpListener::bind("127.0.0.1:0")?;
        let port = free.local_addr()?.port();
        drop(free);
        let process = Command::new(&script)
            .arg(port.to_string())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| script.display().to_string())?;
        let mut server = Self {
            process,
            address: format!("127.0.0.1:{port}"),
        };
        let created = async {
            while !server.create_bucket().await {
                let ended = server.process.try_wait()?;
                ensure!(
                    ended.is_none(),
                    "{} has ended: run it by hand",
                    script.display()
                );
                sleep(POLL_INTERVAL).await;
            }
            Ok(())
        };
        timeout(START_BOUND, created)
            .await
            .context("the S3 server does not answer")??;
        Ok(server)
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn create_bucket(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address).await else {
            return false;
        };
        let request = "PUT /bucket HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let mut answer = String::new();
        let sent = stream.write_all(request.as_bytes()).await;
        let read = stream.read_to_string(&mut answer).await;
        sent.is_ok() && read.is_ok() && answer.contains(" 200 ")
    }
}

/// What a client needs to reach such a server at `host:port`.
pub fn client_environment(address: &str) -> Vec<(String, String)> {
    let endpoint = format!("http://{address}");
    let variables = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    variables.map(owned).to_vec()
}
