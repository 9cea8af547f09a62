//! The sections of the servers: `[zookeeper]`, `[cassandra]` and `[kafka]`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::refused_property::{canonical_property, refused_property};
use super::section::{Given, Section, section};
use crate::user_error::UserError;

section! {
    /// `[zookeeper]`
    pub ZooKeeper() {
        /// `host:port,host:port…`
        connect: String = ensemble("connect"; "connect = \"127.0.0.1:2181\""),
        /// The requested timeout; the servers may grant another.
        session_timeout: Duration = milliseconds("session_timeout_ms"; 10_000, 500),
    }
}

section! {
    /// `[cassandra]`
    pub Cassandra() {
        /// `host:port` of some nodes.
        nodes: Vec<String> = nodes("nodes"; "nodes = [\"127.0.0.1:9042\"]"),
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
        credentials: Option<(String, String)> = pair("user", "password"),
    }
}

section! {
    /// `[kafka]`
    pub Kafka() {
        /// The event topic.
        topic: String = topic("topic"; "topic = \"events\""),
        /// Properties of librdkafka that are passed on: `bootstrap.servers` and `group.id` among them, none that Stitch
        /// sets itself.
        client: BTreeMap<String, String> = properties("client"),
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
    /// # Errors
    /// The property's value, if it is not a number.
    pub fn session_timeout(&self) -> Result<Duration, String> {
        const DEFAULT_MS: u64 = 45_000;
        match self.client.get("session.timeout.ms") {
            None => Ok(Duration::from_millis(DEFAULT_MS)),
            Some(value) => match value.trim().parse() {
                Ok(ms) => Ok(Duration::from_millis(ms)),
                Err(_) => Err(value.clone()),
            },
        }
    }
}

/// librdkafka accepts every value as text; a file may write numbers and booleans as such.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, an integer, a number or a boolean"
)]
enum Property {
    Text(String),
    Integer(i64),
    Number(f64),
    Switch(bool),
}

impl Section<'_> {
    /// The servers of an ensemble, separated by commas.
    fn ensemble(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        let given = self.required::<String>(key, example)?;
        self.check_addresses(key, &given, given.value.split(','), example)?;
        Ok(given.value)
    }

    fn nodes(&mut self, key: &str, example: &str) -> Result<Vec<String>, UserError> {
        let given = self.required::<Vec<String>>(key, example)?;
        if given.value.is_empty() {
            let help = format!("name at least one node: {example}");
            return Err(self.wrong(key, given.source, " is empty", help));
        }
        self.check_addresses(key, &given, given.value.iter().map(String::as_str), example)?;
        Ok(given.value)
    }

    /// Each of `servers`, which are `given`, is `host:port`.
    fn check_addresses<'s, T>(
        &self,
        key: &str,
        given: &Given<'_, T>,
        mut servers: impl Iterator<Item = &'s str>,
        example: &str,
    ) -> Result<(), UserError> {
        let is_valid = |server: &str| {
            server.trim().rsplit_once(':').is_some_and(|(host, port)| {
                let host_valid = !host.is_empty() && !host.contains(['/', ' ', ',']);
                host_valid && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        match servers.find(|server| !is_valid(server)) {
            None => Ok(()),
            Some(server) => {
                let what = format!(": \"{server}\" is not host:port");
                Err(self.wrong(key, given.source, &what, format!("write it like {example}")))
            }
        }
    }

    /// The name of a keyspace as CQL takes it without quotes, where case does not matter.
    fn keyspace(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        let Given {
            value: name,
            source,
        } = self.required::<String>(key, example)?;
        let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.len() <= 48;
        if valid {
            return Ok(name.to_ascii_lowercase());
        }
        let what = format!(" = \"{name}\" is not the name of a keyspace");
        let help = "use a letter, then letters, digits and underscores, at most 48 in all";
        Err(self.wrong(key, source, &what, help))
    }

    /// The name of a topic, with room for the suffix `.rejected`.
    fn topic(&mut self, key: &str, example: &str) -> Result<String, UserError> {
        const LENGTH_MAX: usize = 249 - ".rejected".len();
        let Given {
            value: name,
            source,
        } = self.required::<String>(key, example)?;
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
    fn properties(&mut self, key: &str) -> Result<BTreeMap<String, String>, UserError> {
        let mut section = self.section(key)?;
        let mut client = BTreeMap::new();
        for (name, entry) in std::mem::take(&mut section.entries) {
            if let Some(reason) = refused_property(&name) {
                let what = " is set by Stitch itself";
                return Err(section.wrong(&name, entry.source, what, reason));
            }
            let source = entry.source;
            let value = match section.deserialize(&name, entry)? {
                Property::Text(text) => text,
                Property::Integer(number) => number.to_string(),
                Property::Number(number) => number.to_string(),
                Property::Switch(on) => on.to_string(),
            };
            let canonical = canonical_property(&name).to_owned();
            if client.insert(canonical.clone(), value).is_some() {
                let what = format!(" is given twice, as \"{canonical}\" and by another name of it");
                return Err(section.wrong(&name, source, &what, "keep one of the two lines"));
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
        Ok(client)
    }
}

#[cfg(test)]
mod consistency_tests {
    use super::WriteConsistency;

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
