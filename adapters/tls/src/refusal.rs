//! Whether servers refuse a client, asked by handshakes that send nothing else.
//!
//! A server of TLS 1.3 refuses a client after the client's last word of the handshake. What a client has sent by then meets
//! a closed connection, and its error is a broken pipe instead of the reason. Who sends nothing reads the reason.

use std::time::Duration;

use futures_util::future::join_all;
use stitch_common::address::{Address, Addresses};
use stitch_common::user_error::UserError;
use stitch_config::{CertificateFiles, Verify};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{client_config, explain};

/// How long one server may take to accept a connection, and to refuse a client after the handshake.
const SERVER_BOUND: Duration = Duration::from_secs(2);

/// Why one of `servers` and this program do not trust each other, if that is so; asks all at once, for two seconds at
/// most. `kind` is what messages call a server, as in "the ZooKeeper server", `section` that of the
/// configuration.
pub async fn refusal(
    servers: &Addresses,
    kind: &str,
    section: &str,
    files: &CertificateFiles,
    verify: Verify,
) -> Option<UserError> {
    let config = match client_config(files, verify) {
        Ok(config) => config,
        Err(error) => return Some(error),
    };
    let connector = TlsConnector::from(config);
    let of_each = servers.iter().map(async |server| {
        match timeout(SERVER_BOUND, handshake(server, &connector)).await {
            Ok(Err(error)) => explain(&error, &format!("{kind} {server}"), section, files),
            // No answer is an outage, and silence after the handshake is how a server waits for a client.
            Err(_) | Ok(Ok(())) => None,
        }
    });
    join_all(of_each).await.into_iter().flatten().next()
}

async fn handshake(server: &Address, connector: &TlsConnector) -> std::io::Result<()> {
    let name = ServerName::try_from(server.host()).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect((server.host(), server.port())).await?;
    let mut stream = connector.connect(name, stream).await?;
    stream.read_u8().await.map(drop)
}
