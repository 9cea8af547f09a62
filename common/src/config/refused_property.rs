//! The properties of librdkafka that Stitch sets itself, and that the configuration must not set.

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
            "group.instance.id",
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
