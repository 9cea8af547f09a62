//! Murmur3 tokens as Cassandra's partitioner computes them, by the driver's own hasher.

use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner, PartitionerHasher};

use crate::range::Token;

/// The token of a partition key. One component is hashed as it is; several are each preceded by their length in two
/// bytes and followed by a zero byte (`CompositeType` in Cassandra).
#[must_use]
pub fn murmur3(components: &[&[u8]]) -> Token {
    let mut hasher = Murmur3Partitioner.build_hasher();
    if let [single] = components {
        hasher.write(single);
    } else {
        for component in components {
            let length =
                u16::try_from(component.len()).expect("a key component has less than 64 KiB");
            hasher.write(&length.to_be_bytes());
            hasher.write(component);
            hasher.write(&[0]);
        }
    }
    Token(hasher.finish().value())
}
