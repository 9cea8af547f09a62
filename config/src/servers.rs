//! The sections of the servers: `[zookeeper]`, `[cassandra]` and `[kafka]`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use crate::document::{Entry, Source, Value};
use crate::ensemble::Ensemble;
use crate::overrides::FILE_SUFFIX;
use crate::property_value::{SESSION_TIMEOUT, property_problem};
use crate::refused_property::{canonical_property, refused_property};
use crate::secret_value::Credentials;
use crate::section::{Given, Section, section};
use crate::tls::{CassandraTls, CertificateFiles};
use stitch_common::address::{Address, AddressError, Addresses};
use stitch_common::printable::printable_line;
use stitch_common::user_error::UserError;

section! {
    /// `[zookeeper]`
    pub ZooKeeper() {
        /// The servers of the ensemble.
        connect: Ensemble = ensemble("connect"; "connect = \"127.0.0.1:2181\""),
        /// The node below which the namespaces are, with the chroot of `connect`; empty for the top.
        root: String = zookeeper_root("root"; &connect),
        /// The requested timeout; the servers may grant another.
        session_timeout: Duration = milliseconds("session_timeout_ms"; 10_000, 500),
        /// Who this program is to the servers. With it, only the same identity may change what Stitch creates.
        identity: Option<Credentials> = digest("auth", "user", "password", "password_file"),
        /// Encrypts the connections.
        tls: Option<CertificateFiles> = zookeeper_tls("tls"),
    }
}

section! {
    /// `[cassandra]`
    pub Cassandra() {
        /// Some nodes.
        nodes: Addresses = nodes("nodes"; "nodes = [\"127.0.0.1:9042\"]"),
        /// The keyspace of the table `counts`.
        keyspace: String = keyspace("keyspace"; "keyspace = \"stitch\""),
        /// The data centre that increments are sent to; none: any.
        local_datacenter: Option<String> =
            optional_text("local_datacenter"; "local_datacenter = \"datacenter1\", or leave it out"),
        /// The consistency of increments.
        write_consistency: WriteConsistency = one_of(
            "write_consistency";
            WriteConsistency::LocalQuorum, "consistency of increments", &WriteConsistency::EVERY
        ),
        /// After this time a request's outcome is unknown.
        request_timeout: Duration = milliseconds("request_timeout_ms"; 5000, 10),
        /// How often an idle connection is probed.
        keepalive_interval: Duration = milliseconds("keepalive_interval_ms"; 5000, 100),
        /// How long a probed connection may be silent before it is closed.
        keepalive_timeout: Duration = milliseconds("keepalive_timeout_ms"; 5000, 100),
        /// Connections to each node.
        connections_per_node: usize = count("connections_per_node"; 2, 1..=64),
        /// User and password, if the cluster requires them.
        credentials: Option<Credentials> = credentials("user", "password", "password_file"),
        /// Encrypts the connections.
        tls: Option<CassandraTls> = cassandra_tls("tls"),
    }
}

section! {
    /// `[kafka]`
    pub Kafka() {
        /// The event topic.
        topic: String = topic("topic"; "topic = \"events\""),
        /// Properties of librdkafka that are passed on: `bootstrap.servers` and `group.id` among them, none that Stitch
        /// sets itself.
        client: ClientProperties = properties("client"),
    }
}

/// Properties of librdkafka, by name. Some are secrets, so `Debug` shows only the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientProperties(BTreeMap<String, String>);

impl fmt::Debug for ClientProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<const N: usize> From<[(String, String); N]> for ClientProperties {
    fn from(properties: [(String, String); N]) -> Self {
        Self(properties.into())
    }
}

impl From<BTreeMap<String, String>> for ClientProperties {
    fn from(properties: BTreeMap<String, String>) -> Self {
        Self(properties)
    }
}

impl Deref for ClientProperties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ClientProperties {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The consistency of increments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WriteConsistency {
    /// One replica of the local data centre.
    LocalOne,
    /// A majority of the local data centre's replicas.
    LocalQuorum,
    /// A majority in every data centre.
    EachQuorum,
    /// A majority of all replicas.
    Quorum,
    /// One replica.
    One,
    /// Every replica.
    All,
}

impl WriteConsistency {
    /// Every level, with its name.
    pub const EVERY: [(Self, &str); 6] = [
        (Self::LocalOne, "LOCAL_ONE"),
        (Self::LocalQuorum, "LOCAL_QUORUM"),
        (Self::EachQuorum, "EACH_QUORUM"),
        (Self::Quorum, "QUORUM"),
        (Self::One, "ONE"),
        (Self::All, "ALL"),
    ];

    /// Its name in CQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LocalOne => "LOCAL_ONE",
            Self::LocalQuorum => "LOCAL_QUORUM",
            Self::EachQuorum => "EACH_QUORUM",
            Self::Quorum => "QUORUM",
            Self::One => "ONE",
            Self::All => "ALL",
        }
    }

    /// Whether a read of a majority in *every* data centre meets at least one replica that acknowledged, however many
    /// replicas each has. A majority in any one data centre (`LOCAL_QUORUM`) is met there. A majority of all N replicas
    /// (`QUORUM`) is met because the majorities of all data centres together are more than half of N, too. One replica
    /// need not be met.
    #[must_use]
    pub const fn meets_majorities(self) -> bool {
        match self {
            Self::LocalQuorum | Self::EachQuorum | Self::Quorum | Self::All => true,
            Self::LocalOne | Self::One => false,
        }
    }

    /// Whether every increment that is acknowledged at this level would have been at `other`, too, and not the other way
    /// round.
    #[must_use]
    pub const fn is_above(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::LocalQuorum | Self::EachQuorum | Self::Quorum | Self::All,
                Self::LocalOne | Self::One,
            )
            | (Self::EachQuorum | Self::All, Self::LocalQuorum | Self::Quorum)
            | (Self::All, Self::EachQuorum) => true,
            (_, _) => false,
        }
    }
}

impl Kafka {
    /// The dead-letter topic.
    #[must_use]
    pub fn dead_letter_topic(&self) -> String {
        format!("{}.rejected", self.topic)
    }

    /// The consumer group of the processors.
    ///
    /// # Panics
    /// If the configuration was not validated.
    #[must_use]
    pub fn group_id(&self) -> &str {
        self.client
            .get("group.id")
            .expect("validated: group.id is given")
    }

    /// The time after which the group takes a silent member for dead: `session.timeout.ms`, or librdkafka's default.
    ///
    /// # Panics
    /// If the configuration was not validated.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        const DEFAULT_MS: u64 = 45_000;
        let configured = self.client.get(SESSION_TIMEOUT);
        let ms = configured.map_or(DEFAULT_MS, |value| {
            value.parse().expect("validated: a number of milliseconds")
        });
        Duration::from_millis(ms)
    }
}

/// The property with the brokers.
const BROKERS: &str = "bootstrap.servers";

impl<'a> Section<'a> {
    fn nodes(&mut self, key: &str, example: &str) -> Result<Addresses, UserError> {
        let Given { value, source } = self
            .strings(key)?
            .ok_or_else(|| self.missing(key, example))?;
        if value.is_empty() {
            let help = format!("name at least one node: {example}");
            return Err(self.wrong(key, source, " is empty", help));
        }
        let address = |given: &Given<'_, String>| {
            let parsed = given.value.parse();
            parsed.map_err(|error| self.no_address(key, given.source, &error, example))
        };
        let addresses = value.iter().map(address).collect::<Result<_, _>>()?;
        Addresses::new(addresses).map_err(|error| self.no_address(key, source, &error, example))
    }

    pub(super) fn no_address(
        &self,
        key: &str,
        source: Source<'_>,
        error: &AddressError,
        example: &str,
    ) -> UserError {
        let what = format!(" {}", printable_line(&error.to_string()));
        self.wrong(key, source, &what, format!("write it like {example}"))
    }

    /// The name of a keyspace as CQL takes it without quotes, with room for the suffix `_probes`. Capitals would be others
    /// there than they seem.
    fn keyspace(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        const LENGTH_MAX: usize = 48 - "_probes".len();
        let Given {
            value: name,
            source,
        } = self.given(key, example)?;
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= LENGTH_MAX;
        if valid {
            return Ok(name);
        }
        let what = format!(" = \"{name}\" is not the name of a keyspace without quotes");
        let help = format!(
            "use a small letter, then small letters, digits and underscores, at most {LENGTH_MAX} in all; CQL reads \
             capitals without quotes as small letters"
        );
        Err(self.wrong(key, source, &what, help))
    }

    /// The name of a topic, with room for the suffix `.rejected`.
    fn topic(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        const LENGTH_MAX: usize = 249 - ".rejected".len();
        let Given {
            value: name,
            source,
        } = self.given(key, example)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let valid = name.chars().all(plain) && !matches!(name.as_str(), "" | "." | "..");
        if valid && name.len() <= LENGTH_MAX {
            return Ok(name);
        }
        let what = format!(" = \"{name}\" is not the name of a topic");
        let help = format!("use letters, digits, '.', '_' and '-', at most {LENGTH_MAX} in all");
        Err(self.wrong(key, source, &what, help))
    }

    /// Properties of librdkafka, except those that correctness depends on: Stitch sets these itself.
    fn properties(&mut self, key: &str) -> Result<ClientProperties, UserError> {
        let mut section = self.section(key)?;
        let mut client = BTreeMap::new();
        let mut source = section.source;
        for (name, entry) in std::mem::take(&mut section.entries) {
            if let Some(reason) = refused_property(&name) {
                let what = " is set by Stitch itself";
                return Err(section.wrong(&name, entry.source, what, reason));
            }
            let given = entry.source;
            let (name, value) = section.property_or_file(name, entry)?;
            let canonical = canonical_property(&name).to_owned();
            if canonical == BROKERS {
                source = given;
            } else if let Err((what, help)) = property_problem(&canonical, &value) {
                return Err(section.wrong(&name, given, &what, help));
            }
            if client.insert(canonical.clone(), value).is_some() {
                let what = format!(
                    " is given twice, as \"{canonical}\" and by another name of it, or in a file"
                );
                return Err(section.wrong(&name, given, &what, "keep one of the two lines"));
            }
        }
        for (name, example) in [
            (
                "bootstrap.servers",
                "\"bootstrap.servers\" = \"127.0.0.1:9092\"",
            ),
            ("group.id", "\"group.id\" = \"stitch-plays\""),
        ] {
            if client.get(name).is_none_or(|value| value.trim().is_empty()) {
                return Err(section.missing(name, example));
            }
        }
        if let Some(brokers) = client.get_mut(BROKERS) {
            *brokers = canonical(brokers).map_err(|error| {
                let example = "\"bootstrap.servers\" = \"127.0.0.1:9092\"";
                section.no_address(BROKERS, source, &error, example)
            })?;
        }
        Ok(ClientProperties(client))
    }

    /// A property, or a secret one in a file: `sasl.password_file` is the file of `sasl.password`.
    fn property_or_file(
        &self,
        name: String,
        entry: Entry<'a>,
    ) -> Result<(String, String), UserError> {
        let source = entry.source;
        let value = self.property(&name, entry)?;
        match name.strip_suffix(FILE_SUFFIX) {
            Some(secret) if is_secret(secret) => {
                let content = self.content(&name, &value, source)?;
                if content.is_empty() {
                    let what = format!(": {value} is empty");
                    let help = "write the secret into it, in one line";
                    return Err(self.wrong(&name, source, &what, help));
                }
                let content = self.single_line(secret, &name, source, content)?;
                Ok((secret.to_owned(), content))
            }
            Some(_) | None => Ok((name, value)),
        }
    }

    /// librdkafka accepts every value as text; a file may write integers and booleans as such, where that is the same text.
    fn property(&self, name: &str, entry: Entry<'a>) -> Result<String, UserError> {
        let (source, found) = (entry.source, entry.value.kind());
        let plain = !is_secret(name);
        let text = match entry.value {
            Value::Section(_) => {
                let what = ": found a section, expected a property";
                let help = "write the name of the property in quotes, as in \"bootstrap.servers\"";
                return Err(self.wrong(name, source, what, help));
            }
            Value::Leaf(leaf) if plain => match leaf.get_ref() {
                DeValue::Integer(number) => Some(number.to_string()),
                DeValue::Boolean(on) => Some(on.to_string()),
                DeValue::String(text) => Some(text.to_string()),
                DeValue::Float(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_)
                | DeValue::Table(_) => None,
            },
            text @ (Value::Leaf(_) | Value::Text(_)) => text.into_string(),
        };
        let wanted = if plain {
            "a string, an integer or a boolean"
        } else {
            "a string in quotes"
        };
        let text = text.ok_or_else(|| self.not_a(name, source, found, wanted))?;
        // Brokers are parsed.
        if name == BROKERS {
            return Ok(text);
        }
        self.single_line(name, name, source, text)
    }

    /// The value of a property that `key` gives, without control characters. Certificates and keys have lines.
    fn single_line(
        &self,
        property: &str,
        key: &str,
        source: Source<'_>,
        text: String,
    ) -> Result<String, UserError> {
        if !property.ends_with(".pem") && text.contains(|c: char| c.is_control()) {
            let what = " has a line end or another control character";
            return Err(self.wrong(key, source, what, "correct it, or leave it out"));
        }
        Ok(text)
    }
}

/// The brokers as librdkafka reads them: each with its port, after its protocol if one is named, without blanks.
fn canonical(brokers: &str) -> Result<String, AddressError> {
    const PORT: &str = ":9092";
    let one = |broker: &str| {
        let broker = broker.trim();
        let (protocol, address) = match broker.split_once("://") {
            Some((protocol, address)) => (Some(protocol), address),
            None => (None, broker),
        };
        let parsed: Address = match address.parse() {
            Err(AddressError::NoPort(_)) => format!("{address}{PORT}").parse()?,
            parsed => parsed?,
        };
        match protocol {
            None => Ok(parsed.to_string()),
            Some(name @ ("PLAINTEXT" | "SSL" | "SASL_PLAINTEXT" | "SASL_SSL")) => {
                Ok(format!("{name}://{parsed}"))
            }
            Some(_) => Err(AddressError::Host(parsed.to_string())),
        }
    };
    let brokers: Vec<String> = brokers.split(',').map(one).collect::<Result<_, _>>()?;
    Ok(brokers.join(","))
}

/// Whether the value of a property is, or may be, a secret.
fn is_secret(name: &str) -> bool {
    [
        "password", "secret", "token", ".pem", "jaas", "pasword", "passwd",
    ]
    .iter()
    .any(|part| name.contains(part))
}

#[cfg(test)]
mod consistency_tests {
    use crate::WriteConsistency;

    /// Whether reading a majority of every data centre meets every set of replicas that `level` can have acknowledged.
    fn meets(level: WriteConsistency, replicas: &[u32]) -> bool {
        let all: u32 = replicas.iter().sum();
        let majority = |of: u32| of / 2 + 1;
        // The fewest acknowledgements of a data centre that a majority of it need not meet.
        let unmet = |of: u32| of - majority(of);
        match level {
            WriteConsistency::One | WriteConsistency::LocalOne => {
                replicas.iter().all(|of| unmet(*of) < 1)
            }
            WriteConsistency::LocalQuorum | WriteConsistency::EachQuorum => {
                replicas.iter().all(|of| unmet(*of) < majority(*of))
            }
            WriteConsistency::Quorum => {
                replicas.iter().map(|of| unmet(*of)).sum::<u32>() < majority(all)
            }
            WriteConsistency::All => true,
        }
    }

    #[test]
    fn levels_that_meet_majorities_do_so_in_every_layout_of_up_to_three_data_centres() {
        let layouts = (1..6).flat_map(|a| (0..6).flat_map(move |b| (0..6).map(move |c| [a, b, c])));
        let layouts: Vec<Vec<u32>> = layouts
            .map(|layout| layout.into_iter().filter(|of| *of > 0).collect())
            .collect();
        for (level, name) in WriteConsistency::EVERY {
            let always = layouts.iter().all(|layout| meets(level, layout));
            assert_eq!(always, level.meets_majorities(), "{name}");
            assert_eq!(level.name(), name);
            let json = serde_json::to_string(&level).unwrap();
            assert_eq!(json, format!("\"{name}\""));
        }
    }
}
