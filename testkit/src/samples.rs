//! Samples: small definitions, records and offsets.

use stitch_common::cell::{CellSlot, CounterName, EventTime, Granularity};
use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint};
use stitch_common::definition::{AmountSource, CounterDefinition, Definitions, EventAttributes};
use stitch_common::event::slot;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::Record;
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::scope::Scope;

pub const BITS: RangeBits = match RangeBits::new(1) {
    Some(bits) => bits,
    None => panic!("one bit is allowed"),
};

/// `plays` by hour and in total, one per event; `bytes` in total, from an attribute.
pub fn definitions() -> Definitions {
    let counter = |name: &str, granularities: &[Granularity], amount| CounterDefinition {
        name: CounterName(name.into()),
        on: vec!["play".to_owned()],
        key: "track".to_owned(),
        granularities: granularities.to_vec(),
        amount,
    };
    let hour_and_all = [Granularity::Hour, Granularity::All];
    let plays = counter("plays", &hour_and_all, AmountSource::Fixed(1));
    let from_bytes = AmountSource::Attribute("bytes".to_owned());
    let bytes = counter("bytes", &[Granularity::All], from_bytes);
    Definitions::new(BITS, EventAttributes::default(), vec![plays, bytes])
}

pub fn everything() -> Scope {
    Scope::of_ranges(BITS.ranges().collect())
}

pub fn record(offset: i64, value: &str) -> Record {
    Record {
        offset: Offset(offset),
        timestamp_ms: None,
        key: None,
        value: Some(value.as_bytes().into()),
    }
}

pub fn offsets(of: &[(i32, i64)]) -> Offsets {
    let of = of
        .iter()
        .map(|(p, offset)| (Partition(*p), Offset(*offset)));
    Offsets(of.collect())
}

pub fn slot_at(granularity: Granularity, ms: i64) -> CellSlot {
    slot(granularity, EventTime::from_ms(ms).expect("a valid time"))
}

/// The checkpoint `a` for range 0 and `b` for all others; nothing is begun above it.
pub fn stored_checkpoint(a: i64, b: i64) -> StoredCheckpoint {
    let of = |range: RangeId| Offset(if range.0 == 0 { a } else { b });
    StoredCheckpoint {
        progress: Checkpoint::from_ranges(BITS, of),
        ceiling: Ceiling::AtCheckpoint,
        inherited: Ceiling::AtCheckpoint,
        writer: None,
    }
}
