//! Whether log and table are the namespace's, decided over values alone.

use std::collections::BTreeMap;

use crate::definition_node::NamespaceRecord;
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, Fingerprint, LogIdentity, TableIdentity};

/// The log and the table that a process finds under the names that its configuration gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNamespace {
    /// The log.
    pub log: LogIdentity,
    /// Where its partitions begin and end; asked after `log`, so that a beginning that goes meanwhile shows.
    pub bounds: BTreeMap<Partition, Bounds>,
    /// The table.
    pub table: TableIdentity,
}

/// How a partition's log stands to the one that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Log {
    /// It begins as it did.
    Same,
    /// Records at its beginning are gone: it may be the same, and cannot be counted again.
    Trimmed,
    /// It is another one.
    Other(String),
}

/// How what was found differs from what the namespace has: a line for each difference, none if they agree.
/// `first_records` are those that are known beside `recorded`.
#[must_use]
pub fn differences(
    found: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, here: &str, there: &str| {
        if here != there {
            lines.push(format!("{what}: here {here}, in the namespace {there}"));
        }
    };
    compare("Kafka cluster", &found.log.cluster, &recorded.log.cluster);
    compare("event topic", &found.log.topic, &recorded.log.topic);
    let (here, there) = (&found.table, &recorded.table);
    compare("Cassandra cluster", &here.cluster, &there.cluster);
    let (here, there) = (here.table.to_string(), there.table.to_string());
    compare("id of the table of counts", &here, &there);
    for (partition, known) in known(recorded, first_records) {
        if let Log::Other(why) = compare_log(partition, known, found) {
            let topic = &found.log.topic;
            lines.push(format!("topic {topic}, partition {partition}: {why}"));
        }
    }
    lines
}

/// The partitions whose log has lost records at its beginning.
#[must_use]
pub(super) fn trimmed(
    found: &ObservedNamespace,
    recorded: &NamespaceRecord,
    first_records: &BTreeMap<Partition, Fingerprint>,
) -> Vec<Partition> {
    let known = known(recorded, first_records).into_iter();
    let gone =
        known.filter(|(partition, first)| compare_log(*partition, first, found) == Log::Trimmed);
    gone.map(|(partition, _)| partition).collect()
}

fn known<'a>(
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

fn compare_log(partition: Partition, known: &Fingerprint, found: &ObservedNamespace) -> Log {
    let first = found.log.fingerprints.get(&partition);
    if first == Some(known) {
        return Log::Same;
    }
    let Some(bounds) = found.bounds.get(&partition) else {
        return Log::Other("there is no such partition any more".to_owned());
    };
    match first {
        _ if bounds.begin > known.offset => Log::Trimmed,
        Some(first) => Log::Other(format!(
            "its first record is another one, at offset {} instead of {}",
            first.offset, known.offset
        )),
        None => Log::Other(format!(
            "the record at offset {} is not there",
            known.offset
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::definition::{Definitions, EventAttributes};
    use stitch_common::offset::Offset;
    use stitch_common::range::RangeBits;

    const P: Partition = Partition(0);

    fn first(offset: i64, checksum: u32) -> Fingerprint {
        Fingerprint {
            offset: Offset(offset),
            timestamp_ms: Some(1),
            checksum,
        }
    }

    fn found(first_record: Option<Fingerprint>, begin: i64, end: i64) -> ObservedNamespace {
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

    fn record(of: &ObservedNamespace) -> NamespaceRecord {
        let bits = RangeBits::new(6).unwrap();
        NamespaceRecord {
            generation: 1,
            definitions: Definitions::new(bits, EventAttributes::default(), Vec::new()),
            log: of.log.clone(),
            table: of.table.clone(),
        }
    }

    fn lines(now: &ObservedNamespace, then: &ObservedNamespace) -> Vec<String> {
        differences(now, &record(then), &BTreeMap::new())
    }

    #[test]
    fn the_same_log_and_table_agree_however_much_was_added() {
        let then = found(Some(first(0, 7)), 0, 1);
        assert!(lines(&found(Some(first(0, 7)), 0, 1000), &then).is_empty());
        let empty = found(None, 0, 0);
        assert!(lines(&then, &empty).is_empty(), "a first record came");
    }

    #[test]
    fn a_topic_that_was_made_anew_is_another_log() {
        let then = found(Some(first(0, 7)), 0, 5);
        for now in [
            found(Some(first(0, 8)), 0, 9),
            found(None, 0, 0),
            found(Some(first(3, 7)), 0, 9),
        ] {
            let lines = lines(&now, &then);
            assert_eq!(lines.len(), 1, "{now:?}");
            assert!(lines[0].contains("partition 0"), "{lines:?}");
        }
        let mut fewer = found(None, 0, 0);
        fewer.bounds.clear();
        assert!(lines(&fewer, &then)[0].contains("no such partition"));
    }

    #[test]
    fn a_first_record_that_was_kept_after_init_counts_as_well() {
        let init = found(None, 0, 0);
        let kept = BTreeMap::from([(P, first(0, 7))]);
        let now = found(Some(first(0, 8)), 0, 9);
        assert_eq!(differences(&now, &record(&init), &kept).len(), 1);
        assert!(differences(&now, &record(&init), &BTreeMap::new()).is_empty());
    }

    #[test]
    fn a_log_that_lost_its_beginning_is_told_apart_from_another_log() {
        let then = record(&found(Some(first(0, 7)), 0, 5));
        for now in [found(Some(first(3, 9)), 3, 9), found(None, 9, 9)] {
            assert!(differences(&now, &then, &BTreeMap::new()).is_empty());
            assert_eq!(trimmed(&now, &then, &BTreeMap::new()), [P]);
        }
        let same = found(Some(first(0, 7)), 0, 9);
        assert!(trimmed(&same, &then, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn another_cluster_topic_or_table_is_named() {
        let then = found(None, 0, 0);
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
