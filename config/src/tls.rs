//! How connections to ZooKeeper and Cassandra are encrypted: `[zookeeper.tls]` and `[cassandra.tls]`. Without the section
//! they are not. The files are read by the adapters, which read them again when they change.

use std::path::PathBuf;

use crate::section::{Section, section};
use stitch_common::user_error::UserError;

section! {
    ZooKeeperTls() {
        files: CertificateFiles = certificates("ca", "certificate", "key"),
    }
}

section! {
    /// `[cassandra.tls]`
    pub CassandraTls() {
        /// The files.
        files: CertificateFiles = certificates("ca", "certificate", "key"),
        /// What a node's certificate must show.
        verify: Verify = one_of("verify"; Verify::Full, "verification", &Verify::EVERY),
    }
}

/// The PEM files of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The authorities that servers' certificates must come from.
    pub ca: PathBuf,
    /// The certificate that the servers know this program by, if they ask for one.
    pub identity: Option<TlsFiles>,
}

/// The PEM files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What the certificate of a Cassandra node must show. The driver knows nodes by their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// That it comes from the authority, is valid now, and is made for the node's IP address.
    Full,
    /// That it comes from the authority and is valid now: any such certificate passes for any node.
    Chain,
}

impl Verify {
    const EVERY: [(Self, &str); 2] = [(Self::Full, "FULL"), (Self::Chain, "CHAIN")];
}

impl<'a> Section<'a> {
    /// The section `key` of this one, if it is there.
    fn subsection(&mut self, key: &str) -> Result<Option<Self>, UserError> {
        match self.entries.contains_key(key) {
            true => self.section(key).map(Some),
            false => Ok(None),
        }
    }

    pub(super) fn zookeeper_tls(
        &mut self,
        key: &str,
    ) -> Result<Option<CertificateFiles>, UserError> {
        let section = self.subsection(key)?.map(ZooKeeperTls::read);
        Ok(section.transpose()?.map(|section| section.files))
    }

    pub(super) fn cassandra_tls(&mut self, key: &str) -> Result<Option<CassandraTls>, UserError> {
        self.subsection(key)?.map(CassandraTls::read).transpose()
    }

    fn certificates(
        &mut self,
        ca: &str,
        certificate: &str,
        key: &str,
    ) -> Result<CertificateFiles, UserError> {
        Ok(CertificateFiles {
            ca: self.text(ca, &format!("{ca} = \"ca.pem\""))?.into(),
            identity: self.tls(certificate, key)?,
        })
    }

    pub(super) fn tls(
        &mut self,
        certificate: &str,
        key: &str,
    ) -> Result<Option<TlsFiles>, UserError> {
        let example = |name: &str| format!("{name} = \"…\"");
        let files = (
            self.optional_text(certificate, &example(certificate))?,
            self.optional_text(key, &example(key))?,
        );
        match files {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.into(),
                key: key.into(),
            })),
            (Some(_), None) => Err(self.missing(key, &example(key))),
            (None, Some(_)) => Err(self.missing(certificate, &example(certificate))),
        }
    }
}
