//! Checkpoints (rules P5 and P7): per partition, an offset for every range, below which every event of that range is
//! acknowledged. Stored in ZooKeeper, fenced by the partition's lock; this module has only the value and its encoding.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::member::MemberId;
use crate::offset::Offset;
use crate::range::{RangeBits, RangeId};

/// The writer of a checkpoint, so that a writer whose reply was lost recognises its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    pub member: MemberId,
    /// Counts the writes of that member, from 1.
    pub sequence: u64,
}

/// The checkpoint of one partition: an offset for every range, stored as one for most and the ranges that differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    base: Offset,
    differing: BTreeMap<RangeId, Offset>,
}

impl Checkpoint {
    /// The same offset for every range.
    #[must_use]
    pub const fn everywhere(offset: Offset) -> Self {
        Self {
            base: offset,
            differing: BTreeMap::new(),
        }
    }

    /// The checkpoint in which each range of `bits` has the offset that `offset_of` returns.
    #[must_use]
    pub fn from_ranges(bits: RangeBits, offset_of: impl Fn(RangeId) -> Offset) -> Self {
        let mut occurrences = BTreeMap::<Offset, u32>::new();
        for range in bits.ranges() {
            *occurrences.entry(offset_of(range)).or_default() += 1;
        }
        let most = occurrences.iter().max_by_key(|(_, count)| **count);
        let base = most.map(|(offset, _)| *offset).unwrap_or_default();
        let differing = bits
            .ranges()
            .map(|range| (range, offset_of(range)))
            .filter(|(_, offset)| *offset != base)
            .collect();
        Self { base, differing }
    }

    /// The offset of `range`: every event of the range below it is acknowledged.
    #[must_use]
    pub fn of(&self, range: RangeId) -> Offset {
        self.differing.get(&range).copied().unwrap_or(self.base)
    }

    /// The lowest offset of any range: every event below it is acknowledged.
    #[must_use]
    pub fn lowest(&self, bits: RangeBits) -> Offset {
        bits.ranges()
            .map(|range| self.of(range))
            .min()
            .unwrap_or(self.base)
    }

    /// The highest offset of any range.
    #[must_use]
    pub fn highest(&self, bits: RangeBits) -> Offset {
        bits.ranges()
            .map(|range| self.of(range))
            .max()
            .unwrap_or(self.base)
    }
}

/// A checkpoint as stored in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    pub progress: Checkpoint,
    /// The last writer; none if the node was only created.
    pub writer: Option<Writer>,
}

/// Why the data of a checkpoint node is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the format of [`StoredCheckpoint::encode`].
    #[error("it is not a checkpoint ({0})")]
    Malformed(String),
    /// Written by a later version of this program.
    #[error("it has format {0}, which this version does not know")]
    Format(u32),
    /// Damaged.
    #[error("its checksum does not match")]
    Checksum,
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    format: u32,
    base: Offset,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ranges: BTreeMap<RangeId, Offset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<Writer>,
}

impl StoredCheckpoint {
    /// Encodes it as compact JSON, which an operator can read, followed by a space and the JSON's CRC-32 in hexadecimal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded {
            format: FORMAT,
            base: self.progress.base,
            ranges: self.progress.differing.clone(),
            writer: self.writer.clone(),
        };
        let mut bytes = serde_json::to_vec(&encoded).expect("plain data serialises");
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(format!(" {checksum:08x}").as_bytes());
        bytes
    }

    /// Decodes the output of [`StoredCheckpoint::encode`].
    ///
    /// # Errors
    /// The data is anything else: nothing may be counted from it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let malformed = |why: &str| DecodeError::Malformed(why.to_owned());
        let split = bytes
            .len()
            .checked_sub(9)
            .ok_or_else(|| malformed("too short"))?;
        let (json, checksum) = bytes.split_at(split);
        if checksum != format!(" {:08x}", crc32fast::hash(json)).as_bytes() {
            return Err(DecodeError::Checksum);
        }
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let parse = |error: serde_json::Error| DecodeError::Malformed(error.to_string());
        let Format { format } = serde_json::from_slice(json).map_err(parse)?;
        if format != FORMAT {
            return Err(DecodeError::Format(format));
        }
        let encoded: Encoded = serde_json::from_slice(json).map_err(parse)?;
        if encoded.base.0 < 0 || encoded.ranges.values().any(|offset| offset.0 < 0) {
            return Err(malformed("a negative offset"));
        }
        let progress = Checkpoint {
            base: encoded.base,
            differing: encoded.ranges,
        };
        Ok(Self {
            progress,
            writer: encoded.writer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(offsets: &[i64]) -> (RangeBits, StoredCheckpoint) {
        let bits = RangeBits::new(3).unwrap();
        let progress = Checkpoint::from_ranges(bits, |range| Offset(offsets[usize::from(range.0)]));
        let writer = Some(Writer {
            member: MemberId::new(-2, 0),
            sequence: 7,
        });
        (bits, StoredCheckpoint { progress, writer })
    }

    proptest! {
        #[test]
        fn a_stored_checkpoint_is_read_back(offsets in proptest::collection::vec(0..i64::MAX, 8)) {
            let (bits, written) = written(&offsets);
            let read = StoredCheckpoint::decode(&written.encode()).unwrap();
            prop_assert_eq!(&read, &written);
            for range in bits.ranges() {
                prop_assert_eq!(read.progress.of(range).0, offsets[usize::from(range.0)]);
            }
            prop_assert_eq!(Some(&read.progress.lowest(bits).0), offsets.iter().min());
            prop_assert_eq!(Some(&read.progress.highest(bits).0), offsets.iter().max());
        }

        #[test]
        fn no_damage_of_one_byte_is_taken_for_a_checkpoint(at in 0_usize..200, flip in 1_u8..) {
            let (_, written) = written(&[5, 5, 5, 5, 5, 5, 5, 9]);
            let mut bytes = written.encode();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(StoredCheckpoint::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(StoredCheckpoint::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let json = br#"{"format":2,"base":0,"news":1}"#;
        let mut bytes = json.to_vec();
        bytes.extend_from_slice(format!(" {:08x}", crc32fast::hash(json)).as_bytes());
        assert_eq!(
            StoredCheckpoint::decode(&bytes),
            Err(DecodeError::Format(2))
        );
    }

    #[test]
    fn ranges_at_the_same_offset_take_no_space() {
        let bits = RangeBits::new(12).unwrap();
        let one_differs = |range: RangeId| Offset(if range.0 == 9 { 1 } else { 1000 });
        let progress = Checkpoint::from_ranges(bits, one_differs);
        let written = StoredCheckpoint {
            progress,
            writer: None,
        };
        assert!(written.encode().len() < 80);
    }
}
