//! Checkpoints and ceilings (rules P5, P7 and P9). A partition's checkpoint is an offset for every range, below which every
//! event of that range is acknowledged; at or above its ceiling no event has been begun. Both are in one node of ZooKeeper,
//! fenced by the partition's lock; this module has only the values and their encoding.

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

    /// Whether the offset of some range is below this one.
    #[must_use]
    pub fn is_below(&self, offset: Offset) -> bool {
        self.base < offset || self.differing.values().any(|of| *of < offset)
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

/// How far the events of one partition may have been begun (rule P9): a record of intent that is written ahead. Whoever
/// reads it after something was sent knows that the event lies below, whatever a Kafka broker answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ceiling {
    /// In each range, no event at or above the range's checkpoint: the partition was never counted, or was handed over
    /// with nothing left in between.
    #[default]
    AtCheckpoint,
    /// No event at or above this offset, in no range. Never below the checkpoint of any range, and never beyond what a
    /// consumer has received.
    At(Offset),
}

impl Ceiling {
    /// The offset at or above which no event of `range` has been begun.
    #[must_use]
    pub fn of(self, range: RangeId, checkpoint: &Checkpoint) -> Offset {
        match self {
            Self::AtCheckpoint => checkpoint.of(range),
            Self::At(offset) => offset,
        }
    }

    /// The offset below which events may be begun in every range.
    #[must_use]
    pub fn acknowledged(self) -> Offset {
        match self {
            Self::AtCheckpoint => Offset(0),
            Self::At(offset) => offset,
        }
    }
}

/// A checkpoint as stored in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    pub progress: Checkpoint,
    pub ceiling: Ceiling,
    /// The ceiling that the writer found when it took the partition over, as long as a checkpoint is below it: a former owner
    /// may have applied events below it, and the writer records a doubt of each range before it begins such an event.
    pub inherited: Ceiling,
    /// The last writer; none if the node was only created.
    pub writer: Option<Writer>,
}

/// Why the data of a checkpoint node is not a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the format of [`StoredCheckpoint::encode`].
    #[error("it is not a checkpoint ({0})")]
    Malformed(String),
    /// Written by another version of this program.
    #[error("it has format {0}, and this version knows format {FORMAT}")]
    Format(u32),
    /// Damaged.
    #[error("its checksum does not match")]
    Checksum,
}

const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Encoded {
    format: u32,
    base: Offset,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    ranges: BTreeMap<RangeId, Offset>,
    /// None where nothing was begun beyond the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ceiling: Option<Offset>,
    /// None where every former owner had handed over cleanly, or everything below is counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inherited: Option<Offset>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writer: Option<Writer>,
}

impl StoredCheckpoint {
    /// The offset below which a former owner may have applied events of any range without a checkpoint that says so, and
    /// without a doubt yet. `holder` is the present owner of the partition: what is found by another than the writer, or by
    /// none, are all events that were begun.
    #[must_use]
    pub fn uncounted_end(&self, holder: Option<&MemberId>) -> Offset {
        let writer = self.writer.as_ref().map(|writer| &writer.member);
        let bound = if holder.is_some() && holder == writer {
            self.inherited
        } else {
            self.ceiling
        };
        bound.acknowledged()
    }

    /// Encodes it as compact JSON, which an operator can read, followed by a space and the JSON's CRC-32 in hexadecimal.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded {
            format: FORMAT,
            base: self.progress.base,
            ranges: self.progress.differing.clone(),
            ceiling: match self.ceiling {
                Ceiling::AtCheckpoint => None,
                Ceiling::At(offset) => Some(offset),
            },
            inherited: match self.inherited {
                Ceiling::AtCheckpoint => None,
                Ceiling::At(offset) => Some(offset),
            },
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
        let ceiling = encoded.ceiling.map_or(Ceiling::AtCheckpoint, Ceiling::At);
        if let Ceiling::At(offset) = ceiling
            && (offset < progress.base || progress.differing.values().any(|one| offset < *one))
        {
            return Err(malformed("its ceiling is below the checkpoint of a range"));
        }
        Ok(Self {
            progress,
            ceiling,
            inherited: encoded.inherited.map_or(Ceiling::AtCheckpoint, Ceiling::At),
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
        let ceiling = Ceiling::At(progress.highest(bits));
        (
            bits,
            StoredCheckpoint {
                progress,
                ceiling,
                inherited: Ceiling::AtCheckpoint,
                writer,
            },
        )
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
        fn a_ceiling_below_the_checkpoint_of_any_range_is_refused(
            offsets in proptest::collection::vec(1..i64::MAX, 8),
            ceiling in 0..i64::MAX,
        ) {
            let (bits, mut written) = written(&offsets);
            written.ceiling = Ceiling::At(Offset(ceiling));
            let read = StoredCheckpoint::decode(&written.encode());
            let is_below = Offset(ceiling) < written.progress.highest(bits);
            prop_assert_eq!(read, if is_below {
                let why = "its ceiling is below the checkpoint of a range";
                Err(DecodeError::Malformed(why.to_owned()))
            } else {
                Ok(written)
            });
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
    fn another_format_is_refused_by_its_number() {
        for format in [1, 3] {
            let json = format!(r#"{{"format":{format},"base":0,"news":1}}"#);
            let bytes = format!("{json} {:08x}", crc32fast::hash(json.as_bytes()));
            assert_eq!(
                StoredCheckpoint::decode(bytes.as_bytes()),
                Err(DecodeError::Format(format))
            );
        }
    }

    #[test]
    fn without_a_ceiling_nothing_was_begun_beyond_the_checkpoint_of_each_range() {
        let (_, mut written) = written(&[5, 5, 5, 5, 5, 5, 5, 9]);
        written.ceiling = Ceiling::AtCheckpoint;
        let read = StoredCheckpoint::decode(&written.encode()).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.ceiling.of(RangeId(0), &read.progress), Offset(5));
        assert_eq!(read.ceiling.of(RangeId(7), &read.progress), Offset(9));
        assert_eq!(read.ceiling.acknowledged(), Offset(0));
        let open = Ceiling::At(Offset(12));
        assert_eq!(open.of(RangeId(0), &read.progress), Offset(12));
    }

    #[test]
    fn ranges_at_the_same_offset_take_no_space() {
        let bits = RangeBits::new(12).unwrap();
        let one_differs = |range: RangeId| Offset(if range.0 == 9 { 1 } else { 1000 });
        let progress = Checkpoint::from_ranges(bits, one_differs);
        let written = StoredCheckpoint {
            progress,
            ceiling: Ceiling::At(Offset(1000)),
            inherited: Ceiling::AtCheckpoint,
            writer: None,
        };
        assert!(written.encode().len() < 100);
    }
}
