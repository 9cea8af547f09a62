//! The certificates of the connections: read, and renewed while a session lasts.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::ServerName;
use zookeeper_client as zk;

use stitch_common::address::Addresses;
use stitch_common::ports::ZkError;
use stitch_common::user_error::UserError;
use stitch_config::{CertificateFiles, Verify};
use stitch_tls::{PemFiles, Stamp};

/// How often the files are looked at while a session lasts.
const PERIOD: Duration = Duration::from_secs(10);

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
