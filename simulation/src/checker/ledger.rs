//! What events are: their text, their amounts, and the cells that they add to.

use stitch_common::cell::{CellSlot, Counter, EventTime, Granularity};

use super::{Checker, Event, Part};
use crate::world::World;

/// The keys that events have: few, so that they meet.
pub(crate) const KEYS: [&str; 4] = ["u", "v", "w", "x"];
const HOUR_MS: i64 = 3_600_000;
/// Events of a history at most: each has a bit of its own.
pub(crate) const EVENTS_MAX: usize = 60;

/// What the event of this number adds to each of its cells.
pub(super) fn amount(event: usize) -> i64 {
    1_i64 << event.min(EVENTS_MAX)
}

/// One record's text. Counter `a` counts by its first key, by the hour and in all; counter `b` by its second, in all.
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
    /// Takes up an event that is about to be produced, and returns its record's text.
    fn event(&mut self, place: (i32, i64), a: usize, b: usize) -> String {
        let index = self.events.len();
        let ms = time(index);
        let (by_a, by_b) = (Counter::new("a", KEYS[a]), Counter::new("b", KEYS[b]));
        let cells = [
            (&by_a, slot(Granularity::All, 0)),
            (&by_a, slot(Granularity::Hour, ms)),
            (&by_b, slot(Granularity::All, 0)),
        ];
        let parts = cells.map(|(counter, slot)| (self.cell(counter, slot), Part::default()));
        self.events.push(Event {
            partition: place.0,
            offset: place.1,
            parts: parts.into(),
        });
        self.places.insert(place, Some(index));
        value_of(index, a, b)
    }
}

impl World {
    /// Produces an event with these keys, or a record that counts nowhere.
    pub(crate) fn produce(&self, partition: usize, keys: Option<(usize, usize)>) {
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        let place = (number, self.end_of(partition));
        let value = match keys {
            Some((a, b)) => self.checker.borrow_mut().event(place, a, b),
            None => {
                self.checker.borrow_mut().places.insert(place, None);
                r#"{"type":"e"}"#.to_owned()
            }
        };
        self.note(crate::notes::Who::World, crate::notes::Phase::Event, || {
            format!("partition {partition}, offset {}: {value}", place.1)
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
    fn a_sum_tells_which_events_are_in_it() {
        let mut checker = Checker::new(RangeBits::new(0).unwrap());
        for offset in 0..3 {
            checker.event((0, offset), 0, 1);
        }
        let batch = CounterBatch {
            counter: Counter::new("a", "u"),
            amounts: vec![(slot(Granularity::All, 0), Amount(0b101))],
        };
        let events: Vec<_> = checker.parts_of(&batch).iter().map(|part| part.0).collect();
        assert_eq!(events, [0, 2]);
    }
}
