//! The metadata at the end of a file, with a checksum in itself: what is damaged is known before a decoder sees it.
//!
//! Parquet has no checksum of its metadata, and a decoder may panic over bytes that it did not write. So one entry of the
//! metadata holds the CRC-32 of the metadata, taken with zeros in its own place. Other readers see an entry like any other.

use std::ops::{ControlFlow, Range};

use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataReader};

/// The key of the entry, and what its value begins with.
const KEY: &str = "stitch.metadata";
const VALUE: &str = "crc32=";
/// In the place of the checksum, until that is known.
const ZEROS: &str = "00000000";
/// What is between key and value: the header of a field of text, and the value's length.
const BETWEEN: [u8; 2] = [0x18, 14];
/// The length of the metadata, and Parquet's magic number.
const END_BYTES: usize = 8;
const MAGIC: &[u8] = b"PAR1";

/// The entry that will hold the checksum.
pub(crate) fn entry() -> KeyValue {
    KeyValue::new(KEY.to_owned(), format!("{VALUE}{ZEROS}"))
}

/// Writes the checksum into a finished file.
pub(crate) fn seal(file: &mut [u8]) {
    const WRITTEN: &str = "the file was just written, with the entry";
    let Ok(ControlFlow::Break(metadata)) = place(file, file.len() as u64) else {
        unreachable!("{WRITTEN}");
    };
    let metadata = &mut file[metadata];
    let digits = digits(metadata).expect(WRITTEN);
    let checksum = format!("{:08x}", checksum(metadata, &digits));
    metadata[digits].copy_from_slice(checksum.as_bytes());
}

/// Parses the metadata in `tail`, the last bytes of a file of `size` bytes, unless so many of them are needed.
pub(crate) fn parse(
    tail: &[u8],
    size: u64,
) -> Result<ControlFlow<ParquetMetaData, u64>, ParquetError> {
    let metadata = match place(tail, size)? {
        ControlFlow::Break(metadata) => &tail[metadata],
        ControlFlow::Continue(bytes) => return Ok(ControlFlow::Continue(bytes)),
    };
    let wrong = |what: &str| ParquetError::General(what.to_owned());
    let digits = digits(metadata).ok_or_else(|| wrong("its metadata has no checksum of Stitch"))?;
    let expected = format!("{:08x}", checksum(metadata, &digits));
    if metadata[digits] != *expected.as_bytes() {
        return Err(wrong("the checksum of its metadata differs"));
    }
    ParquetMetaDataReader::decode_metadata(metadata).map(ControlFlow::Break)
}

/// The place of the metadata in `tail`, unless more of the file is needed.
fn place(tail: &[u8], size: u64) -> Result<ControlFlow<Range<usize>, u64>, ParquetError> {
    let end = tail.len().checked_sub(END_BYTES);
    let end = end.filter(|end| tail[end + 4..] == *MAGIC);
    let no_parquet = || ParquetError::General("it is no whole file of Parquet".to_owned());
    let end = end.ok_or_else(no_parquet)?;
    let length = [tail[end], tail[end + 1], tail[end + 2], tail[end + 3]];
    let length = usize::try_from(u32::from_le_bytes(length)).map_err(|_| no_parquet())?;
    let bytes = (length as u64).saturating_add(END_BYTES as u64);
    if bytes > size {
        return Err(no_parquet());
    }
    Ok(match end.checked_sub(length) {
        Some(start) => ControlFlow::Break(start..end),
        None => ControlFlow::Continue(bytes),
    })
}

/// The place of the checksum in the metadata.
fn digits(metadata: &[u8]) -> Option<Range<usize>> {
    let before = [KEY.as_bytes(), &BETWEEN, VALUE.as_bytes()].concat();
    let at = metadata
        .windows(before.len())
        .position(|window| window == before)?;
    let start = at + before.len();
    (start + ZEROS.len() <= metadata.len()).then(|| start..start + ZEROS.len())
}

/// The checksum of the metadata, with zeros in the place of the checksum.
fn checksum(metadata: &[u8], digits: &Range<usize>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&metadata[..digits.start]);
    crc.update(ZEROS.as_bytes());
    crc.update(&metadata[digits.end..]);
    crc.finalize()
}
