//! The manifest of totals: what they are totals of, and of which files they consist. It is put last, so that without it
//! there are no totals.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stitch_common::cell::CounterName;
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Fingerprint, LogIdentity, ObjectName, TableIdentity};
use stitch_common::range::RangeId;
use twox_hash::XxHash3_128;

use crate::rule;
use crate::totals_error::TotalsError;
use stitch_common::digest::Digest;

/// The format of manifests and of the files that they name.
pub const FORMAT: u32 = 1;

/// What distinguishes a namespace from others of its name: one that was deleted and made again, with its topic, counts other
/// events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceInstance {
    pub generation: u64,
    /// The table of counts.
    pub table: TableIdentity,
    /// The first records of the topic when the namespace was made.
    pub first_records: BTreeMap<Partition, Fingerprint>,
}

impl NamespaceInstance {
    /// The namespace that was made with this table and this log.
    pub fn new(generation: u64, table: &TableIdentity, log: &LogIdentity) -> Self {
        Self {
            generation,
            table: table.clone(),
            first_records: log.fingerprints.clone(),
        }
    }
}

/// What totals are totals of. Equal subjects have equal totals, and equal names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub namespace: String,
    pub instance: NamespaceInstance,
    /// Kafka's id of the cluster.
    pub cluster: String,
    pub topic: String,
    /// With the version of the decoder and the bits of the ranges.
    pub definitions: Definitions,
    /// Where counting begins, by partition: that of each counter without one of its own.
    pub from: Offsets,
    /// Where counting begins for counters that were added later than what could still be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<LateCounter>,
    /// Every event below it is in the totals, and no other.
    pub cut: Offsets,
}

/// A counter that is counted from a later offset on than the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateCounter {
    pub counter: CounterName,
    pub from: Offsets,
}

/// The name of totals: made of cut and definitions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TotalsId(pub String);

impl fmt::Display for TotalsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Subject {
    /// The name of its totals.
    pub fn id(&self) -> TotalsId {
        let text = serde_json::to_vec(&(FORMAT, self)).expect("plain data serialises");
        let hash = XxHash3_128::oneshot(&text);
        TotalsId(format!("{:016x}", hash >> 64))
    }

    /// The number of offsets between where counting begins and the cut.
    pub fn span(&self) -> u64 {
        let spans = self.cut.0.iter().map(|(partition, to)| {
            let from = self.from.of(*partition);
            to.0.saturating_sub(from.0)
        });
        spans.map(|span| u64::try_from(span).unwrap_or(0)).sum()
    }

    /// How its namespace, topic or definitions differ from those of `other`, in a few words; `None` if they agree.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        if self.namespace != other.namespace {
            return Some(format!("they are of the namespace {}", self.namespace));
        }
        if self.instance != other.instance && rule::a_base_is_of_the_same_namespace() {
            let table = self.instance.table.table;
            return Some(format!(
                "they are of an earlier namespace of this name, with the table {table}"
            ));
        }
        if (&self.cluster, &self.topic) != (&other.cluster, &other.topic) {
            return Some(format!(
                "they are of the topic {} of the cluster {}",
                self.topic, self.cluster
            ));
        }
        let differences = other.definitions.differences(&self.definitions);
        let difference = differences.first()?;
        Some(format!("their definitions differ: {difference}"))
    }

    /// Whether both are of the same namespace, and not of an earlier one of its name, and of the same topic.
    pub fn has_log_of(&self, other: &Self) -> bool {
        let is_same_topic = self.cluster == other.cluster && self.topic == other.topic;
        is_same_topic && self.instance == other.instance
    }

    /// The first partition of which events above `cut` are counted, and up to where.
    pub fn counts_above(&self, cut: &Offsets) -> Option<(Partition, Offset)> {
        let mut ends = self.cut.0.iter();
        let above = ends.find(|(partition, to)| **to > cut.of(**partition));
        above.map(|(partition, to)| (*partition, *to))
    }

    /// Why totals of this subject cannot be the base of `wanted`, in a few words; `None` if they can. Where counting
    /// begins is compared for the partitions of which `wanted` says it, unless both begin at or above this cut.
    pub fn differs_as_base_of(&self, wanted: &Self) -> Option<String> {
        if let Some(difference) = self.differs_from(wanted) {
            return Some(difference);
        }
        if let Some((partition, to)) = self.counts_above(&wanted.cut)
            && rule::a_base_has_no_event_above_the_cut()
        {
            let cut = wanted.cut.of(partition);
            return Some(format!(
                "their cut of partition {partition}, {to}, lies above {cut}"
            ));
        }
        let mut known = wanted.from.0.iter();
        let (partition, from) = known.find(|(partition, from)| {
            let (begin, cut) = (self.from.of(**partition), self.cut.of(**partition));
            begin.min(**from) < cut && begin != **from
        })?;
        let begin = self.from.of(*partition);
        Some(format!(
            "they count partition {partition} from {begin} and not from {from}"
        ))
    }
}

/// Records that went into totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpan {
    pub partition: Partition,
    pub from: Offset,
    pub to: Offset,
    pub source: SourceKind,
}

/// Where records, or totals, came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Kafka.
    Log,
    /// The archive of the topic.
    Archive,
    /// Earlier totals.
    Totals(TotalsId),
}

/// The account of one counter definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub counter: CounterName,
    /// How many events have contributed an amount that is not 0.
    pub contributions: u64,
    /// The sum of all its cells, modulo 2^64.
    pub sum: i64,
}

/// One file of totals. Its cells lie in the ranges from `first_range` to `last_range`, in which no other file has any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub first_range: RangeId,
    pub last_range: RangeId,
    pub rows: u64,
    pub bytes: u64,
    pub digest: Digest,
    /// The CRC-32 of what follows the last row group: the file's metadata, whose statistics say what to read.
    pub metadata_checksum: u32,
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub id: TotalsId,
    pub subject: Subject,
    /// When it was made, for people.
    pub made_at: String,
    /// A time at which every event in the log was below the cut; `None` if the cut was chosen, and is not the log's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// The last record below the cut, of each partition that has one: a log that has another one there has lost what these
    /// totals count. Totals of versions before it was kept have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub last_records: BTreeMap<Partition, Fingerprint>,
    pub sources: Vec<SourceSpan>,
    pub accounts: Vec<Account>,
    pub rows: u64,
    pub digest: Digest,
    /// In the order of ranges.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// The content of its object.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain data serialises");
        text.push(b'\n');
        text
    }

    /// Reads the manifest in the object `name`, which is that of `id`.
    ///
    /// # Errors
    /// It is damaged, of a newer format, or another one.
    pub fn decode(name: &ObjectName, id: &TotalsId, content: &[u8]) -> Result<Self, TotalsError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let damaged = |why: &dyn fmt::Display| TotalsError::Damaged {
            name: name.clone(),
            why: why.to_string(),
        };
        let Versioned { format } =
            serde_json::from_slice(content).map_err(|error| damaged(&error))?;
        if format != FORMAT {
            return Err(TotalsError::Newer {
                name: name.clone(),
                format,
            });
        }
        let manifest: Self = serde_json::from_slice(content).map_err(|error| damaged(&error))?;
        let made = manifest.subject.id();
        if manifest.id != *id || made != *id {
            return Err(damaged(&format_args!("it is the manifest of {made}")));
        }
        let mut rows = manifest.files.iter().map(|file| file.rows);
        let rows = rows.try_fold(0_u64, u64::checked_add);
        let digests = manifest.files.iter().map(|file| file.digest);
        let digest = digests.fold(Digest::default(), Digest::plus);
        if (rows, digest) != (Some(manifest.rows), manifest.digest) {
            return Err(damaged(
                &"its files do not add up to its rows and its digest",
            ));
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests;
