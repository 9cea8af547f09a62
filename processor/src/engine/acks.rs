//! Acknowledgements: the events of one Kafka partition in one range, by the turn of the range that sends them (rule P5).
//!
//! Events of one turn are not distinguished: what they add to one counter and bucket is one contribution. So memory grows with
//! the cells that wait, and not with the events. The checkpoint is the first event of the first turn with an unacknowledged
//! contribution, and a turn is begun and finished as a whole.

use std::collections::VecDeque;

use stitch_common::offset::Offset;

/// Why a tracker has the turn that it is asked for.
const TRACKED: &str = "a turn stays in the tracker until its contributions are acknowledged";

/// Numbers the turns of one range, counting up by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TurnNumber(pub u64);

impl TurnNumber {
    /// The number of the turn after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Tracks the events of one partition in one range until they are acknowledged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AckTracker {
    /// By number. Few: most of what waits is in the last one.
    turns: VecDeque<TurnAcks>,
    /// The highest turn with a contribution in flight, applied, unknown or given up. `None` below the front.
    highest_begun: Option<TurnNumber>,
    /// The offset behind the last event of the turns with a contribution applied, unknown or given up.
    begun_end: Offset,
    /// The first event that was set aside: neither it nor any later one is here.
    set_aside: Option<Offset>,
}

/// The partition's events of one turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TurnAcks {
    number: TurnNumber,
    first: Offset,
    last: Offset,
    events: usize,
    /// Contributions that are not acknowledged.
    open: usize,
    in_flight: usize,
    /// Whether a contribution is applied, unknown or given up: then the turn must be finished here.
    begun: bool,
}

impl AckTracker {
    /// Adds an event behind all others, to this turn. Its contributions follow ([`AckTracker::add_contribution`]), except
    /// those that fold into others of the turn.
    pub fn ingest(&mut self, turn: TurnNumber, offset: Offset) {
        debug_assert!(self.set_aside.is_none());
        match self.turns.back_mut() {
            Some(last) if last.number == turn => {
                debug_assert!(last.last < offset && last.in_flight == 0 && !last.begun);
                last.last = offset;
                last.events += 1;
            }
            before => {
                debug_assert!(before.is_none_or(|last| last.number < turn && last.last < offset));
                self.turns.push_back(TurnAcks {
                    number: turn,
                    first: offset,
                    last: offset,
                    events: 1,
                    open: 0,
                    in_flight: 0,
                    begun: false,
                });
            }
        }
    }

    /// Adds a contribution to this turn, or divides one in two.
    pub fn add_contribution(&mut self, turn: TurnNumber) {
        self.at(turn).open += 1;
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

    /// Records that a contribution is sent.
    pub fn send(&mut self, turn: TurnNumber) {
        self.at(turn).in_flight += 1;
        self.highest_begun = self.highest_begun.max(Some(turn));
    }

    /// Takes back a contribution in flight that certainly was not and will not be applied.
    pub fn take_back(&mut self, turn: TurnNumber) {
        self.at(turn).in_flight -= 1;
        if self.highest_begun == Some(turn) {
            let begun = |turn: &&TurnAcks| turn.begun || turn.in_flight > 0;
            let highest = self.turns.iter().rfind(begun);
            self.highest_begun = highest.map(|turn| turn.number);
        }
    }

    /// Acknowledges a contribution in flight that is applied.
    pub fn ack(&mut self, turn: TurnNumber) {
        let acks = self.at(turn);
        acks.in_flight -= 1;
        acks.open -= 1;
        self.begin(turn);
        self.remove_acked();
    }

    /// Records that the outcome of a contribution in flight is unknown. It is acknowledged by
    /// [`AckTracker::ack_recorded`], not before.
    pub fn doubt(&mut self, turn: TurnNumber) {
        self.at(turn).in_flight -= 1;
        self.begin(turn);
    }

    /// Acknowledges a contribution of unknown outcome, or one that was given up: an in-doubt marker, or a doubt, made
    /// after that is in ZooKeeper.
    pub fn ack_recorded(&mut self, turn: TurnNumber) {
        let acks = self.at(turn);
        debug_assert!(acks.begun);
        acks.open -= 1;
        self.remove_acked();
    }

    /// Records that a contribution, which is not in flight, will not be sent: its cell is suspect. It is acknowledged by
    /// [`AckTracker::ack_recorded`], not before.
    pub fn give_up(&mut self, turn: TurnNumber) {
        self.highest_begun = self.highest_begun.max(Some(turn));
        self.begin(turn);
    }

    /// Whether a contribution may be sent although the range yields or the partition drains: only up to the highest
    /// turn that was begun, so that the checkpoint can be exactly behind it.
    #[must_use]
    pub fn must_finish(&self, turn: TurnNumber) -> bool {
        self.highest_begun.is_some_and(|highest| turn <= highest)
    }

    /// Whether no turn has anything in flight, applied or unknown: the checkpoint is exactly behind what was begun.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.highest_begun.is_none()
    }

    /// The offset below which every event is acknowledged. `ingested_end` is the offset up to which the partition's
    /// records are ingested.
    #[must_use]
    pub fn checkpoint(&self, ingested_end: Offset) -> Offset {
        let first = self.turns.front().map(|first| first.first);
        first.or(self.set_aside).unwrap_or(ingested_end)
    }

    /// The offset that the checkpoint must reach before the range or the partition may be released.
    #[must_use]
    pub const fn begun_end(&self) -> Offset {
        self.begun_end
    }

    /// The offsets of the first and the last event of a turn.
    pub(super) fn offsets(&self, turn: TurnNumber) -> (Offset, Offset) {
        let acks = &self.turns[self.index(turn)];
        (acks.first, acks.last)
    }

    /// How many events are in turns that are not acknowledged, or follow one that is not.
    pub(super) fn events(&self) -> usize {
        self.turns.iter().map(|turn| turn.events).sum()
    }

    /// How many contributions are not acknowledged.
    pub(super) fn contributions(&self) -> usize {
        self.turns.iter().map(|turn| turn.open).sum()
    }

    fn at(&mut self, turn: TurnNumber) -> &mut TurnAcks {
        let index = self.index(turn);
        &mut self.turns[index]
    }

    fn index(&self, turn: TurnNumber) -> usize {
        let found = self.turns.binary_search_by_key(&turn, |acks| acks.number);
        found.expect(TRACKED)
    }

    /// Begins this turn, as if a contribution had been applied: then all of it must be finished.
    #[cfg(test)]
    pub(super) fn begin_as_if_applied(&mut self, turn: TurnNumber) {
        self.highest_begun = Some(turn);
        self.begin(turn);
    }

    fn begin(&mut self, turn: TurnNumber) {
        let acks = self.at(turn);
        acks.begun = true;
        let end = acks.last.next();
        self.begun_end = self.begun_end.max(end);
    }

    fn remove_acked(&mut self) {
        while self.turns.pop_front_if(|first| first.open == 0).is_some() {}
        let first = self.turns.front().map(|first| first.number);
        if first.is_none_or(|first| self.highest_begun < Some(first)) {
            self.highest_begun = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of one event and one contribution each.
    fn tracker(offsets: &[i64]) -> (AckTracker, Vec<TurnNumber>) {
        let mut tracker = AckTracker::default();
        let turns: Vec<_> = (0..).map(TurnNumber).take(offsets.len()).collect();
        for (&turn, &offset) in turns.iter().zip(offsets) {
            tracker.ingest(turn, Offset(offset));
            tracker.add_contribution(turn);
        }
        (tracker, turns)
    }

    /// One turn with this many contributions of one event.
    fn turn_of(contributions: usize) -> (AckTracker, TurnNumber) {
        let (mut tracker, turns) = tracker(&[7]);
        for _ in 1..contributions {
            tracker.add_contribution(turns[0]);
        }
        (tracker, turns[0])
    }

    #[test]
    fn the_checkpoint_never_passes_an_unacknowledged_turn() {
        let (mut tracker, turns) = tracker(&[3, 5, 9]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        for &turn in &turns {
            tracker.send(turn);
        }
        tracker.ack(turns[1]);
        tracker.ack(turns[2]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        tracker.ack(turns[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(20));
        assert!(tracker.is_drained());
    }

    #[test]
    fn a_contribution_of_unknown_outcome_is_acknowledged_by_a_marker_and_not_before() {
        let (mut tracker, turns) = tracker(&[3]);
        tracker.send(turns[0]);
        tracker.doubt(turns[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(3));
        assert!(!tracker.is_drained());
        tracker.ack_recorded(turns[0]);
        assert_eq!(tracker.checkpoint(Offset(20)), Offset(20));
        assert!(tracker.is_drained());
    }

    #[test]
    fn a_turn_is_acknowledged_when_all_its_contributions_are() {
        let (mut tracker, turn) = turn_of(3);
        for _ in 0..3 {
            assert_eq!(tracker.checkpoint(Offset(8)), Offset(7));
            tracker.send(turn);
            tracker.ack(turn);
        }
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(8));
    }

    #[test]
    fn events_of_one_turn_are_acknowledged_together_and_begun_up_to_the_last_one() {
        let (mut tracker, turn) = turn_of(1);
        for offset in [8, 12] {
            tracker.ingest(turn, Offset(offset));
        }
        assert_eq!(tracker.events(), 3);
        assert_eq!(tracker.offsets(turn), (Offset(7), Offset(12)));
        tracker.send(turn);
        assert_eq!(tracker.begun_end(), Offset(0), "nothing is applied yet");
        tracker.ack(turn);
        assert_eq!(tracker.begun_end(), Offset(13));
        assert_eq!((tracker.events(), tracker.contributions()), (0, 0));
        assert_eq!(tracker.checkpoint(Offset(14)), Offset(14));
    }

    #[test]
    fn only_turns_up_to_the_highest_begun_one_must_be_finished() {
        let (mut tracker, turns) = tracker(&[1, 2, 3]);
        assert!(!tracker.must_finish(turns[0]));
        tracker.send(turns[1]);
        assert!(tracker.must_finish(turns[0]));
        assert!(!tracker.must_finish(turns[2]));
        tracker.take_back(turns[1]);
        assert!(
            !tracker.must_finish(turns[0]),
            "a turn of which certainly nothing was applied was not begun"
        );
        assert!(tracker.is_drained());
    }

    #[test]
    fn lower_turns_stay_begun_when_a_higher_one_is_taken_back() {
        let (mut tracker, turns) = tracker(&[1, 2, 3, 4]);
        tracker.send(turns[1]);
        tracker.send(turns[3]);
        tracker.ack(turns[1]);
        tracker.take_back(turns[3]);
        assert!(tracker.must_finish(turns[0]));
        assert!(!tracker.must_finish(turns[2]));
        assert!(!tracker.is_drained());
    }

    #[test]
    fn a_partly_applied_turn_stays_begun_when_the_rest_is_taken_back() {
        let (mut tracker, turn) = turn_of(2);
        tracker.send(turn);
        tracker.send(turn);
        tracker.ack(turn);
        tracker.take_back(turn);
        assert!(tracker.must_finish(turn));
        tracker.give_up(turn);
        assert!(!tracker.is_drained(), "no doubt is recorded yet");
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(7));
        tracker.ack_recorded(turn);
        assert!(tracker.is_drained());
        assert_eq!(tracker.checkpoint(Offset(8)), Offset(8));
    }
}
