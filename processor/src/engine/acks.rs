//! Acknowledgements: the events of one Kafka partition in one range, in the order of their offsets (rule P5).
//!
//! An event has one contribution for each counter of the range that it increments (more, once a refused batch was
//! split). The checkpoint is the first event with an unacknowledged contribution.

use std::collections::VecDeque;

use stitch_common::offset::Offset;

/// Why a tracker has the event that it is asked for.
const TRACKED: &str = "an event stays in the tracker until its contributions are acknowledged";

/// An event's number within its tracker, counting up by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventSeq(u64);

/// Tracks the events of one partition in one range until they are acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AckTracker {
    /// How many events were removed at the front: the number of the first one.
    removed: u64,
    events: VecDeque<EventAcks>,
    /// The highest event with a contribution in flight, applied, unknown or given up. `None` below the front.
    highest_begun: Option<EventSeq>,
    /// The offset behind the last event with a contribution applied, unknown or given up.
    begun_end: Offset,
    /// The first event that was set aside: neither it nor any later one is here.
    set_aside: Option<Offset>,
    /// The number of the first event that no turn of the range has reached.
    turn_end: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EventAcks {
    offset: Offset,
    /// Contributions that are not acknowledged.
    open: u32,
    in_flight: u32,
    /// Whether a contribution is applied, unknown or given up: then the event must be finished here.
    begun: bool,
}

impl AckTracker {
    /// Adds an event of `contributions` behind all others.
    pub fn ingest(&mut self, offset: Offset, contributions: u32) -> EventSeq {
        debug_assert!(self.set_aside.is_none());
        debug_assert!(self.events.back().is_none_or(|last| last.offset < offset));
        self.events.push_back(EventAcks {
            offset,
            open: contributions,
            in_flight: 0,
            begun: false,
        });
        self.last()
    }

    /// Sets the event at `offset` aside, behind all others: the checkpoint does not pass it, so it is delivered again once
    /// the partition is acquired again. Later ones are to be set aside, too.
    pub fn set_aside(&mut self, offset: Offset) {
        self.set_aside.get_or_insert(offset);
    }

    /// Whether an event was set aside.
    #[must_use]
    pub const fn has_set_aside(&self) -> bool {
        self.set_aside.is_some()
    }

    /// How many events no turn of the range has reached.
    pub(super) fn collected(&self) -> u64 {
        self.end() - self.turn_end.max(self.removed)
    }

    /// Has the range's present turn reach this many more events.
    pub(super) fn extend_turn(&mut self, events: u64) {
        let end = self.turn_end.max(self.removed) + events;
        self.turn_end = end.min(self.end());
    }

    /// Whether a turn of the range has reached the event.
    pub(super) const fn is_of_turn(&self, seq: EventSeq) -> bool {
        seq.0 < self.turn_end
    }

    /// Divides a contribution in two.
    pub fn split(&mut self, seq: EventSeq) {
        self.at(seq).open += 1;
    }

    /// Records that a contribution is sent.
    pub fn send(&mut self, seq: EventSeq) {
        self.at(seq).in_flight += 1;
        self.highest_begun = self.highest_begun.max(Some(seq));
    }

    /// Takes back a contribution in flight that certainly was not and will not be applied.
    pub fn take_back(&mut self, seq: EventSeq) {
        self.at(seq).in_flight -= 1;
        if self.highest_begun == Some(seq) {
            let begun = |event: &EventAcks| event.begun || event.in_flight > 0;
            let highest = self.events.iter().rposition(begun);
            self.highest_begun = highest.map(|index| EventSeq(self.removed + index as u64));
        }
    }

    /// Acknowledges a contribution in flight that is applied.
    pub fn ack(&mut self, seq: EventSeq) {
        let event = self.at(seq);
        event.in_flight -= 1;
        event.open -= 1;
        self.begin(seq);
        self.remove_acked();
    }

    /// Records that the outcome of a contribution in flight is unknown. It is acknowledged by
    /// [`AckTracker::ack_recorded`], not before.
    pub fn doubt(&mut self, seq: EventSeq) {
        self.at(seq).in_flight -= 1;
        self.begin(seq);
    }

    /// Acknowledges a contribution of unknown outcome, or one that was given up: an in-doubt marker, or a doubt, made
    /// after that is in ZooKeeper.
    pub fn ack_recorded(&mut self, seq: EventSeq) {
        let event = self.at(seq);
        debug_assert!(event.begun);
        event.open -= 1;
        self.remove_acked();
    }

    /// Records that a contribution, which is not in flight, will not be sent: its cell is suspect. It is acknowledged by
    /// [`AckTracker::ack_recorded`], not before.
    pub fn give_up(&mut self, seq: EventSeq) {
        self.highest_begun = self.highest_begun.max(Some(seq));
        self.begin(seq);
    }

    /// Whether a contribution may be sent although the range yields or the partition drains: only up to the highest
    /// event that was begun, so that the checkpoint can be exactly behind it.
    #[must_use]
    pub fn must_finish(&self, seq: EventSeq) -> bool {
        self.highest_begun.is_some_and(|highest| seq <= highest)
    }

    /// Whether no event has anything in flight, applied or unknown: the checkpoint is exactly behind what was begun.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.highest_begun.is_none()
    }

    /// The offset below which every event is acknowledged. `ingested_end` is the offset up to which the partition's
    /// records are ingested.
    #[must_use]
    pub fn checkpoint(&self, ingested_end: Offset) -> Offset {
        let first = self.events.front().map(|first| first.offset);
        first.or(self.set_aside).unwrap_or(ingested_end)
    }

    /// The offset that the checkpoint must reach before the range or the partition may be released.
    #[must_use]
    pub const fn begun_end(&self) -> Offset {
        self.begun_end
    }

    /// The offset of an event.
    pub(super) fn offset(&self, seq: EventSeq) -> Offset {
        let index = seq.0.checked_sub(self.removed);
        let index = index.and_then(|index| usize::try_from(index).ok());
        let event = index.and_then(|index| self.events.get(index));
        event.map(|event| event.offset).expect(TRACKED)
    }

    /// How many events are not acknowledged, or follow one that is not.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    fn at(&mut self, seq: EventSeq) -> &mut EventAcks {
        let index = seq
            .0
            .checked_sub(self.removed)
            .and_then(|index| usize::try_from(index).ok());
        let event = index.and_then(|index| self.events.get_mut(index));
        event.expect(TRACKED)
    }

    fn end(&self) -> u64 {
        self.removed + self.events.len() as u64
    }

    fn last(&self) -> EventSeq {
        EventSeq(self.end() - 1)
    }

    /// Begins the last event of the turn, as if a contribution had been applied: then all before it must be finished.
    #[cfg(test)]
    pub(super) fn begin_last(&mut self) {
        let last = EventSeq(self.turn_end - 1);
        self.highest_begun = Some(last);
        self.begin(last);
    }

    fn begin(&mut self, seq: EventSeq) {
        let event = self.at(seq);
        event.begun = true;
        let end = event.offset.next();
        self.begun_end = self.begun_end.max(end);
    }

    fn remove_acked(&mut self) {
        while self.events.front().is_some_and(|first| first.open == 0) {
            self.events.pop_front();
            self.removed += 1;
        }
        if self
            .highest_begun
            .is_some_and(|EventSeq(highest)| highest < self.removed)
        {
            self.highest_begun = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(offsets: &[i64]) -> (AckTracker, Vec<EventSeq>) {
        let mut tracker = AckTracker::default();
        let seqs = offsets
            .iter()
            .map(|&offset| tracker.ingest(Offset(offset), 1))
            .collect();
        (tracker, seqs)
    }

    #[test]
    fn the_checkpoint_never_passes_an_unacknowledged_event() {
        let (mut tracker, seqs) = tracker(&[3, 5, 9]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        for &seq in &seqs {
            tracker.send(seq);
        }
        tracker.ack(seqs[1]);
        tracker.ack(seqs[2]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        tracker.ack(seqs[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(20));
        assert!(tracker.is_drained());
    }

    #[test]
    fn a_contribution_of_unknown_outcome_is_acknowledged_by_a_marker_and_not_before() {
        let (mut tracker, seqs) = tracker(&[3]);
        tracker.send(seqs[0]);
        tracker.doubt(seqs[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        assert!(!tracker.is_drained());
        tracker.ack_recorded(seqs[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(20));
        assert!(tracker.is_drained());
    }

    #[test]
    fn an_event_is_acknowledged_when_all_its_contributions_are() {
        let mut tracker = AckTracker::default();
        let seq = tracker.ingest(Offset(7), 2);
        tracker.split(seq);
        for _ in 0..3 {
            assert_eq!(tracker.checkpoint(Offset(8)), Offset(7));
            tracker.send(seq);
            tracker.ack(seq);
        }
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(8));
    }

    #[test]
    fn only_events_up_to_the_highest_begun_one_must_be_finished() {
        let (mut tracker, seqs) = tracker(&[1, 2, 3]);
        assert!(!tracker.must_finish(seqs[0]));
        tracker.send(seqs[1]);
        assert!(tracker.must_finish(seqs[0]));
        assert!(!tracker.must_finish(seqs[2]));
        tracker.take_back(seqs[1]);
        assert!(
            !tracker.must_finish(seqs[0]),
            "an event that was certainly not applied was not begun"
        );
        assert!(tracker.is_drained());
    }

    #[test]
    fn lower_events_stay_begun_when_a_higher_one_is_taken_back() {
        let (mut tracker, seqs) = tracker(&[1, 2, 3, 4]);
        tracker.send(seqs[1]);
        tracker.send(seqs[3]);
        tracker.ack(seqs[1]);
        tracker.take_back(seqs[3]);
        assert!(tracker.must_finish(seqs[0]));
        assert!(!tracker.must_finish(seqs[2]));
        assert!(!tracker.is_drained());
    }

    #[test]
    fn a_partly_applied_event_stays_begun_when_the_rest_is_taken_back() {
        let mut tracker = AckTracker::default();
        let seq = tracker.ingest(Offset(7), 2);
        tracker.send(seq);
        tracker.send(seq);
        tracker.ack(seq);
        tracker.take_back(seq);
        assert!(tracker.must_finish(seq));
        tracker.give_up(seq);
        assert!(!tracker.is_drained(), "no doubt is recorded yet");
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(7));
        tracker.ack_recorded(seq);
        assert!(tracker.is_drained());
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(8));
    }
}
