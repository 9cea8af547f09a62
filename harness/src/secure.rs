//! Clients of servers that are secured (`deploy/local up --secure`), if `STITCH_TEST_SECURE` names the folder with their
//! certificates and passwords; otherwise plain ones. Tests come as `admin`, and to ZooKeeper with the fleet's own
//! identity; the product comes as `stitch`.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rdkafka::ClientConfig as KafkaConfig;
use scylla::client::session_builder::SessionBuilder;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use zookeeper_client::{Client, TlsOptions};

/// The tests' own user.
const ADMIN: &str = "admin";

/// The fleet's.
pub const FLEET: &str = "stitch";

/// The folder with certificates and passwords; none if the servers are plain.
pub fn folder() -> Option<PathBuf> {
    env::var_os("STITCH_TEST_SECURE")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}

/// The content of a file in `folder`, without the line end after it.
pub fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.trim_end().to_owned())
}

/// The sections by which the product connects; empty if the servers are plain.
pub fn sections() -> Result<toml::Table> {
    let Some(folder) = folder() else {
        return Ok(toml::Table::new());
    };
    let mut sections: toml::Table = read(&folder, "client.toml")?.parse()?;
    if let Some(toml::Value::Table(cassandra)) = sections.get_mut("cassandra") {
        // A node that encrypts for many processes on two cores may be silent for seconds, and is not cut off.
        cassandra.insert(
            "keepalive_timeout_ms".to_owned(),
            toml::Value::Integer(5000),
        );
    }
    Ok(sections)
}

/// Properties of a client of Kafka.
pub fn kafka(brokers: &str) -> Result<KafkaConfig> {
    let mut config = KafkaConfig::new();
    config.set("bootstrap.servers", brokers);
    let Some(folder) = folder() else {
        return Ok(config);
    };
    let path = |name: &str| folder.join(name).display().to_string();
    config
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", ADMIN)
        .set(
            "sasl.password",
            read(&folder, &format!("{ADMIN}.password"))?,
        )
        .set("ssl.ca.location", path("ca.pem"))
        .set("ssl.certificate.location", path(&format!("{ADMIN}.pem")))
        .set("ssl.key.location", path(&format!("{ADMIN}.key")));
    Ok(config)
}

/// A session with Cassandra, not yet opened.
pub fn cassandra(nodes: &[String]) -> Result<SessionBuilder> {
    let builder = SessionBuilder::new().known_nodes(nodes);
    let Some(folder) = folder() else {
        return Ok(builder);
    };
    let (user, password) = admin(&folder)?;
    Ok(builder
        .tls_context(Some(Arc::new(tls(&folder)?)))
        .user(user, password))
}

/// The tests' own user, and its password.
pub fn admin(folder: &Path) -> Result<(&'static str, String)> {
    Ok((ADMIN, read(folder, &format!("{ADMIN}.password"))?))
}

/// TLS with the tests' own certificate.
pub fn tls(folder: &Path) -> Result<ClientConfig> {
    let path = |name: &str| folder.join(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path("ca.pem"))?)?;
    let certificate = CertificateDer::from_pem_file(path(&format!("{ADMIN}.pem")))?;
    let key = PrivateKeyDer::from_pem_file(path(&format!("{ADMIN}.key")))?;
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?)
}

/// A session with ZooKeeper, as `user`, who is only known where the servers are secured.
pub async fn zookeeper(servers: &str, user: &str) -> Result<Client> {
    let connector = Client::connector();
    let Some(folder) = folder() else {
        return connector.connect(servers).await.context("ZooKeeper");
    };
    let file = |name: &str| read(&folder, name);
    let identity = format!("{user}:{}", file(&format!("{user}.password"))?);
    let tls = TlsOptions::new()
        .with_pem_ca(&file("ca.pem")?)?
        .with_pem_identity(
            &file(&format!("{user}.pem"))?,
            &file(&format!("{user}.key"))?,
        )?;
    let connector = connector
        .with_auth("digest", identity.as_bytes())
        .with_tls(tls);
    connector.secure_connect(servers).await.context("ZooKeeper")
}
