//! What is answered: the events of one Kafka partition in one range, in the order of their offsets (rule P5).
//!
//! An event has one *part* for each counter of the range that it increments (more, once a refused batch was split). Its
//! state is what its parts have come to; progress is the first event that is not answered.

use std::collections::VecDeque;

use stitch_common::offset::Offset;

/// An event's number within its track, counting up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSeq(u64);

/// The events of one partition in one range that are not all answered yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AckTracker {
    /// How many events have left at the front: the place of the first one.
    left: u64,
    events: VecDeque<Tracked>,
    /// The highest event of which something is on its way, applied, unknown or given up. None below the front.
    highest_begun: Option<EventSeq>,
    /// The offset behind the last event of which anything is applied, unknown or given up.
    behind: Offset,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Tracked {
    offset: Offset,
    /// Parts that are not answered.
    open: u32,
    /// Parts that are on their way to the store.
    in_flight: u32,
    /// Whether something of it is applied, unknown or given up: then it must be finished here.
    begun: bool,
}

impl AckTracker {
    /// Takes in an event of `parts` parts behind all others.
    pub fn ingest(&mut self, offset: Offset, parts: u32) -> EventSeq {
        debug_assert!(self.events.back().is_none_or(|last| last.offset < offset));
        self.events.push_back(Tracked {
            offset,
            open: parts,
            in_flight: 0,
            begun: false,
        });
        EventSeq(self.left + self.events.len() as u64 - 1)
    }

    /// A part was divided in two.
    pub fn divided(&mut self, place: EventSeq) {
        self.at(place).open += 1;
    }

    /// A part is on its way.
    pub fn sent(&mut self, place: EventSeq) {
        self.at(place).in_flight += 1;
        self.highest_begun = self.highest_begun.max(Some(place));
    }

    /// A part that was on its way certainly is not and will not be applied.
    pub fn came_back(&mut self, place: EventSeq) {
        self.at(place).in_flight -= 1;
        if self.highest_begun == Some(place) {
            let begun = |event: &Tracked| event.begun || event.in_flight > 0;
            let highest = self.events.iter().rposition(begun);
            self.highest_begun = highest.map(|index| EventSeq(self.left + index as u64));
        }
    }

    /// A part that was on its way is applied: answered.
    pub fn applied(&mut self, place: EventSeq) {
        let event = self.at(place);
        event.in_flight -= 1;
        event.open -= 1;
        self.began(place);
        self.leave();
    }

    /// It is unknown what became of a part that was on its way. Not answered before [`AckTracker::marked`].
    pub fn unknown(&mut self, place: EventSeq) {
        self.at(place).in_flight -= 1;
        self.began(place);
    }

    /// A mark made after an unknown part was sent is in ZooKeeper: answered.
    pub fn marked(&mut self, place: EventSeq) {
        let event = self.at(place);
        debug_assert!(event.begun);
        event.open -= 1;
        self.leave();
    }

    /// A part that is not on its way will not be sent: its cell is suspect, the part answered.
    pub fn given_up(&mut self, place: EventSeq) {
        self.at(place).open -= 1;
        self.highest_begun = self.highest_begun.max(Some(place));
        self.began(place);
        self.leave();
    }

    /// Whether a part may be begun although the range yields or the partition is handed over: only what lies below the
    /// highest begun event, so that progress can stand exactly behind that.
    #[must_use]
    pub fn must_finish(&self, place: EventSeq) -> bool {
        self.highest_begun.is_some_and(|highest| place <= highest)
    }

    /// Whether nothing of any event here is on its way, applied or unknown: progress stands exactly behind all that
    /// was begun.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        self.highest_begun.is_none()
    }

    /// Every event below this offset is answered. `taken_in` is the place up to which the partition was taken in.
    #[must_use]
    pub fn progress(&self, taken_in: Offset) -> Offset {
        self.events.front().map_or(taken_in, |first| first.offset)
    }

    /// Where progress must at least stand before the range or the partition may be let go.
    #[must_use]
    pub const fn behind(&self) -> Offset {
        self.behind
    }

    /// How many events are not answered, or lie behind one that is not.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    fn at(&mut self, place: EventSeq) -> &mut Tracked {
        let index = place
            .0
            .checked_sub(self.left)
            .and_then(|index| usize::try_from(index).ok());
        let event = index.and_then(|index| self.events.get_mut(index));
        event.expect("a part that is not answered keeps its event in the track")
    }

    /// As if something of the last event had been applied: then all before it must be finished.
    #[cfg(test)]
    pub(crate) fn begin_last(&mut self) {
        let last = EventSeq(self.left + self.events.len() as u64 - 1);
        self.highest_begun = Some(last);
        self.began(last);
    }

    fn began(&mut self, place: EventSeq) {
        let event = self.at(place);
        event.begun = true;
        let behind = event.offset.next();
        self.behind = self.behind.max(behind);
    }

    fn leave(&mut self) {
        while self.events.front().is_some_and(|first| first.open == 0) {
            self.events.pop_front();
            self.left += 1;
        }
        if self
            .highest_begun
            .is_some_and(|EventSeq(highest)| highest < self.left)
        {
            self.highest_begun = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(offsets: &[i64]) -> (AckTracker, Vec<EventSeq>) {
        let mut track = AckTracker::default();
        let places = offsets
            .iter()
            .map(|&offset| track.ingest(Offset(offset), 1))
            .collect();
        (track, places)
    }

    #[test]
    fn progress_never_passes_an_unanswered_event() {
        let (mut track, places) = track(&[3, 5, 9]);
        assert_eq!(track.progress(Offset(20)), Offset(3));
        for &place in &places {
            track.sent(place);
        }
        track.applied(places[1]);
        track.applied(places[2]);
        assert_eq!(track.progress(Offset(20)), Offset(3));
        track.applied(places[0]);
        assert_eq!(track.progress(Offset(20)), Offset(20));
        assert!(track.is_settled());
    }

    #[test]
    fn an_unknown_part_is_answered_by_a_mark_and_not_before() {
        let (mut track, places) = track(&[3]);
        track.sent(places[0]);
        track.unknown(places[0]);
        assert_eq!(track.progress(Offset(20)), Offset(3));
        assert!(!track.is_settled());
        track.marked(places[0]);
        assert_eq!(track.progress(Offset(20)), Offset(20));
        assert!(track.is_settled());
    }

    #[test]
    fn an_event_is_answered_when_all_its_parts_are() {
        let mut track = AckTracker::default();
        let place = track.ingest(Offset(7), 2);
        track.divided(place);
        for _ in 0..3 {
            assert_eq!(track.progress(Offset(8)), Offset(7));
            track.sent(place);
            track.applied(place);
        }
        assert_eq!(track.progress(Offset(8)), Offset(8));
    }

    #[test]
    fn only_what_lies_below_the_highest_begun_event_must_be_finished() {
        let (mut track, places) = track(&[1, 2, 3]);
        assert!(!track.must_finish(places[0]));
        track.sent(places[1]);
        assert!(track.must_finish(places[0]));
        assert!(!track.must_finish(places[2]));
        track.came_back(places[1]);
        assert!(
            !track.must_finish(places[0]),
            "what is known not to be applied was not begun"
        );
        assert!(track.is_settled());
    }

    #[test]
    fn what_came_back_leaves_lower_events_begun() {
        let (mut track, places) = track(&[1, 2, 3, 4]);
        track.sent(places[1]);
        track.sent(places[3]);
        track.applied(places[1]);
        track.came_back(places[3]);
        assert!(track.must_finish(places[0]));
        assert!(!track.must_finish(places[2]));
        assert!(!track.is_settled());
    }

    #[test]
    fn an_event_that_was_partly_applied_stays_begun_when_the_rest_comes_back() {
        let mut track = AckTracker::default();
        let place = track.ingest(Offset(7), 2);
        track.sent(place);
        track.sent(place);
        track.applied(place);
        track.came_back(place);
        assert!(track.must_finish(place));
        track.given_up(place);
        assert!(track.is_settled());
        assert_eq!(track.progress(Offset(8)), Offset(8));
    }
}
