//! What records add up to, whatever their order: a sum modulo 2^128 of one hash a record.
//!
//! Order-free, so that the digests of parts add up to that of the whole, and any engine can compute it. Not for security:
//! it finds damage, loss and doubles, not a forger.

use std::fmt;
use std::str::FromStr;

use crate::offset::{Offset, Partition};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// A sum of the hashes of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(u128);

impl Digest {
    /// The digest of one thing, whose bytes these are.
    #[must_use]
    pub fn of(hashed: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(hashed))
    }

    /// The digest of the things of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

/// Adds up records.
#[derive(Clone, Debug, Default)]
pub struct DigestSum {
    sum: Digest,
    hashed: Vec<u8>,
}

impl DigestSum {
    /// Adds a record: the XXH3 of partition (4 bytes) and offset (8 bytes), big-endian, a byte that is 1 if there is a
    /// value, and the value.
    pub fn add(&mut self, partition: Partition, offset: Offset, value: Option<&[u8]>) {
        self.hashed.clear();
        self.hashed.extend_from_slice(&partition.0.to_be_bytes());
        self.hashed.extend_from_slice(&offset.0.to_be_bytes());
        self.hashed.push(u8::from(value.is_some()));
        self.hashed.extend_from_slice(value.unwrap_or_default());
        self.sum = self.sum.plus(Digest::of(&self.hashed));
    }

    /// The sum so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.sum
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let is_hex = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let sum = is_hex.then(|| u128::from_str_radix(text, 16).ok());
        sum.flatten().map(Self).ok_or(NoDigest)
    }
}

/// A text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 32 hexadecimal digits")]
pub struct NoDigest;

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(records: &[(i32, i64, Option<&[u8]>)]) -> Digest {
        let mut sum = DigestSum::default();
        for (partition, offset, value) in records {
            sum.add(Partition(*partition), Offset(*offset), *value);
        }
        sum.digest()
    }

    #[test]
    fn a_digest_depends_on_each_part_of_a_record_and_on_no_order() {
        let a = (0, 1, Some(b"a".as_slice()));
        let b = (0, 2, Some(b"b".as_slice()));
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_eq!(of(&[a]).plus(of(&[b])), of(&[a, b]));
        let mut all = vec![
            of(&[]),
            of(&[a]),
            of(&[(1, 1, a.2)]),
            of(&[(0, 2, a.2)]),
            of(&[(0, 1, None)]),
            of(&[(0, 1, Some(b""))]),
            of(&[a, a]),
            of(&[a, b]),
            // The bytes of the two values, swapped.
            of(&[(0, 1, b.2), (0, 2, a.2)]),
        ];
        let distinct = all.len();
        all.sort_by_key(|digest| digest.0);
        all.dedup();
        assert_eq!(all.len(), distinct);
    }

    #[test]
    fn a_digest_is_what_any_implementation_of_xxh3_computes() {
        // python3 -c 'import xxhash; print(xxhash.xxh3_128_hexdigest(bytes(4)+bytes(8)+b"\x01"+b"value"))'
        let digest = of(&[(0, 0, Some(b"value"))]);
        assert_eq!(digest.to_string(), "e94a746647a06212d080e1c7517f21c2");
        assert_eq!(of(&[]).to_string(), "0".repeat(32));
    }

    #[test]
    fn a_digest_is_read_back() {
        let digest = of(&[(3, 4, Some(b"x"))]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for wrong in ["", "0", "+0000000000000000000000000000000", "g"] {
            assert_eq!(wrong.parse::<Digest>(), Err(NoDigest));
        }
    }
}
