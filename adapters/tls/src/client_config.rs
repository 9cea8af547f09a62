//! A configuration of rustls whose certificates follow their files: each handshake takes what the files have by then.
//! Files that cannot be used, as in the moment between the renewal of a certificate and that of its key, change nothing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use stitch_common::user_error::UserError;
use stitch_config::{CertificateFiles, Verify};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::pem_files::{PemFiles, Stamp, certificates, unusable};

/// Connections by these files, which are read now and whenever they have changed.
///
/// # Errors
/// A file cannot be used.
pub fn client_config(
    files: &CertificateFiles,
    verify: Verify,
) -> Result<Arc<ClientConfig>, UserError> {
    let stamp = Stamp::of(files);
    let loaded = load(files)?;
    let scheme = loaded.verifier.supported_verify_schemes();
    let current = Arc::new(Current {
        files: files.clone(),
        verify,
        scheme,
        loaded: Mutex::new((stamp, loaded)),
    });
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&files.ca, "ca", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&current) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(current);
    // A resumed session is one of the certificates that it began with. Connections are few and long.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What the files had when they were read last.
#[derive(Clone)]
struct Loaded {
    verifier: Arc<WebPkiServerVerifier>,
    identity: Option<Arc<CertifiedKey>>,
}

fn load(files: &CertificateFiles) -> Result<Loaded, UserError> {
    let pem = PemFiles::read(files)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&files.ca, &pem.ca, "ca")? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable(&files.ca, "ca", &error))?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = verifier
        .build()
        .map_err(|error| unusable(&files.ca, "ca", &error))?;
    let identity = match (&files.identity, &pem.identity) {
        (Some(files), Some((certificate, key))) => {
            let chain = certificates(&files.certificate, certificate, "certificate")?;
            let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|error| unusable(&files.key, "key", &error))?;
            let certified = CertifiedKey::from_der(chain, private, &provider);
            let certified = certified.map_err(|error| {
                if matches!(error, Error::InvalidCertificate(_)) {
                    unusable(&files.certificate, "certificate", &error)
                } else {
                    unusable(&files.key, "key", &error)
                }
            })?;
            Some(Arc::new(certified))
        }
        (Some(_), None) | (None, _) => None,
    };
    Ok(Loaded { verifier, identity })
}

/// Verifies servers, and shows the client's certificate, by the files as they are now.
struct Current {
    files: CertificateFiles,
    verify: Verify,
    scheme: Vec<SignatureScheme>,
    loaded: Mutex<(Stamp, Loaded)>,
}

impl Current {
    fn loaded(&self) -> Loaded {
        let stamp = Stamp::of(&self.files);
        let mut kept = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != stamp {
            match load(&self.files) {
                Ok(loaded) => {
                    tracing::info!(ca = %self.files.ca.display(), "the files of TLS have changed, and are in use");
                    *kept = (stamp, loaded);
                }
                // Tried again with the next connection.
                Err(error) => {
                    tracing::warn!(
                        error = error.message,
                        "the files of TLS have changed, and cannot be used yet"
                    );
                }
            }
        }
        kept.1.clone()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("files", &self.files)
            .field("verify", &self.verify)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Current {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.loaded().verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is looked at last: everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Chain => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.loaded().verifier;
        verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verifier = self.loaded().verifier;
        verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.scheme.clone()
    }
}

impl ResolvesClientCert for Current {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.loaded().identity
    }

    fn has_certs(&self) -> bool {
        self.files.identity.is_some()
    }
}

#[cfg(test)]
mod tests;
