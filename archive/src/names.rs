//! The names of the archive's objects. The only file that spells them.
//!
//! ```text
//! archive/v1/<cluster>/<topic>/p=<partition>/<from, 20 digits>.parquet    a segment
//! archive/v1/<cluster>/<topic>/p=<partition>/_origin.json                 where the chain begins
//! archive/v1/<cluster>/<topic>/p=<partition>/_index/<from>.json           the 1,000 segments from `from` on
//! archive/v1/<cluster>/<topic>/p=<partition>/_seals/<start>.json           the offsets in a file of Kafka Connect
//! archive/v1/<cluster>/<topic>/_put-if-absent                             the check of the store
//! archive/_put-if-absent                                                  the same, before the cluster is known
//! ```
//!
//! Spark, Hive and DuckDB read `p=` as a column, and pass over names that begin with `_`.

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::ObjectName;

/// The object by which a store is checked before the cluster is known.
#[must_use]
pub fn check() -> ObjectName {
    ObjectName("archive/_put-if-absent".to_owned())
}

/// The folder of one topic of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFolder {
    cluster: String,
    topic: String,
    folder: ObjectName,
}

impl TopicFolder {
    /// The folder of `topic` of the cluster with this id.
    #[must_use]
    pub fn new(cluster: &str, topic: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            topic: topic.to_owned(),
            folder: ObjectName(format!("archive/v1/{cluster}/{topic}")),
        }
    }

    /// Kafka's id of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The folder itself.
    #[must_use]
    pub const fn folder(&self) -> &ObjectName {
        &self.folder
    }

    /// The folder of a partition.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> ObjectName {
        self.folder.join(format_args!("p={partition}"))
    }

    /// The segment of a partition that begins at `from`.
    #[must_use]
    pub fn segment(&self, partition: Partition, from: Offset) -> ObjectName {
        let from = from.0;
        self.partition(partition)
            .join(format_args!("{from:020}.parquet"))
    }

    /// The index of the segments of a partition that begin at `from`.
    #[must_use]
    pub fn index(&self, partition: Partition, from: Offset) -> ObjectName {
        let from = from.0;
        self.partition(partition)
            .join(format_args!("_index/{from:020}.json"))
    }

    /// The seal of the file of a partition that begins at `start`.
    #[must_use]
    pub fn seal(&self, partition: Partition, start: Offset) -> ObjectName {
        let start = start.0;
        self.partition(partition)
            .join(format_args!("_seals/{start:020}.json"))
    }

    /// The origin of a partition.
    #[must_use]
    pub fn origin(&self, partition: Partition) -> ObjectName {
        self.partition(partition).join("_origin.json")
    }

    /// The object by which the store is checked.
    #[must_use]
    pub fn check(&self) -> ObjectName {
        self.folder.join("_put-if-absent")
    }

    /// The begin of the segment that `name` names in the partition's folder; `None` of any other object.
    #[must_use]
    pub fn segment_from(&self, partition: Partition, name: &ObjectName) -> Option<Offset> {
        let folder = self.partition(partition).0;
        let digits = name
            .0
            .strip_prefix(&folder)?
            .strip_prefix('/')?
            .strip_suffix(".parquet")?;
        let is_from = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
        is_from.then(|| digits.parse().ok()).flatten().map(Offset)
    }

    /// The partition in whose folder `name` is.
    #[must_use]
    pub fn partition_of(&self, name: &ObjectName) -> Option<Partition> {
        let below = name.0.strip_prefix(&self.folder.0)?.strip_prefix("/p=")?;
        let (number, _) = below.split_once('/')?;
        number.parse().ok().map(Partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_offsets_and_are_read_back() {
        let folder = TopicFolder::new("c1", "events");
        let p = Partition(12);
        let name = folder.segment(p, Offset(1_234_567));
        assert_eq!(
            name.0,
            "archive/v1/c1/events/p=12/00000000000001234567.parquet"
        );
        assert!(name < folder.segment(p, Offset(i64::MAX)));
        assert_eq!(folder.segment_from(p, &name), Some(Offset(1_234_567)));
        assert_eq!(folder.partition_of(&name), Some(p));
        assert_eq!(folder.segment_from(Partition(1), &name), None);
        let largest = folder.segment(p, Offset(i64::MAX));
        assert_eq!(folder.segment_from(p, &largest), Some(Offset(i64::MAX)));
        for other in [
            folder.origin(p),
            folder.index(p, Offset(0)),
            ObjectName("archive/v1/c1/events/p=12/1.parquet".to_owned()),
            ObjectName("archive/v1/c1/events/p=12/+0000000000000000001.parquet".to_owned()),
            ObjectName("archive/v1/c1/events/p=12/99999999999999999999.parquet".to_owned()),
        ] {
            assert_eq!(folder.segment_from(p, &other), None, "{other}");
        }
        assert_eq!(folder.partition_of(&folder.check()), None);
    }
}
