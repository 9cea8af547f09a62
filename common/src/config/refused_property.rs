//! Properties of librdkafka that Stitch sets itself, so that no configuration may.

/// A property that correctness depends on.
#[derive(Clone, Copy, Debug)]
struct Ours {
    /// Its name.
    name: &'static str,
    /// Why the user cannot set it, and what to do instead.
    reason: &'static str,
}

const READS_COMMITTED: &str = "processor and restorator must be given the same records, so all programs read committed \
     ones only; leave the line out";
const COMMITS_ARE_OURS: &str = "offsets are committed when their events are answered, never by the client by itself; \
     leave the line out";
const PLACES_ARE_OURS: &str = "where reading starts is kept in ZooKeeper, and a place that is gone is told, never \
     replaced by another one; leave the line out (to count from other places, start a new namespace)";
const REJECTS_ARE_KEPT: &str =
    "a rejected record counts as copied once every replica in sync has it; leave the line out";
const NO_TRANSACTION: &str =
    "rejected records are copied outside of transactions, each for itself; leave the line out";
const NO_NEW_TOPIC: &str = "a topic whose name is misspelt would be created and read as an empty log; leave the line \
     out and create the topic";

/// Every property that is ours, with the reason that is shown to whoever sets it.
const OURS: &[Ours] = &[
    ours("isolation.level", READS_COMMITTED),
    ours("enable.auto.commit", COMMITS_ARE_OURS),
    ours("auto.commit.enable", COMMITS_ARE_OURS),
    ours("auto.commit.interval.ms", COMMITS_ARE_OURS),
    ours("enable.auto.offset.store", COMMITS_ARE_OURS),
    ours("offset.store.method", COMMITS_ARE_OURS),
    ours("offset.store.path", COMMITS_ARE_OURS),
    ours("auto.offset.reset", PLACES_ARE_OURS),
    ours(
        "enable.partition.eof",
        "a restoration has to see the end of the log, so it is always on; leave the line out",
    ),
    ours("acks", REJECTS_ARE_KEPT),
    ours("request.required.acks", REJECTS_ARE_KEPT),
    ours("enable.idempotence", REJECTS_ARE_KEPT),
    ours("delivery.report.only.error", REJECTS_ARE_KEPT),
    ours("transactional.id", NO_TRANSACTION),
    ours("transaction.timeout.ms", NO_TRANSACTION),
    ours("allow.auto.create.topics", NO_NEW_TOPIC),
    ours(
        "test.mock.num.brokers",
        "it replaces the brokers by pretended ones; leave the line out",
    ),
];

const fn ours(name: &'static str, reason: &'static str) -> Ours {
    Ours { name, reason }
}

/// Why the user's `[kafka.client]` must not name this property; `None` if it is passed on.
#[must_use]
pub fn refused_property(name: &str) -> Option<&'static str> {
    let found = OURS.iter().find(|ours| ours.name == name)?;
    Some(found.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_the_way_out_and_no_property_is_named_twice() {
        for (at, ours) in OURS.iter().enumerate() {
            assert!(ours.reason.contains("leave the line out"), "{}", ours.name);
            assert!(
                OURS[at + 1..].iter().all(|other| other.name != ours.name),
                "{}",
                ours.name
            );
        }
    }

    #[test]
    fn properties_of_the_users_network_and_group_are_passed_on() {
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
