//! Reads the lines of a file, part by part.

use bytes::{Bytes, BytesMut};
use stitch_common::ports::ObjectStore;

use super::{ConnectError, ConnectFile};

/// Bytes that are read at once.
const PART_BYTES: u64 = 8 << 20;

/// Reads the lines of one file.
pub struct LineReader<'a, S> {
    store: &'a S,
    file: &'a ConnectFile,
    /// The first byte that has not been read.
    next: u64,
    /// The beginning of a line whose end has not been read.
    rest: BytesMut,
}

impl<'a, S: ObjectStore> LineReader<'a, S> {
    /// A reader of `file`.
    pub fn new(store: &'a S, file: &'a ConnectFile) -> Self {
        Self {
            store,
            file,
            next: 0,
            rest: BytesMut::new(),
        }
    }

    /// The next lines, without their ends; `None` at the file's end. There may be none in a part.
    ///
    /// # Errors
    /// The store, or the file ends within a line. After a cancelled or failed call the same part is read again.
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>, ConnectError> {
        let size = self.file.bytes;
        if self.next == size {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let name = self.file.name.clone();
            return Err(ConnectError::Cut { name });
        }
        let to = size.min(self.next + PART_BYTES);
        let part = self.store.get_range(&self.file.name, self.next..to).await?;
        self.next = to;
        let mut lines = Vec::new();
        let mut part = part.as_slice();
        while let Some(at) = part.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&part[..at]);
            lines.push(self.rest.split().freeze());
            part = &part[at + 1..];
        }
        self.rest.extend_from_slice(part);
        Ok(Some(lines))
    }
}

/// The number of lines of `file`.
///
/// # Errors
/// The store, or the file is cut or empty.
pub async fn count(store: &impl ObjectStore, file: &ConnectFile) -> Result<u64, ConnectError> {
    let mut reader = LineReader::new(store, file);
    let mut rows = 0;
    while let Some(lines) = reader.next().await? {
        rows += lines.len() as u64;
    }
    if rows == 0 {
        let name = file.name.clone();
        return Err(ConnectError::Empty { name });
    }
    Ok(rows)
}
