//! Doubts: a restoration records, keeps and removes them.

use stitch_common::cell::{CounterName, Key};
use stitch_common::member::MemberId;
use stitch_common::ports::Level;
use stitch_common::range::RangeId;
use stitch_protocol::backfill::BackfillRecord;
use stitch_protocol::doubt::{DoubtCause, DoubtRecord};
use stitch_protocol::envelope;
use stitch_protocol::path::Paths;

use super::*;
use crate::options::DeclaredDead;

const TAKEOVER: &str = "/doubts/0-takeover";
const UNVERIFIED: &str = "/doubts/0-unverified";

/// A member has recorded that counts of the range may be wrong.
fn doubted(fake: &Fake) {
    let record = DoubtRecord {
        since: stitch_common::clock::Clock::wall(&fake.clock),
        member: MemberId::new(5, 0),
        detail: "as the test says".to_owned(),
    };
    let path = Paths::new("n").doubt(RangeId(0), DoubtCause::Takeover.name());
    fake.put(&path, &envelope::seal(&record));
}

const BACKFILL: &str = "/backfills/plays";

/// The counter was added, and no restoration has counted its past.
fn added(fake: &Fake) {
    let record = BackfillRecord {
        since: stitch_common::clock::Clock::wall(&fake.clock),
        ranges: fake.config.definitions.range_bits.ranges().collect(),
    };
    let path = Paths::new("n").backfill(&CounterName("plays".into()));
    fake.put(&path, &envelope::seal(&record));
}

fn cells(max: u64) -> Limits {
    Limits {
        max_cells: Some(max),
        max_change: None,
    }
}

#[test]
fn a_verified_range_loses_its_doubts() {
    let fake = Fake::with_plays(&["a"]);
    doubted(&fake);
    fake.hold("a", 5);
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists("/doubts/"), "nothing is doubted any more");
}

#[test]
fn doubts_are_read_before_the_cut_and_one_that_is_recorded_again_since_remains() {
    let fake = Fake::with_plays(&["a"]);
    doubted(&fake);
    fake.before("get /partitions/0/checkpoint", |fake| {
        fake.before("create /revocations/", |fake| {
            fake.before("get /partitions/0/checkpoint", doubted);
        });
    });
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(fake.exists(TAKEOVER), "it may be about what came later");
    let trace = fake.trace();
    let granted = next(&trace, "create /revocations/", 0);
    let read = next(&trace, "list /doubts", granted);
    assert!(
        read < next(&trace, "get /partitions/0/checkpoint", granted),
        "{trace:#?}"
    );
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists(TAKEOVER));
}

#[test]
fn a_scope_narrower_than_the_range_removes_no_doubt() {
    let fake = Fake::with_plays(&["a", "b"]);
    doubted(&fake);
    fake.hold("a", 5);
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = &mut options.source else {
        panic!("it runs at once");
    };
    scope.counter = Some(CounterName("plays".into()));
    let report = fake.run_options(&options).unwrap();
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 1));
    assert!(
        fake.exists(TAKEOVER),
        "other cells of the range may be wrong"
    );
    assert!(!fake.exists(UNVERIFIED), "and what it found is corrected");
}

#[test]
fn what_is_verified_with_exceptions_removes_no_doubt() {
    let quorum = |config: &mut stitch_config::Config| {
        config.restorator.read_level = Level::Quorum;
    };
    let fake = Fake::with(&["a"], "bits = 0", quorum);
    doubted(&fake);
    assert_eq!(restored(&fake).outcome(), "verified_with_exceptions");
    assert!(fake.exists(TAKEOVER), "not every replica was asked");
    let fake = Fake::with_plays(&["a"]);
    doubted(&fake);
    let mut options = fake.run_now(Limits::default());
    options.declared_dead = vec![DeclaredDead::Member(MemberId::new(77, 0))];
    let report = fake.run_options(&options).unwrap();
    assert_eq!(report.outcome(), "verified_with_exceptions");
    assert!(fake.exists(TAKEOVER), "not everything was waited for");
}

#[test]
fn a_restoration_that_refuses_to_correct_leaves_a_doubt() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.hold("a", 5);
    let report = fake.run(cells(0)).unwrap();
    assert_eq!((report.exit(), fake.held("a")), (Exit::DriftFound, 5));
    assert!(fake.exists(UNVERIFIED), "it knows of a wrong cell");
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists(UNVERIFIED));
}

#[test]
fn a_restoration_that_leaves_a_range_unverified_leaves_a_doubt() {
    let fake = Fake::with_plays(&["a"]);
    let shared = fake.shared_lock();
    assert_eq!(restored(&fake).exit(), Exit::Failed);
    assert!(fake.exists(UNVERIFIED));
    fake.remove(&shared);
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists(UNVERIFIED));
}

#[test]
fn only_doubtful_ranges_are_restored_once_what_is_in_doubt_is_waited_out() {
    let keys: Vec<String> = (0..20).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 2", |_| {});
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = options.source else {
        panic!("it runs at once");
    };
    options.source = PlanSource::Doubtful(scope);
    let report = fake.run_options(&options).unwrap();
    assert_eq!(
        (report.outcome(), report.exit()),
        ("nothing_doubtful", Exit::Success)
    );
    assert_eq!(fake.times("scan"), 0, "nothing is read");
    fake.marker();
    fake.dead_member();
    let report = fake.run_options(&options).unwrap();
    assert_eq!((report.outcome(), report.ranges.len()), ("verified", 1));
    assert_eq!(report.ranges[0].range, RangeId(0));
    assert!(!fake.exists("/doubts/") && !fake.exists("in-doubt-"));
    assert_eq!(
        fake.run_options(&options).unwrap().outcome(),
        "nothing_doubtful"
    );
}

/// Whatever becomes of the process that knows of wrong cells, readers know, too.
#[test]
fn wrong_cells_are_doubted_before_any_is_corrected() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    restored(&fake);
    let trace = fake.trace();
    let recorded = next(&trace, "multi /doubts/0-unverified", 0);
    assert!(recorded < next(&trace, "__WRIT__", 0), "{trace:#?}");
}

#[test]
fn a_marker_that_was_waited_out_leaves_a_doubt_until_the_range_is_verified() {
    let fake = Fake::with_plays(&["a"]);
    fake.marker();
    fake.plan(None).unwrap();
    assert!(!fake.exists("in-doubt-00"), "its barrier has held");
    assert!(fake.exists("/doubts/0-in-doubt"), "counts may be wrong");
    assert_eq!(restored(&fake).outcome(), "verified");
    assert!(!fake.exists("/doubts/0-in-doubt"));
}

#[test]
fn a_verified_range_whose_doubts_remain_is_said_to_stay_doubtful() {
    let fake = Fake::with_plays(&["a"]);
    doubted(&fake);
    fake.before("delete /doubts/", |fake| fake.refuse("/doubts/"));
    let report = restored(&fake);
    assert_eq!(report.outcome(), "verified");
    assert!(fake.exists(TAKEOVER));
    let is_said = |note: &String| note.contains("range 0 is verified, and stays doubtful");
    assert!(report.notes.iter().any(is_said), "{:?}", report.notes);
}

/// A restoration of these counters alone, or of one of their keys.
fn restored_within(fake: &Fake, counter: Option<&str>, key: Option<&str>) -> &'static str {
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = &mut options.source else {
        panic!("it runs at once");
    };
    scope.counter = counter.map(|name| CounterName(name.into()));
    scope.key = key.map(|key| Key(key.into()));
    fake.run_options(&options).unwrap().outcome()
}

#[test]
fn the_backfill_of_an_added_counter_ends_once_all_of_the_counter_is_verified() {
    let counter = Some("plays");
    for (covers, key) in [(None, None), (counter, None)] {
        let fake = Fake::with_plays(&["a"]);
        added(&fake);
        assert_eq!(restored_within(&fake, covers, key), "verified");
        assert!(!fake.exists(BACKFILL), "{covers:?}");
    }
    let fake = Fake::with_plays(&["a", "b"]);
    added(&fake);
    assert_eq!(restored_within(&fake, counter, Some("a")), "verified");
    assert!(fake.exists(BACKFILL), "other keys lack their past");
    assert_eq!(restored_within(&fake, counter, None), "verified");
    assert!(!fake.exists(BACKFILL));
}

#[test]
fn the_backfill_of_another_counter_and_of_unverified_ranges_remains() {
    let fake = Fake::with_plays(&["a"]);
    added(&fake);
    let shared = fake.shared_lock();
    assert_eq!(restored(&fake).exit(), Exit::Failed);
    assert!(fake.exists(BACKFILL), "it is not verified");
    fake.remove(&shared);
    let likes = Paths::new("n").backfill(&CounterName("likes".into()));
    fake.put(&likes, b"damaged, which says no less");
    assert_eq!(restored_within(&fake, Some("plays"), None), "verified");
    assert!(!fake.exists(BACKFILL) && fake.exists(&likes));
    let quorum = |config: &mut stitch_config::Config| {
        config.restorator.read_level = Level::Quorum;
    };
    let fake = Fake::with(&["a"], "bits = 0", quorum);
    added(&fake);
    assert_eq!(restored(&fake).outcome(), "verified_with_exceptions");
    assert!(fake.exists(BACKFILL), "not every replica was asked");
}

#[test]
fn ranges_in_which_a_backfill_is_pending_are_doubtful() {
    let keys: Vec<String> = (0..20).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let fake = Fake::with(&keys, "bits = 2", |_| {});
    added(&fake);
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = options.source else {
        panic!("it runs at once");
    };
    options.source = PlanSource::Doubtful(scope);
    let report = fake.run_options(&options).unwrap();
    assert_eq!(report.outcome(), "verified");
    assert!(
        !fake.exists(BACKFILL),
        "each of the four ranges is taken off"
    );
}
