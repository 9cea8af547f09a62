//! Ranges: equal intervals of Murmur3 tokens, the unit of locking.
//!
//! Ranges are token intervals so that one range is one ordered Cassandra scan, which finds cells that should not exist as
//! reliably as missing cells.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::token::Token;

/// The number of ranges of a namespace: `2^bits`. Fixed with the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8")]
pub struct RangeBits(u8);

impl TryFrom<u8> for RangeBits {
    type Error = String;

    fn try_from(bits: u8) -> Result<Self, String> {
        let max = Self::MAX;
        Self::new(bits).ok_or_else(|| format!("{bits} bits of ranges, at most {max} are allowed"))
    }
}

impl RangeBits {
    /// The finest division: 4096 ranges.
    pub const MAX: u8 = 12;

    /// `bits`, unless it is above [`RangeBits::MAX`].
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= Self::MAX {
            Some(Self(bits))
        } else {
            None
        }
    }

    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Number of ranges.
    #[must_use]
    pub const fn count(self) -> u16 {
        1 << self.0
    }

    /// Every range, in token order.
    pub fn ranges(self) -> impl ExactSizeIterator<Item = RangeId> + use<> {
        (0..self.count()).map(RangeId)
    }

    /// The range that `token` lies in.
    #[must_use]
    pub fn range_of(self, token: Token) -> RangeId {
        if self.0 == 0 {
            return RangeId(0);
        }
        let unsigned = token.0.cast_unsigned() ^ (1 << 63);
        let index = unsigned >> (64 - u32::from(self.0));
        RangeId(u16::try_from(index).expect("at most 12 bits are left"))
    }

    /// The tokens of `range`.
    ///
    /// # Panics
    /// If `range` is not one of this many.
    #[must_use]
    pub fn interval(self, range: RangeId) -> TokenInterval {
        assert!(range.0 < self.count(), "range {range} of {}", self.count());
        if self.0 == 0 {
            return TokenInterval {
                first: Token(i64::MIN),
                last: Token(i64::MAX),
            };
        }
        let shift = 64 - u32::from(self.0);
        let first = u64::from(range.0) << shift;
        let last = first | ((1 << shift) - 1);
        let signed = |unsigned: u64| Token((unsigned ^ (1 << 63)).cast_signed());
        TokenInterval {
            first: signed(first),
            last: signed(last),
        }
    }
}

/// One range of a namespace, numbered in token order from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeId(pub u16);

impl fmt::Display for RangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Tokens from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenInterval {
    pub first: Token,
    pub last: Token,
}

impl TokenInterval {
    /// Whether `token` lies in it.
    #[must_use]
    pub fn contains(self, token: Token) -> bool {
        self.first <= token && token <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_token_once() {
        for bits in 0..=RangeBits::MAX {
            let bits = RangeBits::new(bits).unwrap();
            let mut next = i128::from(i64::MIN);
            for range in bits.ranges() {
                let interval = bits.interval(range);
                assert_eq!(i128::from(interval.first.0), next);
                next = i128::from(interval.last.0) + 1;
                assert_eq!(bits.range_of(interval.first), range);
                assert_eq!(bits.range_of(interval.last), range);
            }
            assert_eq!(next, i128::from(i64::MAX) + 1);
        }
        assert_eq!(RangeBits::new(13), None);
    }

    #[test]
    fn an_invalid_number_of_ranges_is_not_deserialised() {
        let read = |text: &str| serde_json::from_str::<RangeBits>(text);
        assert_eq!(read("12").unwrap(), RangeBits::new(12).unwrap());
        let refused = read("13").unwrap_err().to_string();
        assert!(refused.contains("at most 12"), "{refused}");
        assert_eq!(
            serde_json::to_string(&RangeBits::new(7).unwrap()).unwrap(),
            "7"
        );
    }
}
