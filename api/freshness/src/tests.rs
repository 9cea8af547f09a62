use stitch_common::checkpoint::Checkpoint;
use stitch_protocol::backfill::{Backfill, BackfillRecord};

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

/// Counted up to `offset`, except for range 3, which is 10 records behind.
fn counted(offset: i64) -> LightSnapshot {
    let of = |range: RangeId| Offset(if range.0 == 3 { offset - 10 } else { offset });
    let checkpoint = Checkpoint::from_ranges(bits(), of);
    LightSnapshot {
        partitions: BTreeMap::from([(PARTITION, Some(checkpoint))]),
        ..LightSnapshot::default()
    }
}

fn history(ends: &[(u64, i64)]) -> History {
    let mut history = History::new(LAGGING_AFTER);
    for (seconds, end) in ends {
        history.record(second(*seconds), bounds(*end));
    }
    history
}

fn of(snapshot: &LightSnapshot, history: &History, range: u16) -> (State, Option<u64>) {
    let snapshot = FreshnessSnapshot::new(bits(), snapshot, history);
    let Freshness {
        state,
        behind_events,
        ..
    } = snapshot.of(RangeId(range), history.latest());
    (state, behind_events)
}

#[test]
fn a_backlog_is_live_until_it_lasts_too_long() {
    let history = history(&[(0, 100), (1, 150)]);
    assert_eq!(of(&counted(150), &history, 0), (State::Live, Some(0)));
    assert_eq!(of(&counted(120), &history, 0), (State::Live, Some(30)));
}

#[test]
fn events_that_wait_for_too_long_are_a_lag() {
    let history = history(&[(0, 100), (3, 200), (6, 300), (7, 400)]);
    // Everything that was in the log 5 s ago is counted.
    assert_eq!(of(&counted(100), &history, 0), (State::Live, Some(300)));
    assert_eq!(of(&counted(99), &history, 0), (State::Lagging, Some(301)));
    assert_eq!(of(&counted(100), &history, 3), (State::Lagging, Some(310)));
}

#[test]
fn a_backlog_in_the_first_sample_is_a_lag() {
    let history = history(&[(0, 1_000_000)]);
    assert_eq!(of(&counted(10), &history, 0).0, State::Lagging);
}

#[test]
fn a_partition_without_a_checkpoint_is_behind_by_all_its_records() {
    let history = history(&[(0, 70), (6, 70)]);
    assert_eq!(
        of(&LightSnapshot::default(), &history, 1),
        (State::Lagging, Some(70))
    );
}

#[test]
fn only_one_sample_that_is_old_enough_is_kept() {
    let mut history = History::new(LAGGING_AFTER);
    for now in 0..1000 {
        history.record(second(now), bounds(0));
    }
    assert_eq!(history.samples.len(), 6);
}

#[test]
fn locks_markers_and_dead_members_decide_the_state_of_each_range() {
    let history = history(&[(0, 100)]);
    let mut snapshot = counted(110);
    snapshot.uncertainty.marked.insert(RangeId(1));
    snapshot.locked.insert(RangeId(2));
    let states =
        |snapshot: &LightSnapshot| [0, 1, 2, 3].map(|range| of(snapshot, &history, range).0);
    assert_eq!(
        states(&snapshot),
        [State::Live, State::Uncertain, State::Restoring, State::Live]
    );
    // A dead member may have sent requests to any range.
    snapshot.uncertainty.has_dead_members = true;
    let uncertain = State::Uncertain;
    assert_eq!(
        states(&snapshot),
        [uncertain, uncertain, State::Restoring, uncertain]
    );
}

/// The server could not reach Kafka, or was suspended.
#[test]
fn a_backlog_behind_a_gap_is_a_lag() {
    for (gap, state) in [(4, State::Live), (9, State::Live), (600, State::Lagging)] {
        let history = history(&[(0, 100), (gap, 10_000)]);
        assert_eq!(of(&counted(5_000), &history, 0).0, state, "{gap}");
    }
}

#[test]
fn a_stale_snapshot_is_unknown() {
    let history = history(&[(0, 100)]);
    let snapshot = FreshnessSnapshot::new(bits(), &counted(110), &history);
    assert_eq!(snapshot.of(RangeId(0), second(9)).state, State::Live);
    assert_eq!(snapshot.of(RangeId(0), second(10)), Freshness::unknown());
    assert_eq!(
        FreshnessSnapshot::empty(bits()).of(RangeId(0), second(0)),
        Freshness::unknown()
    );
}

#[test]
fn the_summary_has_the_worst_state_and_counts_each() {
    let history = history(&[(0, 100)]);
    let mut snapshot = counted(100);
    snapshot.uncertainty.marked.insert(RangeId(1));
    let snapshot = FreshnessSnapshot::new(bits(), &snapshot, &history);
    let (whole, states) = snapshot.summary(second(0));
    assert_eq!(
        (whole.state, whole.behind_events),
        (State::Uncertain, Some(10))
    );
    assert_eq!(
        states,
        BTreeMap::from([(State::Live, 2), (State::Uncertain, 1), (State::Lagging, 1)])
    );
}

#[test]
fn purely_in_batch_a_snapshot_is_known_while_it_is_young_and_no_range_is() {
    let snapshot = FreshnessSnapshot::purely_in_batch(bits(), second(0));
    assert!(!FreshnessSnapshot::empty(bits()).is_known(second(0)));
    assert!(snapshot.is_known(second(9)) && !snapshot.is_known(second(10)));
    assert_eq!(snapshot.of(RangeId(0), second(1)), Freshness::unknown());
}

#[test]
fn an_added_counter_is_uncertain_where_its_past_is_not_counted_and_others_are_not() {
    let history = history(&[(0, 100)]);
    let mut light = counted(200);
    let pending = Backfill {
        counter: CounterName("likes".into()),
        record: BackfillRecord {
            since: DateTime::from_timestamp(60, 0).unwrap(),
            ranges: bits().ranges().collect(),
        },
    };
    light.uncertainty.backfills = vec![pending];
    let snapshot = FreshnessSnapshot::new(bits(), &light, &history);
    let now = history.latest();
    let of = |counters: &[&str]| {
        let counters: Vec<_> = counters
            .iter()
            .map(|name| Counter::new(*name, "a"))
            .collect();
        snapshot.of_all(&counters, now)
    };
    let (added, other) = (of(&["likes"]), of(&["plays"]));
    assert_eq!((added.state, other.state), (State::Uncertain, State::Live));
    let causes = serde_json::to_value(&added.causes).unwrap();
    let cause =
        serde_json::json!([{"cause": "backfill-pending", "since": "1970-01-01T00:01:00.000Z"}]);
    assert_eq!(causes, cause);
    assert!(other.causes.is_empty());
    assert_eq!(of(&["plays", "likes"]).state, State::Uncertain);
    assert_eq!(snapshot.of(RangeId(0), now).state, State::Uncertain);
    let ranges = snapshot.causes(now)[&UncertaintyCause::PendingBackfill];
    assert_eq!(ranges, 4, "of every range some counter lacks its past");
    light.locked.insert(RangeId(0));
    let snapshot = FreshnessSnapshot::new(bits(), &light, &history);
    assert_eq!(snapshot.of(RangeId(0), now).state, State::Restoring);
}
