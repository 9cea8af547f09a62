//! The data of ZooKeeper's nodes, which any client may write.

use std::fmt::Debug;

use stitch_common::checkpoint::StoredCheckpoint;
use stitch_common::range::RangeBits;
use stitch_protocol::Error;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope::{Payload, open, seal};

const PATH: &str = "/stitch/n/node";

fn sealed(json: &[u8]) -> Vec<u8> {
    let mut bytes = json.to_vec();
    bytes.extend_from_slice(format!(" {:08x}", crc32fast::hash(json)).as_bytes());
    bytes
}

/// Opens the input as it is, with a checksum, and as the body of a valid envelope.
pub(crate) fn payload<T: Payload + PartialEq + Debug>(input: &[u8]) {
    let mut json = format!("{{\"format\":{},\"body\":", T::FORMAT).into_bytes();
    json.extend_from_slice(input);
    json.push(b'}');
    for bytes in [input.to_vec(), sealed(input), sealed(&json)] {
        match open::<T>(PATH, &bytes) {
            Ok(record) => assert_eq!(open::<T>(PATH, &seal(&record)), Ok(record)),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
                let text = error.to_string();
                assert!(text.contains(PATH) && text.contains(T::HELP), "{text}");
            }
        }
    }
}

/// The same for the definition of a namespace, with its ranges.
pub(crate) fn definition(input: &[u8]) {
    payload::<NamespaceRecord>(input);
    let mut json = format!("{{\"format\":{},\"body\":", NamespaceRecord::FORMAT).into_bytes();
    json.extend_from_slice(input);
    json.push(b'}');
    if let Ok(record) = open::<NamespaceRecord>(PATH, &sealed(&json)) {
        let bits = record.definitions.range_bits;
        let last = bits
            .ranges()
            .last()
            .map(|range| bits.interval(range).last.0);
        assert_eq!(last, Some(i64::MAX));
        assert!(
            record
                .definitions
                .differences(&record.definitions)
                .is_empty()
        );
    }
}

/// Decodes checkpoints.
pub(crate) fn checkpoint(input: &[u8]) {
    for bytes in [input.to_vec(), sealed(input)] {
        let Ok(written) = StoredCheckpoint::decode(&bytes) else {
            continue;
        };
        assert_eq!(
            StoredCheckpoint::decode(&written.encode()),
            Ok(written.clone())
        );
        for bits in [0, RangeBits::MAX].into_iter().filter_map(RangeBits::new) {
            let progress = &written.progress;
            let (lowest, highest) = (progress.lowest(bits), progress.highest(bits));
            assert!(lowest <= highest && lowest.0 >= 0);
            for range in bits.ranges() {
                assert!(written.ceiling.of(range, progress) >= progress.of(range));
            }
        }
    }
}
