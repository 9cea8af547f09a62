//! `health`: asks the program that runs on this host by the same configuration for its `/health`, as a probe of a container
//! that has nothing else to make a request with.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;

/// How long the program may take to answer. One whose event loop is stuck answers all the same.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// More than the first line of an answer.
const ANSWER_BYTES_MAX: u64 = 4096;

/// The report of `health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    address: SocketAddr,
    status: u16,
    #[serde(skip)]
    failure: Option<UserError>,
}

/// Asks the program that listens where the configuration's key `key` says.
///
/// # Errors
/// Nothing answers there.
pub async fn ask(key: &str, listen: SocketAddr) -> Result<HealthReport, UserError> {
    let address = SocketAddr::new(reached(listen.ip()), listen.port());
    if address.port() == 0 {
        let message = format!("{key} has port 0, so nothing knows where the program listens");
        return Err(UserError::new(
            message,
            format!("name a port: {key} = \"127.0.0.1:9464\""),
        ));
    }
    let refused = |why: &dyn std::fmt::Display| {
        UserError::new(
            format!("nothing answers at http://{address}/health: {why}"),
            format!("see whether the program runs on this host with this {key}"),
        )
    };
    let asked = timeout(ANSWER_TIMEOUT, request(address));
    let answer = asked
        .await
        .map_err(|_| refused(&format!("no answer in {ANSWER_TIMEOUT:?}")))?;
    let answer = answer.map_err(|error| refused(&error))?;
    let status = status(&answer).ok_or_else(|| refused(&"the answer is none of HTTP"))?;
    Ok(HealthReport::new(address, status))
}

/// The address by which a program is reached from its own host.
fn reached(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => listen,
    }
}

async fn request(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut start = connection.take(ANSWER_BYTES_MAX);
    start.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The status of an answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split(' ').nth(1)?.parse().ok()
}

impl HealthReport {
    fn new(address: SocketAddr, status: u16) -> Self {
        let failure = (status != 200).then(|| {
            UserError::new(
                format!("http://{address}/health answers {status}"),
                "see the program's log: its event loop is stuck, and it has to be started again",
            )
        });
        Self {
            address,
            status,
            failure,
        }
    }
}

impl Report for HealthReport {
    fn outcome(&self) -> &'static str {
        match self.failure {
            None => "healthy",
            Some(_) => "unhealthy",
        }
    }

    fn exit(&self) -> Exit {
        match self.failure {
            None => Exit::Success,
            Some(_) => Exit::ActionNeeded,
        }
    }

    fn error(&self) -> Option<&UserError> {
        self.failure.as_ref()
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "http://{}/health answers {}",
            self.address, self.status
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that answers one request with this.
    async fn answered(answer: &'static str) -> Result<HealthReport, UserError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = client.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            client.write_all(answer.as_bytes()).await.unwrap();
        };
        // As a program in a container listens.
        let ask = ask("http.listen", SocketAddr::from(([0, 0, 0, 0], port)));
        tokio::join!(ask, serve).0
    }

    #[tokio::test]
    async fn only_a_program_that_answers_200_is_healthy() {
        let healthy = answered("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        assert_eq!((healthy.outcome(), healthy.exit().code()), ("healthy", 0));
        let stuck = answered("HTTP/1.1 503 Service Unavailable\r\n\r\n")
            .await
            .unwrap();
        assert_eq!((stuck.outcome(), stuck.exit().code()), ("unhealthy", 1));
        assert!(stuck.error().unwrap().message.ends_with("answers 503"));
        for other in ["", "200 OK\r\n", "HTTP/1.1\r\n", "SSH-2.0-x\r\n"] {
            let error = answered(other).await.unwrap_err();
            assert!(error.message.contains("none of HTTP"), "{other}: {error}");
        }
    }

    #[tokio::test]
    async fn where_nothing_listens_the_key_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ask("http.listen", address).await.unwrap_err();
        assert!(error.message.contains("nothing answers"), "{error}");
        assert!(error.help.contains("http.listen"), "{error}");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let error = ask("http.listen", any).await.unwrap_err();
        assert!(error.message.contains("port 0"), "{error}");
    }
}
