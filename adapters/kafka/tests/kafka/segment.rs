//! The first segment of a partition on the broker's disk, to damage it: the broker serves a file as it is.

use std::path::PathBuf;

use super::support::Topic;

/// Where the parts of a batch of format 2 are, from its first byte on.
const LENGTH: usize = 8;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
const HEADER: usize = 61;

/// The bytes in front of what [`LENGTH`] counts, and those in front of what the checksum covers.
const BEFORE_LENGTH: usize = 12;
const BEFORE_CHECKED: usize = ATTRIBUTES;

/// A segment, as it is on the disk.
pub(crate) struct Segment {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Segment {
    /// The first segment of partition 0.
    pub(crate) fn read(topic: &Topic) -> Self {
        let servers = std::env::var("STITCH_TEST_SERVERS");
        let servers = servers.map_or_else(
            |_| {
                stitch_harness::servers::repository()
                    .unwrap()
                    .join("target/local")
            },
            PathBuf::from,
        );
        let folder = servers
            .join("kafka/data")
            .join(format!("{}-0", topic.kafka.topic));
        let path = folder.join("00000000000000000000.log");
        let bytes =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, bytes }
    }

    /// Where each batch begins.
    pub(crate) fn batches(&self) -> Vec<usize> {
        let mut batches = Vec::new();
        let mut at = 0;
        while at < self.bytes.len() {
            batches.push(at);
            at += BEFORE_LENGTH + self.number(at + LENGTH);
        }
        batches
    }

    fn number(&self, at: usize) -> usize {
        let bytes: [u8; 4] = self.bytes[at..at + 4].try_into().unwrap();
        usize::try_from(u32::from_be_bytes(bytes)).unwrap()
    }

    /// Changes the last byte of the batch that begins at `batch`.
    pub(crate) fn damage(&mut self, batch: usize) {
        let last = batch + BEFORE_LENGTH + self.number(batch + LENGTH) - 1;
        self.bytes[last] ^= 0x55;
    }

    /// Gives the batch a codec, and the checksum that fits.
    pub(crate) fn set_codec(&mut self, batch: usize, codec: u8) {
        self.bytes[batch + ATTRIBUTES + 1] = codec;
        let end = batch + BEFORE_LENGTH + self.number(batch + LENGTH);
        let crc = crc32c(&self.bytes[batch + BEFORE_CHECKED..end]);
        self.bytes[batch + CRC..batch + CRC + 4].copy_from_slice(&crc.to_be_bytes());
    }

    /// Puts what looks like an empty batch of `count` offsets where Kafka's client reads on behind the wrong checksum of
    /// `batch`, if it has fetched the segment from its start on. Returns where that is.
    pub(crate) fn forge(&mut self, batch: usize, count: u32) -> usize {
        let at = self.number(batch + LENGTH) - (BEFORE_CHECKED - BEFORE_LENGTH);
        let mut forged = self.bytes[batch..batch + HEADER].to_vec();
        let length = u32::try_from(HEADER - BEFORE_LENGTH).unwrap();
        forged[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        forged[LAST_OFFSET_DELTA..LAST_OFFSET_DELTA + 4]
            .copy_from_slice(&(count - 1).to_be_bytes());
        forged[HEADER - 4..].fill(0);
        let crc = crc32c(&forged[BEFORE_CHECKED..]);
        forged[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
        self.bytes[at..at + HEADER].copy_from_slice(&forged);
        at
    }

    /// Writes the segment back, in place.
    pub(crate) fn write(&self) {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(&self.path)
            .unwrap();
        file.write_all(&self.bytes).unwrap();
    }
}

/// CRC-32C, by which batches are checked.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0x82F6_3B78;
            }
        }
    }
    !crc
}
