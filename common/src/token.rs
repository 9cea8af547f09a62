//! Murmur3 tokens as Cassandra's `Murmur3Partitioner` computes them: the first half of MurmurHash3 x64 128 with seed 0,
//! with the two peculiarities of `org.apache.cassandra.utils.MurmurHash`. The Cassandra adapter's tests compare them with
//! the driver's and with a server's.

use serde::{Deserialize, Serialize};

/// A token of Cassandra's Murmur3 partitioner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub i64);

impl Token {
    /// A key of 16 bytes with this token: the hash of one block is invertible. For the smallest token, which no key has,
    /// a key of the largest.
    #[must_use]
    pub fn key(self) -> [u8; 16] {
        // Of the 128 bits of the hash the second half is free: zero.
        let h1 = self.0.cast_unsigned();
        let h2 = 0_u64.wrapping_sub(h1);
        let (h1, h2) = (unfinalise(h1.wrapping_sub(h2)), unfinalise(h2));
        let h2 = h2.wrapping_sub(h1);
        let h1 = h1.wrapping_sub(h2);
        let (h1, h2) = (h1 ^ KEY_LENGTH, h2 ^ KEY_LENGTH);
        let k2 = h2
            .wrapping_sub(0x3849_5ab5)
            .wrapping_mul(INVERSE_5)
            .wrapping_sub(h1)
            .rotate_right(31);
        let k1 = h1
            .wrapping_sub(0x52dc_e729)
            .wrapping_mul(INVERSE_5)
            .rotate_right(27);
        let mut key = [0; 16];
        key[..8].copy_from_slice(&unmix_k1(k1).to_le_bytes());
        key[8..].copy_from_slice(&unmix_k2(k2).to_le_bytes());
        key
    }

    /// The token of a composite partition key of these components.
    #[must_use]
    pub fn of_partition_key(components: &[&[u8]]) -> Self {
        murmur3(components)
    }
}

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// The token of a partition key. One component is hashed as it is; several are each preceded by their length in two
/// bytes and followed by a zero byte (`CompositeType` in Cassandra).
///
/// # Panics
/// If one of several components has 64 KiB or more.
#[must_use]
pub fn murmur3(components: &[&[u8]]) -> Token {
    if let [single] = components {
        return token_of(single);
    }
    let length: usize = components.iter().map(|component| component.len() + 3).sum();
    let mut key = Vec::with_capacity(length);
    for component in components {
        let length = u16::try_from(component.len()).expect("a key component has less than 64 KiB");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(component);
        key.push(0);
    }
    token_of(&key)
}

/// The token of a serialised partition key.
fn token_of(key: &[u8]) -> Token {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, rest) = key.as_chunks::<16>();
    for block in blocks {
        let (low, high) = block.split_at(8);
        h1 ^= mix_k1(block_of(low));
        h1 = h1.rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix_k2(block_of(high));
        h2 = h2.rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = rest.split_at(rest.len().min(8));
    h2 ^= mix_k2(tail_of(high));
    h1 ^= mix_k1(tail_of(low));
    let length = key.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finalise(h1);
    h2 = finalise(h2);
    match h1.wrapping_add(h2).cast_signed() {
        // The smallest token means "before the ring" in Cassandra, so no key has it.
        i64::MIN => Token(i64::MAX),
        token => Token(token),
    }
}

fn block_of(bytes: &[u8]) -> u64 {
    let bytes = bytes.try_into().expect("half a block has eight bytes");
    u64::from_le_bytes(bytes)
}

/// The bytes after the last block. Cassandra treats them as signed: each negative one inverts all bits above it.
fn tail_of(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().fold(0, |tail, (at, byte)| {
        let signed = i64::from(byte.cast_signed());
        tail ^ (signed.cast_unsigned() << (8 * at))
    })
}

const fn mix_k1(k1: u64) -> u64 {
    k1.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

const fn mix_k2(k2: u64) -> u64 {
    k2.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

const fn finalise(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The number that undoes a multiplication by an odd one.
const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of right bits each time, from three.
    let mut inverse = odd;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

const KEY_LENGTH: u64 = 16;
const INVERSE_5: u64 = inverse(5);

const fn unmix_k1(k1: u64) -> u64 {
    k1.wrapping_mul(inverse(C2))
        .rotate_right(31)
        .wrapping_mul(inverse(C1))
}

const fn unmix_k2(k2: u64) -> u64 {
    k2.wrapping_mul(inverse(C1))
        .rotate_right(33)
        .wrapping_mul(inverse(C2))
}

const fn unfinalise(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(inverse(0xc4ce_b9fe_1a85_ec53));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(inverse(0xff51_afd7_ed55_8ccd));
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::*;

    #[test]
    fn a_key_of_the_outermost_tokens_is_found() {
        for token in [i64::MIN + 1, -1, 0, 1, i64::MAX] {
            assert_eq!(murmur3(&[&Token(token).key()]), Token(token));
        }
        assert_eq!(murmur3(&[&Token(i64::MIN).key()]), Token(i64::MAX));
    }

    proptest! {
        #[test]
        fn a_key_of_any_token_is_found(token in i64::MIN + 1..=i64::MAX) {
            assert_eq!(murmur3(&[&Token(token).key()]), Token(token));
        }
    }

    /// Tokens of the driver, which agree with `SELECT token(…)` of Cassandra 5.0.
    #[test]
    fn tokens_equal_those_of_cassandra() {
        let key = "żółw, a key of more than sixteen bytes";
        let expected: [(&[&[u8]], i64); 5] = [
            (&[b""], 0),
            (&[b"one"], -2_185_253_002_697_728_334),
            (&[&[0xff; 40]], 3_295_903_915_886_194_887),
            (&[b"plays", b"a"], 171_038_992_382_022_967),
            (&[b"plays", key.as_bytes()], -247_991_140_010_386_424),
        ];
        for (components, token) in expected {
            assert_eq!(murmur3(components), Token(token), "{components:?}");
        }
    }
}
