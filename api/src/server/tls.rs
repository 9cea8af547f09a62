//! HTTPS: certificate and key from files, read at start.

use std::path::Path;
use std::sync::Arc;

use stitch_common::config::TlsFiles;
use stitch_common::user_error::UserError;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HELP: &str = "name PEM files by api.tls_certificate (with those that vouch for it) and api.tls_key that this user may read";

/// What agrees on encryption with clients, by TLS 1.2 or 1.3.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, UserError> {
    let (certificate, key) = (&files.certificate, &files.key);
    let unreadable = |path: &Path, why: &dyn std::fmt::Display| {
        UserError::new(format!("{} cannot be used: {why}", path.display()), HELP)
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .map_err(|error| unreadable(certificate, &error))?
        .collect();
    let certificates = certificates.map_err(|error| unreadable(certificate, &error))?;
    if certificates.is_empty() {
        return Err(unreadable(certificate, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable(certificate, &error))?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(|error| unreadable(key, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
