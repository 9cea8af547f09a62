//! What a segment says of itself, in the file's key-value metadata.

use std::fmt;
use std::str::FromStr;

use parquet::file::metadata::{FileMetaData, KeyValue};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::ObjectName;

use crate::error::ArchiveError;
use crate::names::TopicFolder;
use crate::origin::FORMAT;
use stitch_common::digest::Digest;

/// The isolation level that records were read with: aborted ones are not in the archive.
const ISOLATION: &str = "read_committed";

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The partition.
    pub partition: Partition,
    /// The position of the first record, or below it.
    pub from: Offset,
    /// The position behind the last record: the next segment begins here.
    pub to: Offset,
    /// The number of records.
    pub rows: u64,
    /// The sum of the records' hashes.
    pub digest: Digest,
    /// The latest time of a record, in milliseconds since 1970.
    pub latest_ms: Option<i64>,
    /// The CRC-32 of each row group's bytes.
    pub(crate) checksums: Vec<u32>,
}

const PREFIX: &str = "stitch.";

impl Footer {
    /// The metadata of the file.
    pub(crate) fn entries(&self, folder: &TopicFolder) -> Vec<KeyValue> {
        let checksums: Vec<String> = self.checksums.iter().map(|c| format!("{c:08x}")).collect();
        let entry = |key: &str, value: &dyn fmt::Display| {
            KeyValue::new(format!("{PREFIX}{key}"), value.to_string())
        };
        let mut entries = vec![
            entry("format", &FORMAT),
            entry("cluster", &folder.cluster()),
            entry("topic", &folder.topic()),
            entry("partition", &self.partition),
            entry("from", &self.from),
            entry("to", &self.to),
            entry("rows", &self.rows),
            entry("isolation", &ISOLATION),
            entry("digest", &self.digest),
            entry("checksums", &checksums.join(",")),
        ];
        entries.extend(self.latest_ms.map(|ms| entry("latest_ms", &ms)));
        entries
    }

    /// Reads the footer of the segment `name` of `folder`, which begins at `from` of `partition` according to its name.
    pub(crate) fn read(
        name: &ObjectName,
        folder: &TopicFolder,
        partition: Partition,
        from: Offset,
        file: &FileMetaData,
    ) -> Result<Self, ArchiveError> {
        let entries = Entries {
            name,
            entries: file.key_value_metadata().map_or(&[], Vec::as_slice),
        };
        let format = entries.text("format")?;
        if format != FORMAT.to_string() {
            let (name, format) = (name.clone(), format.to_owned());
            return Err(ArchiveError::Newer { name, format });
        }
        entries.expect("cluster", folder.cluster())?;
        entries.expect("topic", folder.topic())?;
        entries.expect("partition", partition)?;
        entries.expect("from", from)?;
        entries.expect("isolation", ISOLATION)?;
        let checksums = entries.text("checksums")?.split(',');
        let checksums = checksums
            .filter(|text| !text.is_empty())
            .map(|text| u32::from_str_radix(text, 16))
            .collect::<Result<_, _>>()
            .map_err(|_| entries.damaged("its entry stitch.checksums is damaged"))?;
        let footer = Self {
            partition,
            from,
            to: Offset(entries.number("to")?),
            rows: entries.number("rows")?,
            digest: entries.number("digest")?,
            latest_ms: match entries.find("latest_ms") {
                Some(_) => Some(entries.number("latest_ms")?),
                None => None,
            },
            checksums,
        };
        let is_interval = footer.from < footer.to;
        let fits = i64::try_from(footer.rows).is_ok_and(|rows| rows == file.num_rows());
        if is_interval && fits {
            Ok(footer)
        } else {
            Err(entries.damaged("its interval or its number of rows is impossible"))
        }
    }
}

struct Entries<'a> {
    name: &'a ObjectName,
    entries: &'a [KeyValue],
}

impl<'a> Entries<'a> {
    fn damaged(&self, why: impl fmt::Display) -> ArchiveError {
        ArchiveError::Damaged {
            name: self.name.clone(),
            why: why.to_string(),
        }
    }

    fn find(&self, key: &str) -> Option<&'a str> {
        let mut entries = self.entries.iter();
        entries
            .find(|entry| entry.key.strip_prefix(PREFIX) == Some(key))
            .and_then(|entry| entry.value.as_deref())
    }

    fn text(&self, key: &str) -> Result<&'a str, ArchiveError> {
        self.find(key)
            .ok_or_else(|| self.damaged(format!("it is no segment: it has no entry {PREFIX}{key}")))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, ArchiveError> {
        self.text(key)?
            .parse()
            .map_err(|_| self.damaged(format!("its entry {PREFIX}{key} is damaged")))
    }

    fn expect(&self, key: &str, expected: impl fmt::Display) -> Result<(), ArchiveError> {
        let (found, expected) = (self.text(key)?, expected.to_string());
        if found == expected {
            return Ok(());
        }
        Err(ArchiveError::Foreign {
            name: self.name.clone(),
            why: format!("its {key} is {found}, and not {expected}"),
        })
    }
}
