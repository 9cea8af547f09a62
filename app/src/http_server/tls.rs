//! TLS for HTTPS: certificate and key are read from files at start.

use std::path::Path;
use std::sync::Arc;

use stitch_common::user_error::UserError;
use stitch_config::TlsFiles;
pub use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HELP: &str = "name PEM files by api.tls_certificate (with its chain) and api.tls_key that this user may read";

/// Accepts TLS 1.2 and 1.3 with these files, which are read now.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, UserError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let unusable = |path: &Path, reason: &dyn std::fmt::Display| {
        UserError::new(format!("{} cannot be used: {reason}", path.display()), HELP)
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| unusable(certificate, &error))?
        .collect();
    let certificates = certificates.map_err(|error| unusable(certificate, &error))?;
    if certificates.is_empty() {
        return Err(unusable(certificate, &"it contains no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| unusable(key, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
