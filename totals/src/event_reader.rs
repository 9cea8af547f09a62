//! What records of the log add to which cells, as far as they are in scope. One decoder serves processor and
//! restorator, so both count the same.

use stitch_common::cell::{Amount, Granularity};
use stitch_common::definition::Definitions;
use stitch_common::event::{Decoded, Decoder, Event, slot};
use stitch_common::ports::Record;
use stitch_common::range::{RangeBits, RangeId};

use crate::scan_key::{PackedSlot, ScanKey};
use stitch_common::scope::Scope;

/// Reads records for one scope.
#[derive(Clone, Debug)]
pub struct EventReader {
    decoder: Decoder,
    granularities: Vec<Vec<Granularity>>,
    bits: RangeBits,
    scope: Scope,
}

/// What one event adds to one counter.
#[derive(Clone, Copy, Debug)]
pub struct Contribution<'a> {
    /// The counter's range.
    pub range: RangeId,
    /// The counter.
    pub place: &'a ScanKey,
    /// Its cells.
    pub slots: &'a [PackedSlot],
    /// How much is added to each; not 0.
    pub amount: Amount,
}

impl EventReader {
    /// Reads by these definitions what is in this scope.
    #[must_use]
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

    /// Tells `each` what `record` adds in scope. A record that counts nowhere adds nothing, and so does an amount of 0.
    pub fn read(&self, record: &Record, mut each: impl FnMut(Contribution<'_>)) {
        let event = match self.decoder.decode(record.value.as_deref()) {
            Decoded::Event(event) => event,
            Decoded::Ignored | Decoded::Rejected(_) => return,
        };
        let Event { time, increments } = event;
        let mut slots = Vec::with_capacity(Granularity::EVERY.len());
        for increment in increments {
            if increment.amount.is_zero() || !self.scope.has_counter(&increment.counter) {
                continue;
            }
            let place = ScanKey::of(increment.counter);
            let range = self.bits.range_of(place.token());
            if !self.scope.has_range(range) {
                continue;
            }
            slots.clear();
            let granularities = &self.granularities[increment.definition];
            slots.extend(granularities.iter().map(|granularity| {
                PackedSlot::pack(slot(*granularity, time)).expect("buckets start at a full hour")
            }));
            each(Contribution {
                range,
                place: &place,
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
    use stitch_testkit::samples;

    fn additions(events: &EventReader, value: &str) -> Vec<(String, usize, i64)> {
        let mut found = Vec::new();
        events.read(&samples::record(0, value), |contribution| {
            let counter = contribution.place.counter().to_string();
            assert_eq!(
                contribution.range,
                samples::BITS.range_of(contribution.place.token())
            );
            found.push((counter, contribution.slots.len(), contribution.amount.0));
        });
        found
    }

    #[test]
    fn an_event_adds_to_every_cell_of_every_counter_that_lists_it() {
        let events = EventReader::new(&samples::definitions(), &samples::everything());
        let found = additions(
            &events,
            r#"{"type":"play","time":0,"track":"a","bytes":-7}"#,
        );
        assert_eq!(
            found,
            [("bytes/a".to_owned(), 1, -7), ("plays/a".to_owned(), 2, 1)]
        );
        assert!(additions(&events, r#"{"type":"play","time":0}"#).is_empty());
    }

    #[test]
    fn an_amount_of_zero_adds_nothing_and_touches_nothing() {
        let events = EventReader::new(&samples::definitions(), &samples::everything());
        let found = additions(&events, r#"{"type":"play","time":0,"track":"a","bytes":0}"#);
        assert_eq!(found, [("plays/a".to_owned(), 2, 1)]);
    }

    #[test]
    fn only_what_is_in_scope_is_read() {
        let value = r#"{"type":"play","time":0,"track":"a","bytes":3}"#;
        let mut scope = samples::everything();
        scope.counter = Some(CounterName("plays".into()));
        let read =
            |scope: &Scope| additions(&EventReader::new(&samples::definitions(), scope), value);
        assert_eq!(read(&scope), [("plays/a".to_owned(), 2, 1)]);
        scope.key = Some(Key("b".into()));
        assert!(read(&scope).is_empty(), "another key");
        scope.key = None;
        let range = samples::BITS.range_of(Counter::new("plays", "a").token());
        (scope.first, scope.last) = (range, range);
        assert_eq!(read(&scope).len(), 1);
        let other = RangeId((range.0 + 1) % samples::BITS.count());
        (scope.first, scope.last) = (other, other);
        assert!(read(&scope).is_empty(), "another range");
    }
}
