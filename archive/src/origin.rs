//! Where a partition's chain begins: the first position that was ever archived. Put once, if absent, before the first
//! segment, so that archivers which start at the same time begin one chain and not two.

use serde::{Deserialize, Serialize};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore};

use crate::error::ArchiveError;
use crate::names::TopicFolder;

/// The format of the archive's objects.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OriginRecord {
    format: u32,
    cluster: String,
    topic: String,
    partition: Partition,
    from: Offset,
}

/// Reads the origin of a partition; `None` if nothing of it was ever archived.
///
/// # Errors
/// The store, or an object that is no origin of this partition.
pub async fn read(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    partition: Partition,
) -> Result<Option<Offset>, ArchiveError> {
    let name = folder.origin(partition);
    let content = match store.get(&name).await {
        Ok(content) => content,
        Err(ObjectError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    decode(&name, &content, folder, partition).map(Some)
}

/// Reads the origin of a partition; `None` if nothing of it was ever archived: there is no segment, either.
///
/// # Errors
/// As [`read`]; or the origin is missing, and segments are there.
pub async fn known(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    partition: Partition,
) -> Result<Option<Offset>, ArchiveError> {
    if let Some(origin) = read(store, folder, partition).await? {
        return Ok(Some(origin));
    }
    let listed = store.list(&folder.partition(partition), None).await?;
    let mut names = listed.into_iter().map(|entry| entry.name);
    let Some(segment) = names.find(|name| folder.segment_from(partition, name).is_some()) else {
        return Ok(None);
    };
    // An origin is put before the first segment: an archiver that began a moment ago has put both by now.
    match read(store, folder, partition).await? {
        Some(origin) => Ok(Some(origin)),
        None => Err(ArchiveError::OriginMissing {
            name: folder.origin(partition),
            segment,
        }),
    }
}

/// Lets the chain of a partition begin at `from`, unless it has begun already. Returns where it begins.
///
/// # Errors
/// The store. May be repeated: the first one that arrived counts.
pub async fn create(
    store: &impl ObjectStore,
    folder: &TopicFolder,
    partition: Partition,
    from: Offset,
) -> Result<Offset, ArchiveError> {
    let name = folder.origin(partition);
    let record = OriginRecord {
        format: FORMAT,
        cluster: folder.cluster().to_owned(),
        topic: folder.topic().to_owned(),
        partition,
        from,
    };
    let content = serde_json::to_vec(&record).expect("numbers and strings are JSON");
    // Whether it was created, existed, or may have been created: what is there counts.
    let put = store.put_if_absent(&name, content.into()).await;
    if let Some(origin) = read(store, folder, partition).await? {
        return Ok(origin);
    }
    match put {
        Err(error) => Err(error.into()),
        Ok(_) => Err(ObjectError::NotFound(name).into()),
    }
}

fn decode(
    name: &ObjectName,
    content: &[u8],
    folder: &TopicFolder,
    partition: Partition,
) -> Result<Offset, ArchiveError> {
    let record: OriginRecord = decode_json(name, content)?;
    let is_ours = record.cluster == folder.cluster()
        && record.topic == folder.topic()
        && record.partition == partition;
    if is_ours {
        return Ok(record.from);
    }
    let OriginRecord { cluster, topic, .. } = record;
    let why = format!(
        "it is of partition {} of the topic {topic} of the cluster {cluster}",
        record.partition
    );
    let name = name.clone();
    Err(ArchiveError::Foreign { name, why })
}

/// Decodes an object of JSON with a `format`.
pub(crate) fn decode_json<T: for<'a> Deserialize<'a>>(
    name: &ObjectName,
    content: &[u8],
) -> Result<T, ArchiveError> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let damaged = |error: serde_json::Error| ArchiveError::Damaged {
        name: name.clone(),
        why: error.to_string(),
    };
    let Versioned { format } = serde_json::from_slice(content).map_err(damaged)?;
    if format != FORMAT {
        return Err(ArchiveError::Newer {
            name: name.clone(),
            format: format.to_string(),
        });
    }
    serde_json::from_slice(content).map_err(damaged)
}
