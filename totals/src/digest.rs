//! What totals are, in one number: a sum modulo 2^128 of one hash a cell, whatever their order.
//!
//! Order-free, so that the digests of files add up to that of the whole, and any engine can compute it. Not for security:
//! it finds damage, loss and doubles, not a forger.

use stitch_common::cell::CellSlot;
use stitch_common::digest::Digest;

/// Adds up cells.
#[derive(Clone, Debug, Default)]
pub struct CellSum {
    sum: Digest,
    hashed: Vec<u8>,
}

impl CellSum {
    /// Adds a cell: the XXH3 of the counter's name, the key and the granularity's name, each behind its length in two
    /// bytes, of the bucket in milliseconds since 1970 and the total, eight bytes each; numbers are big-endian.
    ///
    /// # Panics
    /// If a name or key has 64 KiB or more.
    pub fn add(&mut self, name: &[u8], key: &[u8], slot: CellSlot, total: i64) {
        self.hashed.clear();
        for text in [name, key, slot.granularity.name().as_bytes()] {
            let length = u16::try_from(text.len()).expect("names and keys are short");
            self.hashed.extend_from_slice(&length.to_be_bytes());
            self.hashed.extend_from_slice(text);
        }
        self.hashed.extend_from_slice(&slot.bucket.0.to_be_bytes());
        self.hashed.extend_from_slice(&total.to_be_bytes());
        let hash = Digest::of(&self.hashed);
        self.sum = self.sum.plus(hash);
    }

    /// The sum so far.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Bucket, Granularity};

    type Of<'a> = (&'a str, &'a str, Granularity, i64, i64);

    fn of(cells: &[Of<'_>]) -> Digest {
        let mut sum = CellSum::default();
        for (name, key, granularity, bucket, total) in cells {
            let slot = CellSlot {
                granularity: *granularity,
                bucket: Bucket(*bucket),
            };
            sum.add(name.as_bytes(), key.as_bytes(), slot, *total);
        }
        sum.digest()
    }

    #[test]
    fn a_digest_depends_on_each_part_of_a_cell_and_on_no_order() {
        let (hour, day) = (Granularity::Hour, Granularity::Day);
        let a: Of<'_> = ("plays", "a", hour, 0, 1);
        let b: Of<'_> = ("plays", "b", hour, 0, 1);
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_eq!(of(&[a]).plus(of(&[b])), of(&[a, b]));
        let mut all = vec![
            of(&[]),
            of(&[a]),
            of(&[b]),
            of(&[a, a]),
            of(&[("play", "sa", hour, 0, 1)]),
            of(&[("plays", "a", day, 0, 1)]),
            of(&[("plays", "a", hour, 1, 1)]),
            of(&[("plays", "a", hour, 0, 2)]),
            // The totals of two cells, swapped.
            of(&[("plays", "a", hour, 0, 1), ("plays", "b", hour, 0, 2)]),
            of(&[("plays", "a", hour, 0, 2), ("plays", "b", hour, 0, 1)]),
        ];
        let distinct = all.len();
        all.sort_by_key(ToString::to_string);
        all.dedup();
        assert_eq!(all.len(), distinct);
    }

    #[test]
    fn a_digest_is_what_any_implementation_of_xxh3_computes() {
        // python3 -c 'import xxhash; print(xxhash.xxh3_128_hexdigest(b"\0\5plays\0\1a\0\4hour"+bytes(15)+b"\1"))'
        assert_eq!(
            of(&[("plays", "a", Granularity::Hour, 0, 1)]).to_string(),
            "0d96c097b11720e62d7a449bd6f1ae6e"
        );
        assert_eq!(of(&[]).to_string(), "0".repeat(32));
    }
}
