//! Reads records of the log: what each contributes to which counters in scope. Processor and restorator share one
//! decoder, so both count the same.

use stitch_common::cell::{Amount, Granularity};
use stitch_common::definition::Definitions;
use stitch_common::event::{Decoded, Decoder, Event, slot};
use stitch_common::ports::Record;
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::scope::Scope;

use crate::scan_key::{PackedSlot, ScanKey};

#[derive(Clone, Debug)]
pub struct EventReader {
    decoder: Decoder,
    /// Those of each definition.
    granularities: Vec<Vec<Granularity>>,
    bits: RangeBits,
    scope: Scope,
}

/// What one event adds to one counter.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'a> {
    /// The position of its counter's definition.
    pub definition: usize,
    pub range: RangeId,
    pub key: &'a ScanKey,
    /// The counter's cells that the event is in.
    pub slots: &'a [PackedSlot],
    /// What is added to each of them; not 0.
    pub amount: Amount,
}

impl EventReader {
    pub fn new(definitions: &Definitions, scope: &Scope) -> Self {
        let counters = definitions.counters.iter();
        Self {
            decoder: Decoder::new(definitions),
            granularities: counters
                .map(|counter| counter.granularities.clone())
                .collect(),
            bits: definitions.range_bits,
            scope: scope.clone(),
        }
    }

    /// Passes what `record` contributes in scope to `each`. A record that is ignored or rejected contributes nothing, and
    /// neither does an amount of 0.
    pub fn read(&self, record: &Record, each: impl FnMut(Contribution<'_>)) {
        self.read_value(record.value.as_deref(), each);
    }

    /// [`EventReader::read`], of a record with this value.
    pub fn read_value(&self, value: Option<&[u8]>, mut each: impl FnMut(Contribution<'_>)) {
        let event = match self.decoder.decode(value) {
            Decoded::Event(event) => event,
            Decoded::Ignored | Decoded::Rejected(_) => return,
        };
        let Event { time, increments } = event;
        let mut slots = Vec::with_capacity(Granularity::EVERY.len());
        for increment in increments {
            if increment.amount.is_zero() || !self.scope.has_counter(&increment.counter) {
                continue;
            }
            let key = ScanKey::of(increment.counter);
            let range = self.bits.range_of(key.token());
            if !self.scope.has_range(range) {
                continue;
            }
            slots.clear();
            let granularities = &self.granularities[increment.definition];
            slots.extend(granularities.iter().map(|granularity| {
                PackedSlot::pack(slot(*granularity, time))
                    .expect("the decoder rejects times without a bucket")
            }));
            each(Contribution {
                definition: increment.definition,
                range,
                key: &key,
                slots: &slots,
                amount: increment.amount,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::{Counter, CounterName, Key};
    use stitch_common::scope::RangeSet;
    use stitch_testkit::samples;

    fn contributions(reader: &EventReader, value: &str) -> Vec<(String, usize, i64)> {
        let mut found = Vec::new();
        reader.read(&samples::record(0, value), |contribution| {
            let counter = contribution.key.counter().to_string();
            assert_eq!(
                contribution.range,
                samples::BITS.range_of(contribution.key.token())
            );
            found.push((counter, contribution.slots.len(), contribution.amount.0));
        });
        found
    }

    #[test]
    fn an_event_contributes_to_every_cell_of_every_counter_that_lists_it() {
        let reader = EventReader::new(&samples::definitions(), &samples::everything());
        let found = contributions(
            &reader,
            r#"{"type":"play","time":0,"track":"a","bytes":-7}"#,
        );
        assert_eq!(
            found,
            [("bytes/a".to_owned(), 1, -7), ("plays/a".to_owned(), 2, 1)]
        );
        assert!(contributions(&reader, r#"{"type":"play","time":0}"#).is_empty());
    }

    #[test]
    fn an_amount_of_zero_contributes_nothing() {
        let reader = EventReader::new(&samples::definitions(), &samples::everything());
        let found = contributions(&reader, r#"{"type":"play","time":0,"track":"a","bytes":0}"#);
        assert_eq!(found, [("plays/a".to_owned(), 2, 1)]);
    }

    #[test]
    fn events_out_of_scope_contribute_nothing() {
        let value = r#"{"type":"play","time":0,"track":"a","bytes":3}"#;
        let mut scope = samples::everything();
        scope.counter = Some(CounterName("plays".into()));
        let read =
            |scope: &Scope| contributions(&EventReader::new(&samples::definitions(), scope), value);
        assert_eq!(read(&scope), [("plays/a".to_owned(), 2, 1)]);
        scope.key = Some(Key("b".into()));
        assert!(read(&scope).is_empty(), "another key");
        scope.key = None;
        let range = samples::BITS.range_of(Counter::new("plays", "a").token());
        scope.ranges = RangeSet::interval(range, range);
        assert_eq!(read(&scope).len(), 1);
        let other = RangeId((range.0 + 1) % samples::BITS.count());
        scope.ranges = RangeSet::interval(other, other);
        assert!(read(&scope).is_empty(), "another range");
    }
}
