use stitch_common::checkpoint::Checkpoint;

use super::*;

const PARTITION: Partition = Partition(0);
const LAGGING_AFTER: Duration = Duration::from_secs(5);

fn bits() -> RangeBits {
    RangeBits::new(2).unwrap()
}

fn second(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(1000 + seconds))
}

fn bounds(end: i64) -> BTreeMap<Partition, Bounds> {
    let bounds = Bounds {
        begin: Offset(0),
        end: Offset(end),
    };
    BTreeMap::from([(PARTITION, bounds)])
}

/// Counted up to here, all but range 3, which is 10 records behind.
fn counted(offset: i64) -> Glance {
    let of = |range: RangeId| Offset(if range.0 == 3 { offset - 10 } else { offset });
    let progress = Checkpoint::from_ranges(bits(), of);
    Glance {
        partitions: BTreeMap::from([(PARTITION, Some(progress))]),
        ..Glance::default()
    }
}

fn history(ends: &[(u64, i64)]) -> History {
    let mut history = History::new(LAGGING_AFTER);
    for (seconds, end) in ends {
        history.add(second(*seconds), bounds(*end));
    }
    history
}

fn of(glance: &Glance, history: &History, range: u16) -> (State, Option<u64>) {
    let board = FreshnessSnapshot::new(bits(), glance, &BTreeSet::new(), history);
    let Freshness {
        state,
        behind_events,
    } = board.of(RangeId(range), history.latest());
    (state, behind_events)
}

#[test]
fn what_is_counted_is_live_and_a_backlog_is_a_number_before_it_is_a_lag() {
    let history = history(&[(0, 100), (1, 150)]);
    assert_eq!(of(&counted(150), &history, 0), (State::Live, Some(0)));
    assert_eq!(of(&counted(120), &history, 0), (State::Live, Some(30)));
}

#[test]
fn events_that_wait_longer_than_is_usual_are_a_lag() {
    let seen = [(0, 100), (3, 200), (6, 300), (7, 400)];
    let history = history(&seen);
    // What was in the log 5 s ago is counted, so this one keeps up.
    assert_eq!(of(&counted(100), &history, 0), (State::Live, Some(300)));
    assert_eq!(of(&counted(99), &history, 0), (State::Lagging, Some(301)));
    assert_eq!(of(&counted(100), &history, 3), (State::Lagging, Some(310)));
}

#[test]
fn at_first_sight_a_backlog_is_a_lag() {
    let history = history(&[(0, 1_000_000)]);
    assert_eq!(of(&counted(10), &history, 0).0, State::Lagging);
}

#[test]
fn a_partition_of_which_nothing_is_counted_is_behind_by_all_of_it() {
    let history = history(&[(0, 70), (6, 70)]);
    assert_eq!(
        of(&Glance::default(), &history, 1),
        (State::Lagging, Some(70))
    );
}

#[test]
fn only_what_is_old_enough_is_kept_of_the_past() {
    let mut history = History::new(LAGGING_AFTER);
    for now in 0..1000 {
        history.add(second(now), bounds(0));
    }
    assert_eq!(history.seen.len(), 6);
}

#[test]
fn what_may_have_made_counts_wrong_is_told_range_by_range() {
    let history = history(&[(0, 100)]);
    let mut glance = counted(110);
    glance.marked.insert(RangeId(1));
    glance.locked.insert(RangeId(2));
    let states = |glance: &Glance| [0, 1, 2, 3].map(|range| of(glance, &history, range).0);
    assert_eq!(
        states(&glance),
        [State::Live, State::Uncertain, State::Restoring, State::Live]
    );
    // What a dead member sent may be in any range.
    glance.dead_members = 1;
    let uncertain = State::Uncertain;
    assert_eq!(
        states(&glance),
        [uncertain, uncertain, State::Restoring, uncertain]
    );
    let unverified = BTreeSet::from([RangeId(0)]);
    let board = FreshnessSnapshot::new(bits(), &counted(110), &unverified, &history);
    assert_eq!(board.of(RangeId(0), second(0)).state, State::Uncertain);
    assert_eq!(board.of(RangeId(1), second(0)).state, State::Live);
}

#[test]
fn what_was_seen_too_long_ago_is_not_told() {
    let history = history(&[(0, 100)]);
    let board = FreshnessSnapshot::new(bits(), &counted(110), &BTreeSet::new(), &history);
    assert_eq!(board.of(RangeId(0), second(9)).state, State::Live);
    assert_eq!(board.of(RangeId(0), second(10)), Freshness::UNKNOWN);
    assert_eq!(
        FreshnessSnapshot::blank(bits()).of(RangeId(0), second(0)),
        Freshness::UNKNOWN
    );
}

#[test]
fn of_several_the_one_that_there_is_most_to_say_about_is_told() {
    let history = history(&[(0, 100)]);
    let mut glance = counted(100);
    glance.marked.insert(RangeId(1));
    let board = FreshnessSnapshot::new(bits(), &glance, &BTreeSet::new(), &history);
    let (whole, states) = board.summary(second(0));
    assert_eq!(
        (whole.state, whole.behind_events),
        (State::Uncertain, Some(10))
    );
    assert_eq!(
        states,
        BTreeMap::from([(State::Live, 2), (State::Uncertain, 1), (State::Lagging, 1)])
    );
}
