//! Checks our Murmur3 tokens against the driver's.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use scylla::routing::partitioner::{Murmur3Partitioner, Partitioner, PartitionerHasher};
use stitch_common::token::{Token, murmur3};

/// The driver's token of a key as Cassandra serialises it.
fn by_the_driver(components: &[&[u8]]) -> Token {
    let mut hasher = Murmur3Partitioner.build_hasher();
    if let [single] = components {
        hasher.write(single);
    } else {
        for component in components {
            let length = u16::try_from(component.len()).unwrap();
            hasher.write(&length.to_be_bytes());
            hasher.write(component);
            hasher.write(&[0]);
        }
    }
    Token(hasher.finish().value())
}

proptest! {
    #[test]
    fn tokens_are_those_of_the_driver(components in vec(vec(any::<u8>(), 0..70), 1..4)) {
        let components: Vec<&[u8]> = components.iter().map(Vec::as_slice).collect();
        assert_eq!(murmur3(&components), by_the_driver(&components));
    }
}
