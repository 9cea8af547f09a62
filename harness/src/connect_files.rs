//! Files as a sink of Kafka Connect writes them by default.

use std::path::Path;

use anyhow::{Context, Result};

use crate::events::Record;

/// Writes the files of partition 0 with values as bytes, `records_max` records in each. Returns how many there are.
pub fn write(folder: &Path, topic: &str, records: &[Record], records_max: usize) -> Result<usize> {
    let folder = folder.join("topics").join(topic).join("partition=0");
    std::fs::create_dir_all(&folder)?;
    for (number, records) in records.chunks(records_max).enumerate() {
        let mut content = Vec::new();
        for record in records {
            content.extend_from_slice(record.value.as_deref().context("a value")?);
            content.push(b'\n');
        }
        let first = number * records_max;
        std::fs::write(folder.join(format!("{topic}+0+{first:010}.bin")), content)?;
    }
    Ok(records.len().div_ceil(records_max))
}
