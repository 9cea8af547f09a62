//! The events of a history: their text, their amounts, and the cells that they add to.

use stitch_common::cell::{CellSlot, Counter, EventTime, Granularity};
use stitch_common::offset::Partition;

use super::{Checker, Contribution, Event};
use crate::trace::{Actor, Tracepoint};
use crate::world::World;

/// The keys of events: few, so that events share cells.
pub(crate) const KEYS: [&str; 4] = ["u", "v", "w", "x"];
const HOUR_MS: i64 = 3_600_000;
/// The most events of a history: each has a bit of its own.
pub(crate) const EVENTS_MAX: usize = 60;

/// The amount that the event of this number adds to each of its cells.
pub(super) fn amount(event: usize) -> i64 {
    1_i64 << event.min(EVENTS_MAX)
}

/// The text of an event. Counter `a` counts by the first key, by hour and in total; counter `b` by the second, in total.
fn value_of(event: usize, a: usize, b: usize) -> String {
    let (time, amount) = (time(event), amount(event));
    format!(
        r#"{{"type":"e","time":{time},"a":"{}","b":"{}","n":{amount}}}"#,
        KEYS[a], KEYS[b]
    )
}

fn time(event: usize) -> i64 {
    if event.is_multiple_of(3) { HOUR_MS } else { 0 }
}

fn slot(granularity: Granularity, ms: i64) -> CellSlot {
    let time = EventTime::from_ms(ms).expect("an hour of 1970");
    CellSlot {
        granularity,
        bucket: granularity.bucket(time),
    }
}

impl Checker {
    /// Adds an event that is about to be produced, and returns its text.
    fn add_event(&mut self, position: (i32, i64), a: usize, b: usize) -> String {
        let index = self.events.len();
        let ms = time(index);
        let (by_a, by_b) = (Counter::new("a", KEYS[a]), Counter::new("b", KEYS[b]));
        let cells = [
            (&by_a, slot(Granularity::All, 0)),
            (&by_a, slot(Granularity::Hour, ms)),
            (&by_b, slot(Granularity::All, 0)),
        ];
        let contributions =
            cells.map(|(counter, slot)| (self.cell(counter, slot), Contribution::default()));
        self.events.push(Event {
            partition: position.0,
            offset: position.1,
            contributions: contributions.into(),
        });
        self.records.insert(position, Some(index));
        value_of(index, a, b)
    }
}

impl World {
    /// Produces an event with these keys, or a record that is rejected.
    pub(crate) fn produce(&self, partition: usize, keys: Option<(usize, usize)>) {
        let partition = Partition(i32::try_from(partition).unwrap_or(i32::MAX));
        let offset = self.kafka.log.borrow().end(partition).0;
        let position = (partition.0, offset);
        let value = match keys {
            Some((a, b)) => self.checker.borrow_mut().add_event(position, a, b),
            None => {
                self.checker.borrow_mut().records.insert(position, None);
                r#"{"type":"e"}"#.to_owned()
            }
        };
        self.record(Actor::World, Tracepoint::Event, || {
            format!("partition {partition}, offset {offset}: {value}")
        });
        self.append(partition, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::cell::Amount;
    use stitch_common::ports::CounterBatch;
    use stitch_common::range::RangeBits;

    #[test]
    fn a_sum_shows_which_events_are_in_it() {
        let mut checker = Checker::new(RangeBits::new(0).unwrap());
        for offset in 0..3 {
            checker.add_event((0, offset), 0, 1);
        }
        let batch = CounterBatch {
            counter: Counter::new("a", "u"),
            amounts: vec![(slot(Granularity::All, 0), Amount(0b101))],
        };
        let events: Vec<_> = checker
            .contributions_of(&batch)
            .iter()
            .map(|of| of.0)
            .collect();
        assert_eq!(events, [0, 2]);
    }
}
