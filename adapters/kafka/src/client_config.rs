//! Which properties of Kafka's client are ours, which of the user's are passed on, and what is set where the user says
//! nothing.
//!
//! One isolation level for all programs, and no position, commit or acknowledgement that we did not ask for: a program
//! that reads or commits otherwise would count something else than the next one.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Asks brokers questions; never reads a record.
    Asking,
    /// Reads records from chosen places; no member of any group.
    Feeding,
    /// Reads the first record of each partition.
    Sampling,
    /// Is a member of the processors' group; never reads a record.
    Membership,
    /// Writes rejected records.
    Rejecting,
    /// Describes and creates topics.
    Administering,
}

/// Properties that only a member of a group may or need have. The other consumers carry the group's id, which the
/// client asks for, but never join: with these they would be refused or count as the same static member.
const MEMBERSHIP_ONLY: &[&str] = &[
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "partition.assignment.strategy",
];

/// Properties that say the same under two names.
const ALIASES: &[(&str, &str)] = &[
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

/// The client's configuration for `role`: what is ours, then the user's, then our defaults.
pub(super) fn client_config(user: &BTreeMap<String, String>, role: Role) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in user {
        if role != Role::Membership && MEMBERSHIP_ONLY.contains(&name.as_str()) {
            continue;
        }
        config.set(name, value);
    }
    for (name, value) in EVERYWHERE.iter().chain(defaults(role)) {
        let said = user.contains_key(*name) || alias(name).is_some_and(|a| user.contains_key(a));
        if !said && !clashes(name, user) {
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

/// With the protocol of KIP-848 the brokers choose the assignor, and the client refuses a strategy of its own.
fn clashes(name: &str, user: &BTreeMap<String, String>) -> bool {
    name == "partition.assignment.strategy"
        && user
            .get("group.protocol")
            .is_some_and(|protocol| protocol == "consumer")
}

/// What the user cannot change.
fn forced(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Asking | Role::Feeding | Role::Sampling | Role::Membership => &[
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::Rejecting => &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::Administering => &[("allow.auto.create.topics", "false")],
    }
}

/// What is set for every role where the user says nothing.
const EVERYWHERE: &[(&str, &str)] = &[
    ("socket.keepalive.enable", "true"),
    // So soon is a broker that is back noticed; with the client's own default of 10 s a restart of a broker would hold
    // feeds and questions up for as long again.
    ("reconnect.backoff.max.ms", "1000"),
];

/// What is set for one role where the user says nothing.
fn defaults(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Feeding => &[
            // What is fetched ahead is bounded whatever the backlog; the client may overshoot by one response.
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.max.bytes", "8388608"),
            ("fetch.message.max.bytes", "1048576"),
            // The client looks again this long after its queue was full: with its own default of 1 s it would run dry.
            ("fetch.queue.backoff.ms", "10"),
            // A partition that is started has to wait for the broker's answer to the fetch that is on its way, which
            // comes after this time at the latest.
            ("fetch.wait.max.ms", "50"),
            ("check.crcs", "true"),
        ],
        Role::Sampling => &[
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.max.bytes", "8388608"),
            ("fetch.wait.max.ms", "50"),
            ("check.crcs", "true"),
        ],
        Role::Membership => &[
            ("partition.assignment.strategy", "cooperative-sticky"),
            // So soon are partitions that were added to the topic dealt out.
            ("topic.metadata.refresh.interval.ms", "30000"),
        ],
        Role::Rejecting => &[
            ("message.timeout.ms", "30000"),
            // A record that the event topic took compressed may be larger than the client's own default of 1 MB.
            ("message.max.bytes", "67108864"),
        ],
        Role::Asking | Role::Administering => &[],
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
        Role::Asking,
        Role::Feeding,
        Role::Sampling,
        Role::Membership,
        Role::Rejecting,
        Role::Administering,
    ];

    #[test]
    fn every_property_that_is_forced_is_refused_to_the_user() {
        for role in ROLES {
            for (name, _) in forced(role) {
                assert!(refused_property(name).is_some(), "{name} of {role:?}");
            }
        }
    }

    #[test]
    fn every_role_reads_committed_records_and_commits_nothing_by_itself() {
        for role in [
            Role::Asking,
            Role::Feeding,
            Role::Sampling,
            Role::Membership,
        ] {
            let config = client_config(&user(&[]), role);
            assert_eq!(
                config.get("isolation.level"),
                Some("read_committed"),
                "{role:?}"
            );
            assert_eq!(config.get("enable.auto.commit"), Some("false"), "{role:?}");
            assert_eq!(config.get("auto.offset.reset"), Some("error"), "{role:?}");
        }
        let config = client_config(&user(&[]), Role::Rejecting);
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn a_default_gives_way_to_the_users_value_under_either_name() {
        let config = client_config(&user(&[("delivery.timeout.ms", "7000")]), Role::Rejecting);
        assert_eq!(config.get("delivery.timeout.ms"), Some("7000"));
        assert_eq!(config.get("message.timeout.ms"), None);
        let config = client_config(&user(&[("fetch.max.bytes", "1000000")]), Role::Feeding);
        assert_eq!(config.get("fetch.max.bytes"), Some("1000000"));
    }

    #[test]
    fn only_the_member_of_the_group_gets_the_properties_of_membership() {
        let said = user(&[("group.protocol", "consumer"), ("group.instance.id", "a")]);
        let member = client_config(&said, Role::Membership);
        assert_eq!(member.get("group.protocol"), Some("consumer"));
        assert_eq!(member.get("partition.assignment.strategy"), None);
        for role in ROLES.into_iter().filter(|role| *role != Role::Membership) {
            let config = client_config(&said, role);
            assert_eq!(config.get("group.protocol"), None, "{role:?}");
            assert_eq!(config.get("group.instance.id"), None, "{role:?}");
        }
    }

    #[test]
    fn the_client_takes_every_property_that_we_set() {
        for role in ROLES {
            let config = client_config(&user(&[("bootstrap.servers", "127.0.0.1:1")]), role);
            assert!(config.create_native_config().is_ok(), "{role:?}");
        }
    }
}
