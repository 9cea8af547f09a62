//! Decides whether log and table are the namespace's, over values alone.

use std::collections::BTreeMap;

use crate::definition_node::NamespaceRecord;
use stitch_common::log_history::LogMatch;
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, Fingerprint, LogIdentity, TableIdentity};

/// The log and the table that a process's configuration names, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNamespace {
    /// The log.
    pub log: LogIdentity,
    /// The bounds of its partitions; read after `log`, so that a beginning that is trimmed meanwhile shows.
    pub bounds: BTreeMap<Partition, Bounds>,
    /// The table.
    pub table: TableIdentity,
}

/// How log and table differ from those of the namespace: a line for each difference, none if they agree.
/// `first_records` are those that were kept after `init`.
#[must_use]
pub fn differences(
    observed: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |subject: &str, here: &str, recorded: &str| {
        if here != recorded {
            lines.push(format!(
                "{subject}: here {here}, in the namespace {recorded}"
            ));
        }
    };
    let (log, table) = (&recorded.log, &recorded.table);
    compare("Kafka cluster", &observed.log.cluster, &log.cluster);
    compare("event topic", &observed.log.topic, &log.topic);
    compare("Cassandra cluster", &observed.table.cluster, &table.cluster);
    let ids = [&observed.table, table].map(|table| table.table.to_string());
    compare("id of the table of counts", &ids[0], &ids[1]);
    for (partition, first) in all_first_records(recorded, first_records) {
        if let LogMatch::Other(why) = compare_log(partition, first, observed) {
            let topic = &observed.log.topic;
            lines.push(format!("topic {topic}, partition {partition}: {why}"));
        }
    }
    lines
}

/// The partitions whose log has lost records at its beginning.
#[must_use]
pub(super) fn trimmed(
    observed: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Vec<Partition> {
    all_first_records(recorded, first_records)
        .into_iter()
        .filter(|(partition, first)| compare_log(*partition, first, observed) == LogMatch::Trimmed)
        .map(|(partition, _)| partition)
        .collect()
}

/// The first records of `/definition` and of `/log`; where both have one, that of `/definition`.
fn all_first_records<'a>(
    recorded: &'a NamespaceRecord,
    first_records: &'a BTreeMap<Partition, Fingerprint>,
) -> BTreeMap<Partition, &'a Fingerprint> {
    let at_init = recorded.log.fingerprints.iter();
    let later = first_records.iter();
    later
        .chain(at_init)
        .map(|(partition, first)| (*partition, first))
        .collect()
}

fn compare_log(
    partition: Partition,
    recorded: &Fingerprint,
    observed: &ObservedNamespace,
) -> LogMatch {
    let first = observed.log.fingerprints.get(&partition);
    LogMatch::of(recorded, first, observed.bounds.get(&partition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::definition::{Definitions, EventAttributes};
    use stitch_common::offset::Offset;
    use stitch_common::range::RangeBits;
    use stitch_config::WriteConsistency;

    const P: Partition = Partition(0);

    fn first(offset: i64, checksum: u32) -> Fingerprint {
        Fingerprint {
            offset: Offset(offset),
            timestamp_ms: Some(1),
            checksum,
        }
    }

    fn observed(first_record: Option<Fingerprint>, begin: i64, end: i64) -> ObservedNamespace {
        let bounds = Bounds {
            begin: Offset(begin),
            end: Offset(end),
        };
        ObservedNamespace {
            log: LogIdentity {
                cluster: "kafka".to_owned(),
                topic: "events".to_owned(),
                cleanup_policy: "delete".to_owned(),
                fingerprints: first_record.map(|first| (P, first)).into_iter().collect(),
            },
            bounds: BTreeMap::from([(P, bounds)]),
            table: TableIdentity {
                cluster: "cassandra".to_owned(),
                table: uuid::Uuid::from_u128(1),
            },
        }
    }

    fn record(observed: &ObservedNamespace) -> NamespaceRecord {
        let bits = RangeBits::new(6).unwrap();
        NamespaceRecord {
            generation: 1,
            definitions: Definitions::new(bits, EventAttributes::default(), Vec::new()),
            log: observed.log.clone(),
            table: observed.table.clone(),
            write_consistency: WriteConsistency::LocalQuorum,
            raised_from: None,
        }
    }

    fn lines(now: &ObservedNamespace, then: &ObservedNamespace) -> Vec<String> {
        differences(now, &record(then), &BTreeMap::new())
    }

    #[test]
    fn the_same_log_and_table_agree_however_much_was_added() {
        let then = observed(Some(first(0, 7)), 0, 1);
        assert!(lines(&observed(Some(first(0, 7)), 0, 1000), &then).is_empty());
        let empty = observed(None, 0, 0);
        assert!(lines(&then, &empty).is_empty(), "a first record came");
    }

    #[test]
    fn a_topic_that_was_created_again_is_another_log() {
        let then = observed(Some(first(0, 7)), 0, 5);
        for now in [
            observed(Some(first(0, 8)), 0, 9),
            observed(None, 0, 0),
            observed(Some(first(3, 7)), 0, 9),
        ] {
            let lines = lines(&now, &then);
            assert_eq!(lines.len(), 1, "{now:?}");
            assert!(lines[0].contains("partition 0"), "{lines:?}");
        }
        let mut fewer = observed(None, 0, 0);
        fewer.bounds.clear();
        assert!(lines(&fewer, &then)[0].contains("no such partition"));
    }

    #[test]
    fn a_first_record_that_was_kept_after_init_is_compared_too() {
        let init = observed(None, 0, 0);
        let kept = BTreeMap::from([(P, first(0, 7))]);
        let now = observed(Some(first(0, 8)), 0, 9);
        assert_eq!(differences(&now, &record(&init), &kept).len(), 1);
        assert!(differences(&now, &record(&init), &BTreeMap::new()).is_empty());
    }

    #[test]
    fn a_log_that_lost_its_beginning_is_not_taken_for_another_log() {
        let then = record(&observed(Some(first(0, 7)), 0, 5));
        for now in [observed(Some(first(3, 9)), 3, 9), observed(None, 9, 9)] {
            assert!(differences(&now, &then, &BTreeMap::new()).is_empty());
            assert_eq!(trimmed(&now, &then, &BTreeMap::new()), [P]);
        }
        let same = observed(Some(first(0, 7)), 0, 9);
        assert!(trimmed(&same, &then, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn another_cluster_topic_or_table_is_named() {
        let then = observed(None, 0, 0);
        let mut now = then.clone();
        now.log.cluster = "other".to_owned();
        now.log.topic = "clicks".to_owned();
        now.table.cluster = "elsewhere".to_owned();
        now.table.table = uuid::Uuid::from_u128(2);
        let lines = lines(&now, &then);
        for (line, what) in lines.iter().zip(["Kafka", "topic", "Cassandra", "table"]) {
            assert!(line.contains(what), "{lines:?}");
        }
        assert_eq!(lines.len(), 4);
    }
}
