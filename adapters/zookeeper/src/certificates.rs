//! The certificates of the connections: read, renewed while a session lasts, and looked at when no session is opened.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zookeeper_client as zk;

use stitch_common::address::{Address, Addresses};
use stitch_common::ports::ZkError;
use stitch_common::user_error::UserError;
use stitch_config::{CertificateFiles, Verify};
use stitch_tls::{PemFiles, Stamp};

/// How often the files are looked at while a session lasts.
const PERIOD: Duration = Duration::from_secs(10);

/// How long one server may take to accept a connection, and to refuse a client after the handshake.
const SERVER_BOUND: Duration = Duration::from_secs(2);

/// What the files had, in a cell that the client looks at with each connection.
pub(crate) struct Certificates {
    files: CertificateFiles,
    stamp: Stamp,
    cell: zk::TlsDynamicCerts,
}

impl Certificates {
    /// Reads them, for connections to these servers.
    pub(crate) fn read(files: &CertificateFiles, servers: &Addresses) -> Result<Self, ZkError> {
        // The client would panic.
        for server in servers.iter() {
            if ServerName::try_from(server.host()).is_err() {
                return Err(ZkError::Denied(UserError::new(
                    format!(
                        "the ZooKeeper server {server} has no name that a certificate could have"
                    ),
                    "name it in zookeeper.connect by its name in DNS or by its IP address",
                )));
            }
        }
        let stamp = Stamp::of(files);
        let cell = zk::TlsDynamicCerts::new(certificates(files).map_err(ZkError::Denied)?);
        Ok(Self {
            files: files.clone(),
            stamp,
            cell,
        })
    }

    pub(crate) fn options(&self) -> zk::TlsOptions {
        zk::TlsOptions::new().with_certs(self.cell.clone())
    }

    /// Starts to renew them, until the session is dropped.
    pub(crate) fn renewed(self) -> CertificateUpdate {
        CertificateUpdate(tokio::spawn(self.renew()))
    }

    async fn renew(mut self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let stamp = Stamp::of(&self.files);
            if stamp == self.stamp {
                continue;
            }
            match certificates(&self.files) {
                Ok(certificates) => {
                    self.cell.update(certificates);
                    self.stamp = stamp;
                    tracing::info!(ca = %self.files.ca.display(), "the files of TLS have changed, and are in use");
                }
                // Half renewed: tried again.
                Err(error) => {
                    tracing::warn!(
                        error = error.message,
                        "the files of TLS have changed, and cannot be used yet"
                    );
                }
            }
        }
    }
}

/// The task that renews the certificates of a session. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct CertificateUpdate(JoinHandle<()>);

impl Drop for CertificateUpdate {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the files: only what rustls takes as a whole.
fn certificates(files: &CertificateFiles) -> Result<zk::TlsCerts, UserError> {
    stitch_tls::client_config(files, Verify::Full)?;
    let pem = PemFiles::read(files)?;
    // The client's words might quote a file.
    let unusable = |_: zk::Error| {
        UserError::new(
            format!("{} cannot be used for TLS", files.ca.display()),
            "make the files of [zookeeper.tls] PEM files of certificates and a private key",
        )
    };
    let mut builder = zk::TlsCerts::builder();
    builder = builder.with_ca(zk::TlsCa::from_pem(&pem.ca).map_err(unusable)?);
    if let Some((certificate, key)) = &pem.identity {
        let identity = zk::TlsIdentity::from_pem(certificate, key).map_err(unusable)?;
        builder = builder.with_identity(identity);
    }
    builder.build().map_err(unusable)
}

/// Why one of the servers and this program do not trust each other, if that is so.
pub(crate) async fn denial(servers: &Addresses, files: &CertificateFiles) -> Option<UserError> {
    let config = match stitch_tls::client_config(files, Verify::Full) {
        Ok(config) => config,
        Err(error) => return Some(error),
    };
    let connector = TlsConnector::from(config);
    for server in servers.iter() {
        let failed = match timeout(SERVER_BOUND, handshake(server, &connector)).await {
            Ok(Err(error)) => error,
            // No answer is an outage, and silence after the handshake is how a server waits for a client.
            Err(_) | Ok(Ok(())) => continue,
        };
        let name = format!("the ZooKeeper server {server}");
        if let Some(denial) = stitch_tls::explain(&failed, &name, "zookeeper.tls", files) {
            return Some(denial);
        }
    }
    None
}

/// Connects, and waits: a server of TLS 1.3 refuses a client only after the client's last word.
async fn handshake(server: &Address, connector: &TlsConnector) -> std::io::Result<()> {
    let name = ServerName::try_from(server.host()).map_err(std::io::Error::other)?;
    let stream = TcpStream::connect((server.host(), server.port())).await?;
    let mut stream = connector.connect(name, stream).await?;
    stream.read_u8().await.map(drop)
}
