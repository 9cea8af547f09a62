//! Reads the lines of a file, part by part, compressed or not.

use std::io::{self, Write};

use bytes::{Buf, Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use stitch_common::ports::ObjectStore;

use super::{Compression, ConnectError, ConnectFile};

/// Bytes that are read at once.
const PART_BYTES: u64 = 8 << 20;
/// Compressed bytes that are decompressed at once, to a thousand times as many at most.
const COMPRESSED_BYTES: usize = 32 << 10;

/// Reads the lines of one file.
pub struct LineReader<'a, S> {
    store: &'a S,
    file: &'a ConnectFile,
    /// The first byte that has not been read.
    next: u64,
    /// What was read and has not been divided into lines, as it is in the file.
    part: Bytes,
    /// `None` if the file is not compressed, or at its end.
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    /// The beginning of a line whose end has not been read.
    rest: BytesMut,
}

impl<'a, S: ObjectStore> LineReader<'a, S> {
    /// A reader of `file`.
    pub fn new(store: &'a S, file: &'a ConnectFile) -> Self {
        let decoder = match file.compression {
            Compression::None => None,
            Compression::Gzip => Some(MultiGzDecoder::new(Vec::new())),
        };
        Self {
            store,
            file,
            next: 0,
            part: Bytes::new(),
            decoder,
            rest: BytesMut::new(),
        }
    }

    /// The next lines, without their ends; `None` at the file's end. There may be none in a part.
    ///
    /// # Errors
    /// The store, or the file ends within a line, or is not compressed as its name says. After a call that was cancelled, or
    /// that the store failed, the same part is read again.
    pub async fn next(&mut self) -> Result<Option<Vec<Bytes>>, ConnectError> {
        let size = self.file.bytes;
        if self.part.is_empty() && self.next < size {
            let to = size.min(self.next + PART_BYTES);
            let part = self.store.get_range(&self.file.name, self.next..to).await?;
            self.next = to;
            self.part = part.into();
        }
        if !self.part.is_empty() {
            let content = self.content().map_err(|error| self.damaged(&error))?;
            return Ok(Some(self.lines(&content)));
        }
        if let Some(decoder) = self.decoder.take() {
            // Also checks that nothing is missing.
            let content = decoder.finish().map_err(|error| self.damaged(&error))?;
            return Ok(Some(self.lines(&content)));
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.file.name.clone();
        Err(ConnectError::Cut { name })
    }

    /// The next bytes of what the file has, not compressed.
    fn content(&mut self) -> io::Result<Bytes> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(std::mem::take(&mut self.part));
        };
        let length = self.part.remaining().min(COMPRESSED_BYTES);
        decoder.write_all(&self.part.split_to(length))?;
        Ok(std::mem::take(decoder.get_mut()).into())
    }

    fn lines(&mut self, mut content: &[u8]) -> Vec<Bytes> {
        let mut lines = Vec::new();
        while let Some(at) = content.iter().position(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(&content[..at]);
            lines.push(self.rest.split().freeze());
            content = &content[at + 1..];
        }
        self.rest.extend_from_slice(content);
        lines
    }

    fn damaged(&self, error: &io::Error) -> ConnectError {
        ConnectError::Damaged {
            name: self.file.name.clone(),
            why: error.to_string(),
        }
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use flate2::write::GzEncoder;
    use stitch_common::offset::{Offset, Partition};
    use stitch_common::ports::ObjectName;
    use stitch_testkit::objects::MemoryStore;

    use super::super::ConnectFormat;
    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn counted(content: &[u8]) -> Result<u64, ConnectError> {
        let name = ObjectName("events+0+0000000000.bin.gz".to_owned());
        let store = MemoryStore::default();
        store.objects().set(name.clone(), content.to_vec());
        let file = ConnectFile {
            name,
            bytes: content.len() as u64,
            partition: Partition(0),
            start: Offset(0),
            format: ConnectFormat::Bytes,
            compression: Compression::Gzip,
        };
        let mut counting = pin!(count(&store, &file));
        loop {
            let mut context = Context::from_waker(Waker::noop());
            if let Poll::Ready(counted) = counting.as_mut().poll(&mut context) {
                return counted;
            }
        }
    }

    fn text(lines: usize) -> String {
        (0..lines)
            .map(|line| format!("value {}\n", line * 7919 % 1000))
            .collect()
    }

    #[test]
    fn lines_of_compressed_files_are_read_however_many_members_they_have() {
        assert_eq!(counted(&gzip(&text(100_000))).unwrap(), 100_000);
        let several = [gzip("a\nb"), gzip(""), gzip("c\nd\n")].concat();
        assert_eq!(counted(&several).unwrap(), 3);
    }

    #[test]
    fn compressed_files_that_are_cut_or_changed_are_refused_by_name() {
        let whole = gzip(&text(200));
        for length in 0..whole.len() {
            let error = counted(&whole[..length]).unwrap_err();
            let is_named = error.to_string().starts_with("events+0+0000000000.bin.gz");
            assert!(is_named, "{length}: {error}");
        }
        // Behind its head, which has a time that nothing depends on.
        for at in 10..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let error = counted(&changed).unwrap_err();
            assert!(
                matches!(error, ConnectError::Damaged { .. }),
                "{at}: {error}"
            );
        }
        let plain = counted(b"value 1\n").unwrap_err();
        assert!(matches!(plain, ConnectError::Damaged { .. }), "{plain}");
    }
}
