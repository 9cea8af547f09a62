//! TLS for HTTPS: certificate and key are read from files, and again when they have changed, so that a renewal needs no
//! restart. Files that cannot be used change nothing: the last good ones remain in use, and the log and the caller learn it.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::user_error::UserError;
use stitch_config::TlsFiles;
pub use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

const HELP: &str = "name PEM files by api.tls_certificate (with its chain) and api.tls_key that this user may read";
/// How long a renewed certificate is not used yet, at most.
const PAUSE: Duration = Duration::from_secs(10);

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

/// The server's certificate, as its files have it.
#[derive(Debug)]
pub struct ServerCertificate {
    files: TlsFiles,
    current: Arc<Current>,
    /// Why the files cannot be used as they are now.
    failure: Option<UserError>,
}

impl ServerCertificate {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be.
    pub fn read(files: &TlsFiles) -> Result<Self, UserError> {
        let key = certified_key(files)?;
        Ok(Self {
            files: files.clone(),
            current: Arc::new(Current(RwLock::new(Arc::new(key)))),
            failure: None,
        })
    }

    /// Accepts TLS 1.2 and 1.3 with the certificate that is in use when a connection begins.
    ///
    /// # Errors
    /// The library does not support these versions.
    pub fn acceptor(&self) -> Result<TlsAcceptor, UserError> {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&self.files.certificate, &error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reads the files once more, and uses them for new connections if they have another certificate. Returns whether they
    /// can be used as they are.
    ///
    /// # Cancellation
    /// Nothing is changed.
    pub async fn poll(&mut self) -> bool {
        let files = self.files.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || certified_key(&files)).await else {
            // The runtime ends.
            return self.failure.is_none();
        };
        match found {
            Ok(key) => {
                let is_another = key.cert != self.current.get().cert;
                if is_another {
                    let mut current = self
                        .current
                        .0
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::new(key);
                }
                if is_another || self.failure.take().is_some() {
                    let file = self.files.certificate.display();
                    tracing::info!(%file, "the certificate is in use as its file has it");
                }
                self.failure = None;
            }
            Err(error) => {
                if self.failure.as_ref() != Some(&error) {
                    let UserError { message, help } = &error;
                    tracing::warn!(
                        error = message,
                        help,
                        "the certificate or its key has changed and cannot be used: the last good one remains in use"
                    );
                }
                self.failure = Some(error);
            }
        }
        self.failure.is_none()
    }

    /// Polls until it is dropped; `usable` is told each time whether the files can be used.
    ///
    /// # Cancellation
    /// As of [`ServerCertificate::poll`].
    pub async fn run(mut self, clock: impl Clock, usable: fn(bool)) -> Infallible {
        usable(true);
        loop {
            clock.sleep(PAUSE).await;
            usable(self.poll().await);
        }
    }
}

fn unusable(path: &Path, reason: &dyn fmt::Display) -> UserError {
    UserError::new(format!("{} cannot be used: {reason}", path.display()), HELP)
}

fn certified_key(files: &TlsFiles) -> Result<CertifiedKey, UserError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| unusable(certificate, &error))?
        .collect();
    let certificates = certificates.map_err(|error| unusable(certificate, &error))?;
    if certificates.is_empty() {
        return Err(unusable(certificate, &"it contains no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    CertifiedKey::from_der(certificates, private, &aws_lc_rs::default_provider())
        .map_err(|error| unusable(key, &error))
}
