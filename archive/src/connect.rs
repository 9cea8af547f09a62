//! Files as Kafka Connect's sinks for object stores lay them out by default:
//! `topics/<topic>/partition=<p>/<topic>+<p>+<start>.<ext>`, where `start` is the offset of the first record.
//!
//! A file has the values of records, each followed by a line end (`ByteArrayFormat` with its default separator, `bin`), or
//! values that the sink has written as JSON (`JsonFormat`, `json`); behind either, `.gz` if it is compressed. It has neither offsets nor keys nor times. How such
//! files chain is decided in [`intervals`]; [`lines`] reads them; [`seal`] compares them with the log.

pub mod lines;
pub mod seal;
pub mod intervals;
pub(crate) mod log_reader;

use std::collections::BTreeMap;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore};
use stitch_common::user_error::UserError;

use crate::error::ArchiveError;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFile {
    pub name: ObjectName,
    /// Its size.
    pub bytes: u64,
    pub partition: Partition,
    /// The offset of its first record.
    pub start: Offset,
    pub format: ConnectFormat,
    pub compression: Compression,
}

/// What a file has of each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFormat {
    /// The value, byte by byte.
    Bytes,
    /// What the sink has made of the value.
    Json,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
}

/// Why files of Kafka Connect cannot be imported or sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Store(#[from] ObjectError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is nothing to read.
    #[error("there are no files of the topic {topic} in {place}/{folder}")]
    NoFiles {
        topic: String,
        place: String,
        folder: ObjectName,
    },
    /// A file of another topic, partition or format.
    #[error("{name} is no file of this topic that can be read: {why}")]
    Foreign { name: ObjectName, why: String },
    /// A file does not end with a line end.
    #[error("{name} does not end with a line end: it is cut, or it has another separator")]
    Cut { name: ObjectName },
    /// A compressed file is not whole, or not compressed.
    #[error("{name} is no whole gzip file: {why}")]
    Damaged { name: ObjectName, why: String },
    /// A file without a record.
    #[error("{name} is empty")]
    Empty { name: ObjectName },
    /// Two files have the same offsets.
    #[error(
        "{name} has records up to offset {to}, but {next} begins at {start}: two connectors have written, or a value has a \
         line end in it"
    )]
    Overlap {
        name: ObjectName,
        to: Offset,
        next: ObjectName,
        start: Offset,
    },
    /// No file has these offsets.
    #[error(
        "{name} ends at offset {to}, but {next} begins at {start}: a file or records are missing, or the offsets between \
         them are of transactions"
    )]
    Gap {
        name: ObjectName,
        to: Offset,
        next: ObjectName,
        start: Offset,
    },
    /// What the sink has rewritten cannot be counted as the topic's.
    #[error("{name} has values that the sink has written as JSON, and it is not sealed")]
    Rewritten { name: ObjectName },
    /// A file is not what the log has.
    #[error("line {line} of {name} is not the record that Kafka has at offset {offset}: {why}")]
    Differs {
        name: ObjectName,
        line: u64,
        offset: Offset,
        why: &'static str,
    },
    /// A file is not what it was a moment ago, or when it was sealed.
    #[error("{name} has changed since it was {since}")]
    Changed {
        name: ObjectName,
        since: &'static str,
    },
    /// The log has lost records that no file has.
    #[error(
        "the files of partition {partition} end at offset {to}, below {begin}, where Kafka's log begins: {name} is the last \
         one"
    )]
    LogLater {
        partition: Partition,
        name: ObjectName,
        to: Offset,
        begin: Offset,
    },
    /// Nothing says which offset the last record of the last file has.
    #[error(
        "{name} is the last file of partition {partition} and ends at offset {to}, where Kafka's log begins, if no \
         transaction's marker lies between its records: nothing confirms that"
    )]
    Unconfirmed {
        partition: Partition,
        name: ObjectName,
        to: Offset,
    },
    /// The files have more than the log.
    #[error(
        "{name} has records up to offset {to} of partition {partition}, beyond {end}, where Kafka's log ends: they are of \
         another topic"
    )]
    LogShorter {
        partition: Partition,
        name: ObjectName,
        to: Offset,
        end: Offset,
    },
    /// The archive begins after the files, or ends before them.
    #[error(
        "the archive of partition {partition} is from offset {from} to {to}, and {name} is from {start}: {why}"
    )]
    NotAdjoining {
        partition: Partition,
        from: Offset,
        to: Offset,
        name: ObjectName,
        start: Offset,
        why: &'static str,
    },
    /// Another program has written the same part of the archive.
    #[error("another program writes the archive of partition {partition} at offset {at}")]
    Overtaken { partition: Partition, at: Offset },
    /// Kafka delivers nothing.
    #[error(
        "Kafka did not deliver the records of partition {partition} from offset {offset} on: {why}"
    )]
    LogUnread {
        partition: Partition,
        offset: Offset,
        why: String,
    },
}

const NO_FILES: &str =
    "name the URL below which the folder topics/ of the connector is (its topics.dir)";
const FOREIGN: &str = "only the default layout with values as bytes (ByteArrayFormat) or lines of JSON is read, compressed by gzip or not; move other files away";
const UNCONFIRMED: &str = "nothing was imported; let the sink write the file that begins there, and run it again; a file that was \
                           sealed while Kafka had its records (stitch-archive seal) needs none";
const REFUSED: &str =
    "nothing was imported; see docs/operations/archive.md, \"An archive of Kafka Connect\"";

impl From<ConnectError> for UserError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Store(error) => error.into(),
            ConnectError::Archive(error) => error.into(),
            ConnectError::NoFiles { .. } => Self::new(error, NO_FILES),
            ConnectError::Foreign { .. } => Self::new(error, FOREIGN),
            ConnectError::Unconfirmed { .. } => Self::new(error, UNCONFIRMED),
            ConnectError::Overtaken { .. } => Self::new(
                error,
                "run the command again: it goes on where the archive ends",
            ),
            ConnectError::LogUnread { .. } => Self::new(
                error,
                "see whether the partition has a leader, and run it again",
            ),
            ConnectError::Cut { .. }
            | ConnectError::Damaged { .. }
            | ConnectError::Empty { .. }
            | ConnectError::Overlap { .. }
            | ConnectError::Gap { .. }
            | ConnectError::Rewritten { .. }
            | ConnectError::Differs { .. }
            | ConnectError::Changed { .. }
            | ConnectError::LogLater { .. }
            | ConnectError::LogShorter { .. }
            | ConnectError::NotAdjoining { .. } => Self::new(error, REFUSED),
        }
    }
}

/// The size of all files.
pub fn bytes(files: &BTreeMap<Partition, Vec<ConnectFile>>) -> u64 {
    files.values().flatten().map(|file| file.bytes).sum()
}

/// The files of `topic` in `store`, by partition and start.
///
/// # Errors
/// There are none, or one that does not belong there, by name.
pub async fn files(
    store: &impl ObjectStore,
    topic: &str,
) -> Result<BTreeMap<Partition, Vec<ConnectFile>>, ConnectError> {
    let folder = ObjectName("topics".to_owned()).join(topic);
    let mut files: BTreeMap<Partition, Vec<ConnectFile>> = BTreeMap::new();
    for entry in store.list(&folder, None).await? {
        let foreign = |why: &str| ConnectError::Foreign {
            name: entry.name.clone(),
            why: why.to_owned(),
        };
        let below = entry.name.0.strip_prefix(&folder.0);
        let path = below.and_then(|path| path.strip_prefix('/'));
        let path = path.unwrap_or_default();
        // Folders that are objects, as consoles make them.
        if path.is_empty() || path.ends_with('/') {
            continue;
        }
        let parsed = parse(path, topic).map_err(|why| foreign(&why))?;
        let (partition, start, format, compression) = parsed;
        files.entry(partition).or_default().push(ConnectFile {
            name: entry.name.clone(),
            bytes: entry.size,
            partition,
            start,
            format,
            compression,
        });
    }
    for files in files.values_mut() {
        files.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
    }
    if files.is_empty() {
        return Err(ConnectError::NoFiles {
            topic: topic.to_owned(),
            place: store.place().to_owned(),
            folder,
        });
    }
    Ok(files)
}

/// Partition, start, format and compression of the file at `path`, which is below the topic's folder; or why it is no such file.
fn parse(
    path: &str,
    topic: &str,
) -> Result<(Partition, Offset, ConnectFormat, Compression), String> {
    let layout = format!("its path is not partition=<p>/{topic}+<p>+<start>.<ext>");
    let (folder, file) = path.split_once('/').ok_or_else(|| layout.clone())?;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        is_number.then(|| text.parse::<i64>().ok()).flatten()
    };
    let partition = folder.strip_prefix("partition=").and_then(number);
    let partition = partition.and_then(|number| i32::try_from(number).ok());
    let partition = partition.ok_or_else(|| layout.clone())?;
    let (stem, extension) = file
        .split_once('.')
        .filter(|_| !topic.contains('.'))
        .or_else(|| {
            let at = topic.len() + file.get(topic.len()..)?.find('.')?;
            Some((&file[..at], &file[at + 1..]))
        })
        .ok_or_else(|| layout.clone())?;
    let (rest, start) = stem.rsplit_once('+').ok_or_else(|| layout.clone())?;
    let (of, named) = rest.rsplit_once('+').ok_or_else(|| layout.clone())?;
    if of != topic {
        return Err(format!("it is of the topic {of}, and not of {topic}"));
    }
    if number(named) != Some(i64::from(partition)) {
        return Err(format!(
            "its name says partition {named}, and its folder {partition}"
        ));
    }
    let start = number(start).ok_or(layout)?;
    let (of_values, compression) = match extension.strip_suffix(".gz") {
        Some(of_values) => (of_values, Compression::Gzip),
        None => (extension, Compression::None),
    };
    let format = match of_values {
        "bin" => ConnectFormat::Bytes,
        "json" => ConnectFormat::Json,
        _ => {
            let what = "is neither .bin nor .json, nor one of these with .gz";
            return Err(format!("the format .{extension} {what}"));
        }
    };
    Ok((Partition(partition), Offset(start), format, compression))
}

#[cfg(test)]
mod tests;
