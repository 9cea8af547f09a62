//! The configuration of each Kafka client: properties that Stitch forces, the user's, and Stitch's defaults.
//!
//! All programs use one isolation level, and no automatic position, commit or weaker acknowledgement: a program that
//! reads or commits otherwise would count differently from the next one.
//!
//! librdkafka refuses some pairs of properties. A default of Stitch's follows the user's value of the other one, so that no
//! client is refused for a property that nobody wrote; and a client gets only the properties that are of use to it.

mod create;

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

pub(super) use self::create::{create, create_consumer, try_every_role};

/// The purpose of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests metadata; never reads a record.
    Metadata,
    /// Reads records from given offsets; belongs to no group.
    Feed {
        /// How many partitions the topic has.
        partitions: usize,
    },
    /// Reads a record of each partition.
    SingleRecords,
    /// Belongs to the consumer group; never reads a record.
    Member,
    /// Writes rejected records.
    DeadLetters,
    /// Describes and creates topics.
    Admin,
    /// Asks to join the group in a way that is refused to everyone: no member may be silent for so short a time.
    VainMember,
    /// Sends a record in a way that is refused to everyone: with a number of acknowledgements that there is not.
    VainProducer,
}

impl Role {
    const fn is_consumer(self) -> bool {
        match self {
            Self::Metadata
            | Self::Feed { .. }
            | Self::SingleRecords
            | Self::Member
            | Self::VainMember => true,
            Self::DeadLetters | Self::Admin | Self::VainProducer => false,
        }
    }

    /// Whether a client of this role gets the user's property `name`.
    fn takes(self, name: &str) -> bool {
        (self == Self::Member || !MEMBER_ONLY.contains(&name))
            && (!self.is_consumer() || !PRODUCER_SIZES.contains(&name))
            && (!matches!(self, Self::DeadLetters | Self::VainProducer)
                || !AGAINST_IDEMPOTENCE.contains(&name))
            && (self != Self::SingleRecords || !FETCH_WAITS.contains(&name))
    }
}

/// Properties that only a member of a group may have. The other consumers have the group's id, which the client
/// requires, but never join: some of these would be refused, and none has an effect.
const MEMBER_ONLY: &[&str] = &[
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// How large a request of a producer may be. A consumer is refused if it may fetch less than that.
const PRODUCER_SIZES: &[&str] = &["message.max.bytes"];

/// Properties by which records could be lost, doubled or reordered, or delayed. An idempotent producer is refused with
/// them, and rejected records are few.
const AGAINST_IDEMPOTENCE: &[&str] = &[
    "enable.gapless.guarantee",
    "linger.ms",
    "max.in.flight",
    "queue.buffering.backpressure.threshold",
    "queuing.strategy",
    "retries",
];

/// How long a broker may wait before it answers a fetch.
const FETCH_WAITS: &[&str] = &["fetch.min.bytes", "fetch.wait.max.ms"];

/// Bytes of records that a feed's client may have fetched in advance, for all partitions together: each has its part, and
/// may exceed it by one response. The client takes some 250 bytes more for each record: six times as much for short ones.
const PREFETCH_BYTES: usize = 4 << 20;

/// The part of a partition, however many there are.
const PREFETCH_BYTES_MIN: usize = 16 << 10;

/// The most bytes of one answer to a fetch, and of one partition in it.
const FETCH_BYTES_MAX: usize = 8 << 20;
const PARTITION_FETCH_BYTES_MAX: usize = 1 << 20;

/// The client's configuration for `role`: forced properties win over the user's, and those over our defaults.
pub(super) fn client_config(user: &BTreeMap<String, String>, role: Role) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in user.iter().filter(|(name, _)| role.takes(name)) {
        config.set(name, value);
    }
    for (name, value) in everywhere(user).into_iter().chain(defaults(role, user)) {
        if !(user.contains_key(name) && role.takes(name)) {
            config.set(name, value);
        }
    }
    for (name, value) in forced(role) {
        config.set(*name, *value);
    }
    config
}

/// Properties that the user cannot change.
fn forced(role: Role) -> &'static [(&'static str, &'static str)] {
    match role {
        Role::Metadata
        | Role::Feed { .. }
        | Role::SingleRecords
        | Role::Member
        | Role::VainMember => &[
            ("isolation.level", "read_committed"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("check.crcs", "true"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::DeadLetters => &[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::VainProducer => &[
            ("enable.idempotence", "false"),
            ("acks", "2"),
            ("allow.auto.create.topics", "false"),
        ],
        Role::Admin => &[("allow.auto.create.topics", "false")],
    }
}

/// A property and its default.
type Default = (&'static str, String);

/// The user's value of a property that is a number.
fn number(user: &BTreeMap<String, String>, name: &str) -> Option<usize> {
    user.get(name)?.parse().ok()
}

/// Defaults for every role.
fn everywhere(user: &BTreeMap<String, String>) -> Vec<Default> {
    // A recovered broker is noticed this soon. With the client's own default of 10 s, the restart of a broker would delay
    // feeds and metadata requests by as much again.
    const RECONNECT_MS_MAX: usize = 1000;
    let reconnect = number(user, "reconnect.backoff.ms").unwrap_or_default();
    vec![
        ("socket.keepalive.enable", "true".to_owned()),
        (
            "reconnect.backoff.max.ms",
            reconnect.max(RECONNECT_MS_MAX).to_string(),
        ),
    ]
}

/// Defaults for one role.
fn defaults(role: Role, user: &BTreeMap<String, String>) -> Vec<Default> {
    let own = |pairs: &[(&'static str, &str)]| -> Vec<Default> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    };
    let mut all = match role {
        Role::Feed { partitions } => {
            let prefetch = (PREFETCH_BYTES / partitions.max(1)).max(PREFETCH_BYTES_MIN);
            let fetch = prefetch.min(PARTITION_FETCH_BYTES_MAX);
            let mut all = own(&[
                // The client fetches again this long after its queue was full: with its own default of 1 s it would run
                // dry.
                ("fetch.queue.backoff.ms", "10"),
                // A started partition waits for the broker's answer to the fetch in flight, which comes after this time
                // at the latest.
                ("fetch.wait.max.ms", "50"),
            ]);
            all.push(("queued.max.messages.kbytes", (prefetch >> 10).to_string()));
            all.push(("max.partition.fetch.bytes", fetch.to_string()));
            all
        }
        Role::SingleRecords => own(&[
            ("queued.max.messages.kbytes", "8192"),
            ("fetch.wait.max.ms", "50"),
        ]),
        Role::Member => {
            // Partitions added to the topic are assigned this soon.
            let mut all = own(&[("topic.metadata.refresh.interval.ms", "30000")]);
            // With the protocol of KIP-848 the brokers choose the assignor, and the client refuses a strategy.
            let brokers_choose = user
                .get("group.protocol")
                .is_some_and(|name| name.eq_ignore_ascii_case("consumer"));
            if !brokers_choose {
                all.extend(own(&[(
                    "partition.assignment.strategy",
                    "cooperative-sticky",
                )]));
            }
            all.extend(poll_interval(user));
            all
        }
        Role::DeadLetters => own(&[
            ("delivery.timeout.ms", "30000"),
            // A record that the event topic accepted compressed may exceed the client's own default of 1 MB.
            ("message.max.bytes", "67108864"),
        ]),
        Role::VainMember => own(&[("session.timeout.ms", "1")]),
        Role::VainProducer => own(&[("delivery.timeout.ms", "10000")]),
        Role::Metadata | Role::Admin => Vec::new(),
    };
    if role.is_consumer() {
        all.extend(fetch_sizes(user));
    }
    all
}

/// No answer may be larger than the client receives.
fn fetch_sizes(user: &BTreeMap<String, String>) -> Vec<Default> {
    /// What the client wants beside the records of an answer.
    const FRAME_BYTES: usize = 512;
    /// The least that the client takes: a consumer sends no record.
    const MESSAGE_BYTES_MIN: usize = 1000;
    let receive = number(user, "receive.message.max.bytes");
    let fetch = receive.map_or(FETCH_BYTES_MAX, |receive| {
        FETCH_BYTES_MAX.min(receive.saturating_sub(FRAME_BYTES))
    });
    vec![
        ("message.max.bytes", MESSAGE_BYTES_MIN.to_string()),
        ("fetch.max.bytes", fetch.to_string()),
    ]
}

/// A member may be silent for as long as its session lasts.
fn poll_interval(user: &BTreeMap<String, String>) -> Option<Default> {
    /// The client's own default.
    const POLL_INTERVAL_MS: usize = 300_000;
    let session = number(user, "session.timeout.ms")?;
    (session > POLL_INTERVAL_MS).then(|| ("max.poll.interval.ms", session.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_config::refused_property;

    fn user(lines: &[(&str, &str)]) -> BTreeMap<String, String> {
        lines
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect()
    }

    const FEED: Role = Role::Feed { partitions: 12 };
    const ROLES: [Role; 8] = [
        Role::Metadata,
        FEED,
        Role::SingleRecords,
        Role::Member,
        Role::DeadLetters,
        Role::Admin,
        Role::VainMember,
        Role::VainProducer,
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
    fn every_role_reads_committed_and_checked_records_and_commits_nothing_automatically() {
        for role in ROLES.into_iter().filter(|role| role.is_consumer()) {
            let config = client_config(&user(&[]), role);
            for (name, value) in [
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
                ("auto.offset.reset", "error"),
                ("check.crcs", "true"),
            ] {
                assert_eq!(config.get(name), Some(value), "{role:?}");
            }
        }
        let config = client_config(&user(&[]), Role::DeadLetters);
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("enable.idempotence"), Some("true"));
    }

    #[test]
    fn a_default_gives_way_to_the_users_value() {
        let config = client_config(&user(&[("delivery.timeout.ms", "7000")]), Role::DeadLetters);
        assert_eq!(config.get("delivery.timeout.ms"), Some("7000"));
        let config = client_config(&user(&[("fetch.max.bytes", "1000000")]), FEED);
        assert_eq!(config.get("fetch.max.bytes"), Some("1000000"));
    }

    #[test]
    fn what_a_feed_fetches_in_advance_is_bounded_however_many_partitions_there_are() {
        for partitions in [1, 12, 100, 250] {
            let config = client_config(&user(&[]), Role::Feed { partitions });
            let number = |name| config.get(name).unwrap().parse::<usize>().unwrap();
            let queued = number("queued.max.messages.kbytes") << 10;
            assert!(queued * partitions <= PREFETCH_BYTES, "{partitions}");
            assert!(number("max.partition.fetch.bytes") * partitions <= PREFETCH_BYTES);
        }
    }

    #[test]
    fn only_the_group_member_gets_the_properties_of_membership() {
        let both = user(&[
            ("group.protocol", "consumer"),
            ("group.remote.assignor", "uniform"),
        ]);
        let member = client_config(&both, Role::Member);
        assert_eq!(member.get("group.protocol"), Some("consumer"));
        assert_eq!(member.get("partition.assignment.strategy"), None);
        for role in ROLES.into_iter().filter(|role| *role != Role::Member) {
            let config = client_config(&both, role);
            assert_eq!(config.get("group.protocol"), None, "{role:?}");
            assert_eq!(config.get("group.remote.assignor"), None, "{role:?}");
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
