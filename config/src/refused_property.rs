//! The properties of librdkafka that Stitch sets itself, and that the configuration must not set; and those that have two
//! names.

/// A property that correctness depends on.
#[derive(Clone, Copy, Debug)]
struct Refused {
    name: &'static str,
    /// Why the user cannot set it, and the help.
    reason: &'static str,
}

const READS_COMMITTED: &str = "processor and restorator must read the same records, so every program reads only committed \
     ones; leave the line out";
const NO_AUTO_COMMIT: &str = "offsets are committed when their events are acknowledged, never automatically by the \
     client; leave the line out";
const NO_OFFSET_RESET: &str = "the start of reading is stored in ZooKeeper, and an offset that no longer exists is an \
     error, never replaced by another; leave the line out (to count from other offsets, create a new namespace)";
const ACKS_ALL: &str =
    "a rejected record counts as copied once every in-sync replica has it; leave the line out";
const NO_TRANSACTION: &str =
    "rejected records are copied one by one, without transactions; leave the line out";
const NO_NEW_TOPIC: &str = "a topic whose name is misspelt would be created and read as an empty log; leave the line \
     out and create the topic";

const COMMITTED_READS: &str = "committed reads need the present protocol of the brokers, which the client asks them for; leave \
     the line out";

/// The refused properties, with the reason that the error gives.
const REFUSED: &[Refused] = &[
    refused("isolation.level", READS_COMMITTED),
    refused("enable.auto.commit", NO_AUTO_COMMIT),
    refused("auto.commit.enable", NO_AUTO_COMMIT),
    refused("auto.commit.interval.ms", NO_AUTO_COMMIT),
    refused("enable.auto.offset.store", NO_AUTO_COMMIT),
    refused("offset.store.method", NO_AUTO_COMMIT),
    refused("offset.store.path", NO_AUTO_COMMIT),
    refused("auto.offset.reset", NO_OFFSET_RESET),
    refused(
        "enable.partition.eof",
        "a restoration has to detect the end of the log, so it is always on; leave the line out",
    ),
    refused(
        "check.crcs",
        "without it a batch that is damaged on a broker's disk would be counted as it is, so it is always on; leave the \
         line out",
    ),
    refused("api.version.request", COMMITTED_READS),
    refused("api.version.fallback.ms", COMMITTED_READS),
    refused("broker.version.fallback", COMMITTED_READS),
    refused(
        "group.instance.id",
        "all processors read this file, and of two members with one instance id the group expels one; leave the line \
         out (the partitions of a processor that stops or restarts are assigned again within seconds)",
    ),
    refused("acks", ACKS_ALL),
    refused("request.required.acks", ACKS_ALL),
    refused("enable.idempotence", ACKS_ALL),
    refused("delivery.report.only.error", ACKS_ALL),
    refused("transactional.id", NO_TRANSACTION),
    refused("transaction.timeout.ms", NO_TRANSACTION),
    refused("allow.auto.create.topics", NO_NEW_TOPIC),
    refused(
        "test.mock.num.brokers",
        "it replaces the brokers by simulated ones; leave the line out",
    ),
];

const fn refused(name: &'static str, reason: &'static str) -> Refused {
    Refused { name, reason }
}

/// Why `[kafka.client]` must not set this property; `None` if it is passed on.
#[must_use]
pub fn refused_property(name: &str) -> Option<&'static str> {
    let refused = REFUSED.iter().find(|refused| refused.name == name)?;
    Some(refused.reason)
}

/// Other names of properties, with the one that is used here.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("sasl.mechanisms", "sasl.mechanism"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

/// The one name of a property that may have two.
#[must_use]
pub(super) fn canonical_property(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, canonical)| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_help_and_no_property_is_listed_twice() {
        for (at, refused) in REFUSED.iter().enumerate() {
            assert!(
                refused.reason.contains("leave the line out"),
                "{}",
                refused.name
            );
            assert!(
                REFUSED[at + 1..]
                    .iter()
                    .all(|other| other.name != refused.name),
                "{}",
                refused.name
            );
        }
    }

    #[test]
    fn properties_of_network_and_group_are_passed_on() {
        for name in [
            "bootstrap.servers",
            "group.id",
            "group.protocol",
            "session.timeout.ms",
            "security.protocol",
            "sasl.password",
            "client.rack",
            "fetch.max.bytes",
            "debug",
        ] {
            assert_eq!(refused_property(name), None, "{name}");
        }
    }
}
