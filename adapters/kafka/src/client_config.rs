//! The configuration of each Kafka client: properties that Stitch forces, the user's, and Stitch's defaults.
//!
//! All programs use one isolation level, and no automatic position, commit or weaker acknowledgement: a program that
//! reads or commits otherwise would count differently from the next one.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// The purpose of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests metadata; never reads a record.
    Metadata,
    /// Reads records from given offsets; belongs to no group.
    Feed,
    /// Reads the first record of each partition.
    FirstRecords,
    /// Belongs to the consumer group; never reads a record.
    Member,
    /// Writes rejected records.
    DeadLetters,
    /// Describes and creates topics.
    Admin,
}

/// Properties that only a member of a group may have. The other consumers have the group's id, which the client
/// requires, but never join: with these properties they would be refused or count as the same static member.
const MEMBER_ONLY: &[&str] = &[
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
];

/// Properties with two names.
const ALIASES: &[(&str, &str)] = &[
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

/// The client's configuration for `role`: forced properties win over the user's, and those over our defaults.
pub(super) fn client_config(user: &BTreeMap<String, String>, role: Role) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in user {
        if role != Role::Member && MEMBER_ONLY.contains(&name.as_str()) {
            continue;
        }
        config.set(name, value);
    }
    for (name, value) in EVERYWHERE.iter().chain(defaults(role)) {
        let is_set = user.contains_key(*name) || alias(name).is_some_and(|a| user.contains_key(a));
        if !is_set && !clashes(name, user) {
            config.set(*name, *value);
        }
    }
    for (name, value) in forced(role) {
        config.set(*name, *value);
    }
    config
}

fn alias(name: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(one, _)| *one == name)
        .map(|(_, other)| *other)
}

/// With the protocol of KIP-848 the brokers choose the assignor, and the client refuses a strategy.
fn clashes(name: &str, user: &BTreeMap<String, String>) -> bool {
    name == "partition.assignment.strategy"
        && user
            .get("group.protocol")
            .is_some_and(|protocol| protocol == "consumer")
}

/// Properties that the user cannot change.
fn forced(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Metadata | Role::Feed | Role::FirstRecords | Role::Member => &[
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::DeadLetters => &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::Admin => &[("allow.auto.create.topics", "false")],
    }
}

/// Defaults for every role.
const EVERYWHERE: &[(&str, &str)] = &[
    ("socket.keepalive.enable", "true"),
    // A recovered broker is noticed this soon. With the client's own default of 10 s, the restart of a broker would delay
    // feeds and metadata requests by as much again.
    ("reconnect.backoff.max.ms", "1000"),
];

/// Defaults for one role.
fn defaults(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Feed => &[
            // Bounds prefetching, whatever the backlog; the client may exceed it by one response.
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.max.bytes", "8388608"),
            ("fetch.message.max.bytes", "1048576"),
            // The client fetches again this long after its queue was full: with its own default of 1 s it would run dry.
            ("fetch.queue.backoff.ms", "10"),
            // A started partition waits for the broker's answer to the fetch in flight, which comes after this time at
            // the latest.
            ("fetch.wait.max.ms", "50"),
            ("check.crcs", "true"),
        ],
        Role::FirstRecords => &[
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.max.bytes", "8388608"),
            ("fetch.wait.max.ms", "50"),
            ("check.crcs", "true"),
        ],
        Role::Member => &[
            ("partition.assignment.strategy", "cooperative-sticky"),
            // Partitions added to the topic are assigned this soon.
            ("topic.metadata.refresh.interval.ms", "30000"),
        ],
        Role::DeadLetters => &[
            ("message.timeout.ms", "30000"),
            // A record that the event topic accepted compressed may exceed the client's own default of 1 MB.
            ("message.max.bytes", "67108864"),
        ],
        Role::Metadata | Role::Admin => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::config::refused_property;

    fn user(lines: &[(&str, &str)]) -> BTreeMap<String, String> {
        lines
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    const ROLES: [Role; 6] = [
        Role::Metadata,
        Role::Feed,
        Role::FirstRecords,
        Role::Member,
        Role::DeadLetters,
        Role::Admin,
    ];

    #[test]
    fn every_forced_property_is_refused_to_the_user() {
        for role in ROLES {
            for (name, _) in forced(role) {
                assert!(refused_property(name).is_some(), "{name} of {role:?}");
            }
        }
    }

    #[test]
    fn every_role_reads_committed_records_and_commits_nothing_automatically() {
        for role in [Role::Metadata, Role::Feed, Role::FirstRecords, Role::Member] {
            let config = client_config(&user(&[]), role);
            assert_eq!(
                config.get("isolation.level"),
                Some("read_committed"),
                "{role:?}"
            );
            assert_eq!(config.get("enable.auto.commit"), Some("false"), "{role:?}");
            assert_eq!(config.get("auto.offset.reset"), Some("error"), "{role:?}");
        }
        let config = client_config(&user(&[]), Role::DeadLetters);
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn a_default_gives_way_to_the_users_value_under_either_name() {
        let config = client_config(&user(&[("delivery.timeout.ms", "7000")]), Role::DeadLetters);
        assert_eq!(config.get("delivery.timeout.ms"), Some("7000"));
        assert_eq!(config.get("message.timeout.ms"), None);
        let config = client_config(&user(&[("fetch.max.bytes", "1000000")]), Role::Feed);
        assert_eq!(config.get("fetch.max.bytes"), Some("1000000"));
    }

    #[test]
    fn only_the_group_member_gets_the_properties_of_membership() {
        let both = user(&[("group.protocol", "consumer"), ("group.instance.id", "a")]);
        let member = client_config(&both, Role::Member);
        assert_eq!(member.get("group.protocol"), Some("consumer"));
        assert_eq!(member.get("partition.assignment.strategy"), None);
        for role in ROLES.into_iter().filter(|role| *role != Role::Member) {
            let config = client_config(&both, role);
            assert_eq!(config.get("group.protocol"), None, "{role:?}");
            assert_eq!(config.get("group.instance.id"), None, "{role:?}");
        }
    }

    #[test]
    fn the_client_accepts_every_property_that_stitch_sets() {
        for role in ROLES {
            let config = client_config(&user(&[("bootstrap.servers", "127.0.0.1:1")]), role);
            assert!(config.create_native_config().is_ok(), "{role:?}");
        }
    }
}
