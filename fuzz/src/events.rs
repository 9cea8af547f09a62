//! Records of the topic, which any producer may write.

use stitch_common::cell::{CounterName, EventTime, Granularity, Key};
use stitch_common::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use stitch_common::event::{Decoded, Decoder, slot};
use stitch_common::range::RangeBits;

fn definitions() -> Definitions {
    let counter = |name: &str, on: &[&str], key: &str, amount| CounterDefinition {
        name: CounterName(name.into()),
        on: on.iter().map(|on| (*on).to_owned()).collect(),
        key: key.to_owned(),
        granularities: Granularity::EVERY.to_vec(),
        amount,
    };
    let n = AmountSource::Attribute("n".to_owned());
    Definitions::new(
        RangeBits::new(12).expect("the finest division"),
        EventAttributes::default(),
        vec![
            counter("plays", &["play"], "track", AmountSource::Fixed(-1)),
            counter("bytes", &["play", "skip"], "user", n),
        ],
    )
}

/// Decodes a record, and derives its cells as processor and restorator do.
fn decode(definitions: &Definitions, value: &[u8]) -> Decoded {
    let decoded = Decoder::new(definitions).decode(Some(value));
    let Decoded::Event(event) = &decoded else {
        return decoded;
    };
    assert!(EventTime::from_ms(event.time.ms()).is_some());
    assert!(!event.increments.is_empty() && event.increments.len() <= definitions.counters.len());
    for increment in &event.increments {
        let key = &increment.counter.key.0;
        assert!(!key.is_empty() && key.len() <= Key::BYTES_MAX);
        // A character of a key takes at least a byte of the record, except for escapes.
        assert!(key.len() <= value.len() * 3);
        let range = definitions.range_bits.range_of(increment.counter.token());
        assert!(range.0 < definitions.range_bits.count());
        let definition = &definitions.counters[increment.definition];
        assert_eq!(definition.name, increment.counter.name);
        for &granularity in &definition.granularities {
            let slot = slot(granularity, event.time);
            assert!(slot.granularity == Granularity::All || slot.bucket.0 <= event.time.ms());
            assert!(slot.bucket.0 >= EventTime::MIN_MS);
        }
    }
    decoded
}

/// A record is counted, ignored or rejected, and always in the same way.
pub(crate) fn record(value: &[u8]) {
    let definitions = definitions();
    assert_eq!(decode(&definitions, value), decode(&definitions, value));
}

/// The same with the input as time, key and amount, separated by a zero byte.
pub(crate) fn attributes(values: &[u8]) {
    let mut parts = values.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (time, key, amount) = (part(), part(), part());
    let mut value = br#"{"type":"play","time":"#.to_vec();
    value.extend_from_slice(time);
    for (name, part) in [("track", key), ("user", key), ("n", amount)] {
        value.extend_from_slice(format!(",\"{name}\":").as_bytes());
        value.extend_from_slice(part);
    }
    value.push(b'}');
    record(&value);
}
