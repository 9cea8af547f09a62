//! `[zookeeper]`, `[cassandra]` and `[kafka]`.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Section;
use crate::config::document::Document;
use crate::config::raw::{self, Given, Property};
use crate::config::{Cassandra, Kafka, WriteConsistency, ZooKeeper, refused_property};
use crate::user_error::UserError;

pub(super) fn zookeeper(
    document: &Document<'_>,
    given: Given<raw::ZooKeeper>,
) -> Result<ZooKeeper, UserError> {
    let (section, raw) = Section::open(document, "zookeeper", given);
    let example = "connect = \"127.0.0.1:2181\"";
    let connect = section.required("connect", raw.connect, example)?;
    for server in connect.get_ref().split(',') {
        address(&section, "connect", &connect, server, example)?;
    }
    let timeout = raw.session_timeout_ms;
    Ok(ZooKeeper {
        connect: connect.into_inner(),
        session_timeout: section.milliseconds("session_timeout_ms", timeout, 10_000, 500)?,
    })
}

pub(super) fn cassandra(
    document: &Document<'_>,
    given: Given<raw::Cassandra>,
) -> Result<Cassandra, UserError> {
    let (section, raw) = Section::open(document, "cassandra", given);
    let example = "nodes = [\"127.0.0.1:9042\"]";
    let nodes = section.required("nodes", raw.nodes, example)?;
    if nodes.get_ref().is_empty() {
        let help = format!("name at least one node: {example}");
        return Err(section.wrong("nodes", &nodes, " is empty", help));
    }
    for node in nodes.get_ref() {
        address(&section, "nodes", &nodes, node, example)?;
    }
    let keyspace = section.required("keyspace", raw.keyspace, "keyspace = \"stitch\"")?;
    let credentials = match (raw.user, raw.password) {
        (Some(user), Some(password)) => Some((
            section.text("user", user, "the name of a Cassandra role")?,
            password.into_inner(),
        )),
        (None, None) => None,
        (Some(_), None) => return Err(section.missing("password", "password = \"…\"")),
        (None, Some(_)) => return Err(section.missing("user", "user = \"…\"")),
    };
    Ok(Cassandra {
        nodes: nodes.into_inner(),
        keyspace: identifier(&section, keyspace)?,
        local_datacenter: section.optional_text(
            "local_datacenter",
            raw.local_datacenter,
            "local_datacenter = \"datacenter1\", or leave it out",
        )?,
        write_consistency: consistency(&section, raw.write_consistency)?,
        request_timeout: section.milliseconds(
            "request_timeout_ms",
            raw.request_timeout_ms,
            5_000,
            10,
        )?,
        keepalive_interval: section.milliseconds(
            "keepalive_interval_ms",
            raw.keepalive_interval_ms,
            5_000,
            100,
        )?,
        keepalive_timeout: section.milliseconds(
            "keepalive_timeout_ms",
            raw.keepalive_timeout_ms,
            5_000,
            100,
        )?,
        connections_per_node: section.count(
            "connections_per_node",
            raw.connections_per_node,
            2,
            1..=64,
        )?,
        credentials,
    })
}

pub(super) fn kafka(document: &Document<'_>, given: Given<raw::Kafka>) -> Result<Kafka, UserError> {
    let (section, raw) = Section::open(document, "kafka", given);
    let topic = section.required("topic", raw.topic, "topic = \"events\"")?;
    let (client_section, properties) = Section::open(document, "kafka.client", raw.client);
    let mut client = BTreeMap::new();
    for (name, value) in properties {
        let (name, value) = property(&client_section, name, value)?;
        client.insert(name, value);
    }
    for (name, example) in [
        (
            "bootstrap.servers",
            "\"bootstrap.servers\" = \"127.0.0.1:9092\"",
        ),
        ("group.id", "\"group.id\" = \"stitch-plays\""),
    ] {
        if client.get(name).is_none_or(|value| value.trim().is_empty()) {
            return Err(client_section.missing(name, example));
        }
    }
    Ok(Kafka {
        topic: topic_name(&section, topic)?,
        client,
    })
}

/// A property of librdkafka; those that correctness depends on are ours to set.
fn property(
    section: &Section<'_>,
    name: Spanned<String>,
    value: Spanned<Property>,
) -> Result<(String, String), UserError> {
    if let Some(reason) = refused_property(name.get_ref()) {
        let what = " is set by Stitch itself";
        return Err(section.wrong(name.get_ref(), &name, what, reason));
    }
    let text = match value.into_inner() {
        Property::Text(text) => text,
        Property::Integer(number) => number.to_string(),
        Property::Number(number) => number.to_string(),
        Property::Switch(on) => on.to_string(),
    };
    Ok((name.into_inner(), text))
}

/// `server` is `host:port`.
fn address<T>(
    section: &Section<'_>,
    key: &str,
    value: &Spanned<T>,
    server: &str,
    example: &str,
) -> Result<(), UserError> {
    let parts = server.trim().rsplit_once(':');
    let valid = parts.is_some_and(|(host, port)| {
        let host_valid = !host.is_empty() && !host.contains(['/', ' ', ',']);
        host_valid && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if valid {
        return Ok(());
    }
    let what = format!(": \"{server}\" is not host:port");
    Err(section.wrong(key, value, &what, format!("write it like {example}")))
}

/// A keyspace's name as CQL takes it without quotes, which does not tell upper from lower case.
fn identifier(section: &Section<'_>, keyspace: Spanned<String>) -> Result<String, UserError> {
    let name = keyspace.get_ref();
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 48;
    if valid {
        return Ok(name.to_ascii_lowercase());
    }
    let what = format!(" = \"{name}\" is not the name of a keyspace");
    let help = "use a letter, then letters, digits and underscores, at most 48 in all";
    Err(section.wrong("keyspace", &keyspace, &what, help))
}

fn consistency(section: &Section<'_>, given: Given<String>) -> Result<WriteConsistency, UserError> {
    let Some(given) = given else {
        return Ok(WriteConsistency::LocalQuorum);
    };
    let name = given.get_ref().to_ascii_uppercase();
    let mut every = WriteConsistency::EVERY.iter();
    every
        .find(|(_, known)| *known == name)
        .map(|(level, _)| *level)
        .ok_or_else(|| {
            let known: Vec<_> = WriteConsistency::EVERY
                .iter()
                .map(|(_, name)| *name)
                .collect();
            let what = format!(" = \"{}\" is no consistency of increments", given.get_ref());
            let help = format!("use one of {}", known.join(", "));
            section.wrong("write_consistency", &given, &what, help)
        })
}

/// A topic's name with room for `.rejected` behind it.
fn topic_name(section: &Section<'_>, topic: Spanned<String>) -> Result<String, UserError> {
    const LENGTH_MAX: usize = 249 - ".rejected".len();
    let name = topic.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let valid = name.chars().all(plain) && !matches!(name.as_str(), "" | "." | "..");
    if valid && name.len() <= LENGTH_MAX {
        return Ok(topic.into_inner());
    }
    let what = format!(" = \"{name}\" is not the name of a topic");
    let help = format!("use letters, digits, '.', '_' and '-', at most {LENGTH_MAX} in all");
    Err(section.wrong("topic", &topic, &what, help))
}
