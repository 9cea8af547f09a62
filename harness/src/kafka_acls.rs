//! Rights of Kafka's users, where the servers are secured: the one request that the client has not, by the protocol itself.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::secure;

/// What a right is on.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    /// A topic.
    Topic(&'a str),
    /// A consumer group.
    Group(&'a str),
}

/// What may be done.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    /// READ
    Read,
    /// WRITE
    Write,
    /// DESCRIBE
    Describe,
    /// DESCRIBE_CONFIGS
    DescribeConfigs,
}

/// Numbers of the protocol: requests, and their versions.
const SASL_HANDSHAKE: (i16, i16) = (17, 1);
const SASL_AUTHENTICATE: (i16, i16) = (36, 0);
const CREATE_ACLS: (i16, i16) = (30, 1);

impl Resource<'_> {
    const fn kind(self) -> u8 {
        match self {
            Self::Topic(_) => 2,
            Self::Group(_) => 3,
        }
    }

    const fn name(&self) -> &str {
        match self {
            Self::Topic(name) | Self::Group(name) => name,
        }
    }
}

impl Operation {
    const fn number(self) -> u8 {
        match self {
            Self::Read => 3,
            Self::Write => 4,
            Self::Describe => 8,
            Self::DescribeConfigs => 10,
        }
    }
}

/// Gives `user` these rights.
pub async fn allow(brokers: &str, user: &str, rights: &[(Resource<'_>, Operation)]) -> Result<()> {
    let mut connection = connect(brokers).await?;
    let mut body = count(rights.len())?.to_vec();
    for (resource, operation) in rights {
        const LITERAL: u8 = 3;
        const ALLOW: u8 = 3;
        body.push(resource.kind());
        body.extend(text(resource.name())?);
        body.push(LITERAL);
        body.extend(text(&format!("User:{user}"))?);
        body.extend(text("*")?);
        body.extend([operation.number(), ALLOW]);
    }
    let answer = exchange(&mut connection, CREATE_ACLS, &body).await?;
    // A time, a number of results, and each result: a code, and a text or -1.
    let mut rest = answer.get(8..).context("an answer")?;
    for (resource, operation) in rights {
        let code = code(rest)?;
        ensure!(code == 0, "{operation:?} on {resource:?}: {code}");
        rest = rest.get(4..).context("a result")?;
    }
    Ok(())
}

/// Connects as the tests' own user.
async fn connect(brokers: &str) -> Result<TlsStream<TcpStream>> {
    let folder = secure::folder().context("the servers are not secured")?;
    let host = brokers.rsplit_once(':').context("a port")?.0.to_owned();
    let connector = TlsConnector::from(Arc::new(secure::tls(&folder)?));
    let tcp = TcpStream::connect(brokers).await?;
    let mut connection = connector.connect(ServerName::try_from(host)?, tcp).await?;
    let answer = exchange(&mut connection, SASL_HANDSHAKE, &text("PLAIN")?).await?;
    ensure!(code(&answer)? == 0, "the handshake is refused");
    let (user, password) = secure::admin(&folder)?;
    let token = format!("\0{user}\0{password}");
    let body = [&count(token.len())?[..], token.as_bytes()].concat();
    let answer = exchange(&mut connection, SASL_AUTHENTICATE, &body).await?;
    ensure!(code(&answer)? == 0, "the tests' user is refused");
    Ok(connection)
}

/// Sends a request; returns what follows the header of its answer.
async fn exchange(
    connection: &mut TlsStream<TcpStream>,
    (request, version): (i16, i16),
    body: &[u8],
) -> Result<Vec<u8>> {
    const NUMBER: i32 = 1;
    let mut message = [request.to_be_bytes(), version.to_be_bytes()].concat();
    message.extend(NUMBER.to_be_bytes());
    message.extend(text("tests")?);
    message.extend(body);
    connection.write_all(&count(message.len())?).await?;
    connection.write_all(&message).await?;
    connection.flush().await?;
    let length = usize::try_from(connection.read_i32().await?)?;
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer).await?;
    Ok(answer.split_off(4))
}

fn count(number: usize) -> Result<[u8; 4]> {
    Ok(i32::try_from(number)?.to_be_bytes())
}

fn text(text: &str) -> Result<Vec<u8>> {
    let length = i16::try_from(text.len())?.to_be_bytes();
    Ok([&length, text.as_bytes()].concat())
}

/// The error code that an answer begins with.
fn code(answer: &[u8]) -> Result<i16> {
    let bytes = answer.first_chunk::<2>().context("an error code")?;
    Ok(i16::from_be_bytes(*bytes))
}
