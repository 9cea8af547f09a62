//! The PEM files of a client: read, and recognised when they change.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use stitch_common::user_error::UserError;
use stitch_config::{CertificateFiles, TlsFiles};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The content of the files, each with something usable in it.
#[derive(Clone)]
pub struct PemFiles {
    /// Certificates of authorities.
    pub ca: String,
    /// A certificate with its chain, and its private key.
    pub identity: Option<(String, String)>,
}

/// What distinguishes the files from what they were: replaced, rewritten or gone. A certificate that is renewed has
/// another file, or another time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(u64, i64, i64, u64)>>);

impl Stamp {
    /// The files as they are now. Reads no content, and so hardly blocks.
    #[must_use]
    pub fn of(files: &CertificateFiles) -> Self {
        let identity = files.identity.iter();
        let paths = std::iter::once(&files.ca)
            .chain(identity.flat_map(|files| [&files.certificate, &files.key]));
        let of = |path: &std::path::PathBuf| {
            let of = std::fs::metadata(path).ok()?;
            Some((of.ino(), of.mtime(), of.mtime_nsec(), of.len()))
        };
        Self(paths.map(of).collect())
    }
}

impl PemFiles {
    /// Reads the files. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// A file cannot be read, or has nothing of what it should have; it is named, and nothing of it is shown.
    pub fn read(files: &CertificateFiles) -> Result<Self, UserError> {
        let ca = text(&files.ca, "ca")?;
        certificates(&files.ca, &ca, "ca")?;
        let identity = files.identity.as_ref().map(identity).transpose()?;
        Ok(Self { ca, identity })
    }
}

fn identity(files: &TlsFiles) -> Result<(String, String), UserError> {
    let certificate = text(&files.certificate, "certificate")?;
    certificates(&files.certificate, &certificate, "certificate")?;
    let key = text(&files.key, "key")?;
    // The reason is not shown: it might quote the file.
    PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| {
        unusable(
            &files.key,
            "key",
            &"it has no private key in PEM, without a password",
        )
    })?;
    Ok((certificate, key))
}

/// The certificates in the PEM text of the file `path`, which the key `key` of the configuration names.
pub(crate) fn certificates(
    path: &Path,
    text: &str,
    key: &str,
) -> Result<Vec<CertificateDer<'static>>, UserError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let certificates = certificates.map_err(|error| unusable(path, key, &error))?;
    if certificates.is_empty() {
        return Err(unusable(path, key, &"it has no certificate in PEM"));
    }
    Ok(certificates)
}

fn text(path: &Path, key: &str) -> Result<String, UserError> {
    std::fs::read_to_string(path).map_err(|error| unusable(path, key, &error))
}

pub(crate) fn unusable(path: &Path, key: &str, reason: &dyn Display) -> UserError {
    UserError::new(
        format!("{} cannot be used for TLS: {reason}", path.display()),
        format!("name a PEM file that this user may read by the key {key} of the section tls"),
    )
}
