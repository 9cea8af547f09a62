//! The data of ZooKeeper's nodes, which any client may write, and of manifests.

use std::fmt::Debug;

use stitch_common::checkpoint::StoredCheckpoint;
use stitch_common::ports::ObjectName;
use stitch_common::range::RangeBits;
use stitch_protocol::Error;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope::{Payload, open, seal};
use stitch_totals::manifest::{Manifest, TotalsId};

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

/// Reads manifests of totals, which anyone may write who writes the store. They name themselves by what they are of, so most
/// are refused; the id that an input begins with is tried, too.
pub(crate) fn manifest(input: &[u8]) {
    let name = ObjectName("totals/v1/n/id/manifest.json".to_owned());
    let named: Option<TotalsId> = serde_json::from_slice::<serde_json::Value>(input)
        .ok()
        .and_then(|json| Some(TotalsId(json["id"].as_str()?.to_owned())));
    for id in [Some(TotalsId("0".repeat(16))), named]
        .into_iter()
        .flatten()
    {
        match Manifest::decode(&name, &id, input) {
            Ok(manifest) => {
                let again = Manifest::decode(&name, &id, &manifest.encode());
                assert_eq!(again.ok().as_ref(), Some(&manifest));
                let rows: u64 = manifest.files.iter().map(|file| file.rows).sum();
                assert_eq!((&manifest.id, manifest.rows), (&id, rows));
            }
            Err(error) => assert!(error.to_string().contains(&name.0), "{error}"),
        }
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
