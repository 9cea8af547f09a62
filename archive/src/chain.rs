//! The chain of a partition's segments: each begins where the one before ends.
//!
//! Names are followed, and nothing is listed: a list may lag behind a write, a request for one object does not. An index
//! object for every [`INDEX_SEGMENTS`] segments keeps that cheap; it holds what the footers hold, and the footers count.

use serde::{Deserialize, Serialize};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectError, ObjectStore, Put};

use crate::error::ArchiveError;
use crate::names::TopicFolder;
use crate::origin::{FORMAT, decode_json};
use crate::segment::footer::Footer;
use stitch_common::digest::Digest;

/// The segments of one index.
pub const INDEX_SEGMENTS: usize = 1000;

/// A segment, as its footer or an index describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its first position.
    pub from: Offset,
    /// The position behind its last: the next segment begins here.
    pub to: Offset,
    /// The number of records.
    pub rows: u64,
    /// The size of the object.
    pub bytes: u64,
    /// The sum of the records' hashes.
    pub digest: Digest,
    /// The latest time of a record, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub latest_ms: Option<i64>,
}

impl Segment {
    pub(crate) fn new(footer: &Footer, bytes: u64) -> Self {
        Self {
            from: footer.from,
            to: footer.to,
            rows: footer.rows,
            bytes,
            digest: footer.digest,
            latest_ms: footer.latest_ms,
        }
    }
}

/// An unbroken chain of segments of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The partition.
    pub partition: Partition,
    /// Where the archive of the partition begins; `None` if there is none.
    pub origin: Option<Offset>,
    /// The segments, in order.
    pub segments: Vec<Segment>,
}

impl Chain {
    /// The position up to which the archive is complete, from its origin on; `None` if there is no archive.
    #[must_use]
    pub fn complete_to(&self) -> Option<Offset> {
        self.segments.last().map(|last| last.to).or(self.origin)
    }

    /// The segments with positions at or above `from`. The first one may begin below it.
    #[must_use]
    pub fn at_or_above(&self, from: Offset) -> &[Segment] {
        let below = self.segments.partition_point(|segment| segment.to <= from);
        &self.segments[below..]
    }

    /// The segment in which `position` lies.
    #[must_use]
    pub fn segment_of(&self, position: Offset) -> Option<&Segment> {
        self.at_or_above(position)
            .first()
            .filter(|segment| segment.from <= position)
    }
}

#[derive(Serialize, Deserialize)]
struct IndexRecord {
    format: u32,
    cluster: String,
    topic: String,
    partition: Partition,
    segments: Vec<Segment>,
}

/// Puts the index of `segments`, as many as an index has, unless there is one.
///
/// # Errors
/// The store. Nothing depends on it: without an index the footers are read.
pub async fn put_index(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    partition: Partition,
    segments: &[Segment],
) -> Result<(), ObjectError> {
    let Some(first) = segments.first() else {
        return Ok(());
    };
    let record = IndexRecord {
        format: FORMAT,
        cluster: folder.cluster().to_owned(),
        topic: folder.topic().to_owned(),
        partition,
        segments: segments.to_vec(),
    };
    let content = serde_json::to_vec(&record).expect("numbers and strings are JSON");
    let name = folder.index(partition, first.from);
    match store.put_if_absent(&name, content.into()).await? {
        Put::Created | Put::Exists => Ok(()),
    }
}

/// Reads the index of the segments from `from` on; `None` if there is none yet.
pub(crate) async fn read_index(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    partition: Partition,
    from: Offset,
) -> Result<Option<Vec<Segment>>, ArchiveError> {
    let name = folder.index(partition, from);
    let content = match store.get(&name).await {
        Ok(content) => content,
        Err(ObjectError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let record: IndexRecord = decode_json(&name, &content)?;
    let is_ours = record.cluster == folder.cluster()
        && record.topic == folder.topic()
        && record.partition == partition;
    if !is_ours {
        let why = "it is of another cluster, topic or partition".to_owned();
        return Err(ArchiveError::Foreign { name, why });
    }
    if is_chain(from, &record.segments) {
        Ok(Some(record.segments))
    } else {
        let why = "its segments are no unbroken chain".to_owned();
        Err(ArchiveError::Damaged { name, why })
    }
}

/// Whether there are as many segments as an index has, and each begins where the one before ends, the first one at `from`.
fn is_chain(from: Offset, segments: &[Segment]) -> bool {
    let mut position = from;
    let follows = |segment: &Segment| {
        let follows = segment.from == position && segment.to > position;
        position = segment.to;
        follows
    };
    segments.len() == INDEX_SEGMENTS && segments.iter().all(follows)
}
