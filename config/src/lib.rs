//! The configuration: one TOML file for every program, overridden value by value from the environment.
//!
//! Every key is declared once, with type, default and bounds, by the macro `section!` in `servers`, `programs`,
//! `archive`, `totals`, `batch`, `audit` and `counting`. Required are only namespace, connect, nodes, keyspace, topic, bootstrap.servers, group.id and one counter.
//! Unknown keys are errors. The annotated example is `deploy/stitch.toml`.

mod archive;
mod audit;
mod batch;
mod counting;
mod document;
mod ensemble;
mod environment;
mod layer;
mod load;
mod origin;
mod overrides;
mod programs;
mod property_value;
mod refused_property;
mod section;
mod value;
mod secret_value;
mod tls;
mod servers;
mod totals;

use crate::section::{Given, Section};
use stitch_common::definition::Definitions;
use stitch_common::user_error::UserError;

pub use archive::Archive;
pub use audit::Audit;
pub use batch::Batch;
pub use ensemble::{Ensemble, ROOT_DEFAULT};
pub use environment::Environment;
pub use layer::LayerChoice;
pub use origin::origin_sent;
pub use programs::{Api, Http, Processor, ReadConsistency, Restorator, token_problem};
pub use property_value::property_problem;
pub use refused_property::refused_property;
pub use secret_value::{Credentials, read_secret_file};
pub use servers::{Cassandra, ClientProperties, Kafka, WriteConsistency, ZooKeeper};
pub use tls::{CassandraTls, CertificateFiles, TlsFiles, Verify};
pub use totals::{Engine, Spark, Totals};

/// The configuration, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The namespace: its ZooKeeper root is `<root>/<namespace>`.
    pub namespace: String,
    pub zookeeper: ZooKeeper,
    pub cassandra: Cassandra,
    pub kafka: Kafka,
    /// What events count (`[ranges]`, `[event]`, `[[counter]]`).
    pub definitions: Definitions,
    pub processor: Processor,
    pub restorator: Restorator,
    pub audit: Audit,
    pub archive: Archive,
    pub totals: Totals,
    pub batch: Batch,
    /// The HTTP server of processor and archiver.
    pub http: Http,
    /// The server of counts.
    pub api: Api,
}

/// The keys and sections at the top level.
const ROOT: [&str; 15] = [
    "namespace",
    "zookeeper",
    "cassandra",
    "kafka",
    "ranges",
    "event",
    "counter",
    "processor",
    "restorator",
    "audit",
    "archive",
    "totals",
    "batch",
    "http",
    "api",
];

/// The sections of which each key has one variable, with their keys.
const SECTIONS: [(&str, &[&str]); 13] = [
    ("zookeeper", ZooKeeper::KEYS),
    ("cassandra", Cassandra::KEYS),
    ("kafka", Kafka::KEYS),
    ("ranges", counting::Ranges::KEYS),
    ("event", counting::Event::KEYS),
    ("processor", Processor::KEYS),
    ("restorator", Restorator::KEYS),
    ("audit", Audit::KEYS),
    ("archive", Archive::KEYS),
    ("totals", Totals::KEYS),
    ("batch", Batch::KEYS),
    ("http", Http::KEYS),
    ("api", Api::KEYS),
];

impl Config {
    fn read(mut root: Section<'_>) -> Result<Self, UserError> {
        root.allow(&ROOT)?;
        let namespace = namespace(&mut root)?;
        let kafka = Kafka::read(root.section("kafka")?)?;
        let cassandra = Cassandra::read(root.section("cassandra")?)?;
        let batch = Batch::read(root.section("batch")?, &cassandra)?;
        Ok(Self {
            namespace,
            zookeeper: ZooKeeper::read(root.section("zookeeper")?)?,
            definitions: counting::definitions(&mut root)?,
            processor: Processor::read(root.section("processor")?, &kafka)?,
            restorator: Restorator::read(root.section("restorator")?)?,
            audit: Audit::read(root.section("audit")?)?,
            archive: Archive::read(root.section("archive")?)?,
            totals: Totals::read(root.section("totals")?)?,
            api: Api::read(root.section("api")?, &batch)?,
            batch,
            cassandra,
            http: Http::read(root.section("http")?)?,
            kafka,
        })
    }
}

fn namespace(root: &mut Section<'_>) -> Result<String, UserError> {
    let Given {
        value: name,
        source,
    } = root.name("namespace", "namespace = \"plays\"")?;
    // ZooKeeper refuses what is no character for certain.
    let plain = |c: char| !matches!(c, '/' | '\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    if name.chars().all(plain) && !matches!(name.as_str(), "." | "..") && name.len() <= 200 {
        return Ok(name);
    }
    let what = " cannot be the name of a ZooKeeper node";
    let help = "give it a short name without slash, for example namespace = \"plays\"";
    Err(root.wrong("namespace", source, what, help))
}

#[cfg(test)]
mod tests;
