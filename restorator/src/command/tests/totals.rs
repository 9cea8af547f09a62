//! An audit begins with totals at an earlier cut, and leaves some: it reads what has come since, and the log may have lost
//! what came before.

use std::collections::BTreeMap;
use std::time::Duration;

use stitch_common::cell::{CounterName, Key};
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::output::Report;
use stitch_common::ports::ObjectName;
use stitch_common::progress::NoProgress;
use stitch_testkit::kafka::Log;
use stitch_testkit::objects::MemoryStore;
use stitch_totals::build::{BaseChoice, BuildRequest};
use stitch_totals::manifest::{NamespaceInstance, TotalsId};
use stitch_totals::records::{Records, RecordsError};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::TotalsFolder;

use crate::options::{Limits, PlanSource, TotalsOptions};
use crate::report::RunReport;
use crate::testing::world::Fake;

const P: Partition = Partition(0);

/// A namespace whose restorations leave totals.
fn fake(keys: &[&str]) -> (Fake, MemoryStore) {
    let fake = Fake::with_plays(keys);
    let store = MemoryStore::default();
    fake.stores.borrow_mut().totals = Some(store.clone());
    (fake, store)
}

/// The ids of the totals that are whole.
fn ids(store: &MemoryStore) -> Vec<TotalsId> {
    let names = store.objects().names();
    let manifests = names.iter().filter_map(|name| {
        let id = name.0.strip_prefix("totals/v1/n/")?;
        Some(TotalsId(id.strip_suffix("/manifest.json")?.to_owned()))
    });
    manifests.collect()
}

fn choose(fake: &Fake, base: BaseChoice, leave: bool) {
    *fake.totals.borrow_mut() = TotalsOptions { base, leave };
}

fn play(fake: &Fake, key: &str) {
    fake.produce(key);
    fake.hold(key, fake.held(key) + 1);
    fake.progress(fake.end());
}

fn run(fake: &Fake) -> RunReport {
    fake.run(Limits::default()).unwrap()
}

#[test]
fn an_audit_leaves_totals_and_the_next_one_begins_with_them_though_the_log_lost_its_beginning() {
    let (fake, store) = fake(&["a", "b", "c"]);
    let plan = fake.plan(None).unwrap();
    assert_eq!((plan.cells.judged, plan.cells.wrong), (3, 0));
    let left = ids(&store);
    let [first] = &*left else {
        panic!("one: {left:?}")
    };
    assert!(
        plan.notes.iter().any(|note| note.contains(&first.0)),
        "{:?}",
        plan.notes
    );
    fake.log.borrow_mut().delete_below(P, Offset(3));
    play(&fake, "a");
    play(&fake, "d");
    fake.hold("b", 7);
    fake.hold("phantom", 1);
    let report = run(&fake);
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 2));
    assert_eq!(report.cells.judged, 4);
    let total = report.totals.values().next().unwrap();
    assert_eq!(
        (total.expected, total.before, total.after),
        (5, 12, Some(5))
    );
    assert_eq!(
        ["a", "b", "c", "d", "phantom"].map(|key| fake.held(key)),
        [2, 1, 1, 1, 0]
    );
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains(&format!("based on the totals {first}")))
    );
    assert_eq!(ids(&store).len(), 2);
}

/// Cells with events are looked up in the totals, under the lock.
#[test]
fn cells_that_change_have_what_totals_and_events_add_up_to() {
    let (fake, _store) = fake(&["a", "b"]);
    fake.plan(None).unwrap();
    fake.log.borrow_mut().delete_below(P, Offset(2));
    // In flight, perhaps: dirty, and wrong as well.
    fake.produce("a");
    fake.hold("a", 9);
    let report = run(&fake);
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 1));
    assert_eq!(fake.held("a"), 1, "the event is not counted yet");
}

#[test]
fn a_log_that_begins_behind_the_totals_is_refused_with_both_ends_of_the_gap() {
    let (fake, _store) = fake(&["a", "b", "c", "d"]);
    fake.log.borrow_mut().delete_below(P, Offset(3));
    let refused = fake.run(Limits::default()).unwrap_err();
    assert!(
        refused
            .message
            .contains("a gap between offset 0 and offset 3 of partition 0"),
        "{refused}"
    );
    assert_eq!(
        (
            fake.times("scan"),
            fake.times("increment"),
            fake.times("feed")
        ),
        (0, 0, 0)
    );
}

/// A partition may be opened for the first time, and lose the records that were counted, after the restoration has joined.
#[test]
fn where_counting_begins_is_read_after_the_cut() {
    let (fake, store) = fake(&["a"]);
    fake.remove("/stitch/n/partitions/0/checkpoint");
    fake.before("create /restorations/lock", |fake| {
        fake.progress(1);
        fake.log.borrow_mut().delete_below(P, Offset(1));
    });
    let refused = fake.run(Limits::default()).map(|report| report.outcome());
    let refused = refused.unwrap_err();
    assert!(
        refused
            .message
            .contains("a gap between offset 0 and offset 1 of partition 0"),
        "{refused}"
    );
    assert_eq!((fake.held("a"), ids(&store)), (1, Vec::new()));
}

#[test]
fn totals_that_are_declined_are_neither_left_nor_taken() {
    let (fake, store) = fake(&["a"]);
    choose(&fake, BaseChoice::Newest, false);
    fake.plan(None).unwrap();
    assert_eq!(ids(&store), []);
    choose(&fake, BaseChoice::Newest, true);
    fake.plan(None).unwrap();
    let taken = ids(&store);
    // What they hold is damaged, and nobody reads it.
    damage(&store);
    choose(&fake, BaseChoice::FromBeginning, false);
    let plan = fake.plan(None).unwrap();
    assert_eq!((plan.cells.judged, plan.cells.wrong), (1, 0));
    assert_eq!(ids(&store), taken);
}

#[test]
fn an_audit_from_the_beginning_reads_every_record_whatever_totals_are_there() {
    let (fake, store) = fake(&["a"]);
    fake.plan(None).unwrap();
    let left = ids(&store);
    damage(&store);
    choose(&fake, BaseChoice::FromBeginning, true);
    let plan = fake.plan(None).unwrap();
    assert_eq!((plan.cells.judged, plan.cells.wrong), (1, 0));
    assert_eq!(ids(&store), left);
    // What it left in their place is whole.
    choose(&fake, BaseChoice::Newest, true);
    assert_eq!(run(&fake).outcome(), "verified");
}

fn damage(store: &MemoryStore) {
    let names = store.objects().names();
    let file = |name: &&ObjectName| name.0.ends_with(".parquet");
    for name in names.iter().filter(file) {
        let mut content = store.objects().get(name).unwrap().to_vec();
        content[8] ^= 1;
        store.objects().set(name.clone(), content);
    }
}

#[test]
fn damaged_totals_are_named_before_anything_is_locked() {
    let (fake, store) = fake(&["a"]);
    fake.plan(None).unwrap();
    damage(&store);
    let refused = fake.run(Limits::default()).unwrap_err();
    assert!(
        refused.message.contains("range-0.parquet is damaged"),
        "{refused}"
    );
    assert!(
        refused
            .help
            .contains("stitch-totals build --from-beginning"),
        "{refused}"
    );
    assert_eq!((fake.times("__WRIT__-"), fake.times("increment")), (0, 0));
}

#[test]
fn the_totals_that_are_named_are_taken_or_refused_by_their_name() {
    let (fake, store) = fake(&["a"]);
    fake.plan(None).unwrap();
    let [first] = &*ids(&store) else {
        panic!("one")
    };
    play(&fake, "a");
    fake.plan(None).unwrap();
    choose(&fake, BaseChoice::Only(first.clone()), false);
    let report = run(&fake);
    assert!(
        report.notes.iter().any(|note| note.contains(&first.0)),
        "{:?}",
        report.notes
    );
    choose(&fake, BaseChoice::Only(TotalsId("0123".to_owned())), true);
    let refused = fake.run(Limits::default()).unwrap_err();
    assert!(refused.message.contains("0123"), "{refused}");
}

/// `stitch-totals build` goes up to the log's end, which processors may not have reached.
#[test]
fn totals_beyond_the_checkpoints_are_passed_over() {
    let (fake, store) = fake(&["a", "b"]);
    fake.plan(None).unwrap();
    // As if a checkpoint was behind when these totals were made.
    fake.progress(1);
    fake.hold("b", 0);
    choose(&fake, BaseChoice::Newest, false);
    let plan = fake.plan(None).unwrap();
    assert_eq!((plan.cells.judged, plan.cells.wrong), (1, 0));
    let id = &ids(&store)[0];
    let passed_over = plan.notes.iter().find(|note| note.contains("passed over"));
    assert!(passed_over.unwrap().contains(&id.0), "{:?}", plan.notes);
}

#[test]
fn an_audit_of_a_part_takes_totals_and_leaves_none() {
    let (fake, store) = fake(&["a", "b"]);
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = &mut options.source else {
        panic!("run --now")
    };
    scope.counter = Some(CounterName("plays".into()));
    fake.run_options(&options).unwrap();
    assert_eq!(ids(&store), []);
    fake.plan(None).unwrap();
    assert_eq!(ids(&store).len(), 1);
    fake.log.borrow_mut().delete_below(P, Offset(2));
    play(&fake, "a");
    fake.hold("a", 5);
    let report = fake.run_options(&options).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 1));
    assert_eq!(fake.held("a"), 2);
    assert_eq!(ids(&store).len(), 1);
}

/// An audit of one key costs what came since the totals, however long the log and however many the cells.
#[test]
fn an_audit_of_one_key_reads_only_the_records_since_the_totals() {
    let keys: Vec<String> = (0..500).map(|key| format!("track-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (fake, store) = fake(&keys);
    fake.plan(None).unwrap();
    let wrong = "track-7";
    for _ in 0..10 {
        play(&fake, wrong);
    }
    fake.hold(wrong, 5);
    let mut options = fake.run_now(Limits::default());
    let PlanSource::Now(scope) = &mut options.source else {
        panic!("run --now")
    };
    scope.counter = Some(CounterName("plays".into()));
    scope.key = Some(Key(wrong.into()));
    let (delivered, requests) = (fake.delivered.get(), store.requests());
    let report = fake.run_options(&options).unwrap();
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 1));
    assert_eq!((report.cells.judged, fake.held(wrong)), (1, 11));
    let read = fake.delivered.get() - delivered;
    assert_eq!(read, 10, "of {} records", fake.end());
    let requests = store.requests() - requests;
    assert!(requests < 30, "{requests} requests for objects");
    assert_eq!(ids(&store).len(), 1);
}

/// The totals that `build --counter plays` makes when neither archive nor log has its past: it counts from their cut on.
fn late_totals(fake: &Fake, store: &MemoryStore) {
    let folder = TotalsFolder::new(store.clone(), "n");
    let spill = SpillFolder::open(&fake.folder().join("build"), 1 << 20).unwrap();
    let definitions = fake.config.definitions.clone();
    let mut without = definitions.clone();
    without.counters.clear();
    // As the namespace was made, with an empty topic.
    let instance = NamespaceInstance::new(1, &Fake::table_identity(), &Log::new(1).identity());
    let build = |definitions: &Definitions, added: &[CounterName]| {
        let records = Records::<MemoryStore, _, _>::new(None, fake, &fake.clock, Duration::MAX);
        let origins = Offsets(BTreeMap::from([(P, Offset(0))]));
        let reach = records.reach(async || Ok::<_, RecordsError>(origins));
        let reach = fake.clock.run(reach).unwrap();
        let request = BuildRequest {
            namespace: "n",
            instance: &instance,
            cluster: "kafka",
            topic: "events",
            definitions,
            reach: &reach,
            base: BaseChoice::Newest,
            cut: None,
            added,
            memory_bytes_max: 1 << 20,
            spill: &spill,
        };
        let built =
            stitch_totals::build::build(&folder, &records, &request, &fake.clock, &NoProgress);
        fake.clock.run(built).unwrap().manifest
    };
    build(&without, &[]);
    let end = Offset(fake.end());
    fake.log.borrow_mut().delete_below(P, end);
    let late = build(&definitions, &[CounterName("plays".into())]);
    assert_eq!(late.subject.later.len(), 1);
}

/// What was counted of it before the totals begin to count it would be taken away as drift.
#[test]
fn a_counter_that_the_totals_count_too_late_is_refused_by_name() {
    let (fake, store) = fake(&["a", "b"]);
    late_totals(&fake, &store);
    play(&fake, "c");
    let refused = fake.run(Limits::default()).unwrap_err();
    let from = "count plays only from offset 2 of partition 0 on";
    assert!(refused.message.contains(from), "{refused}");
    assert!(refused.help.contains("--counter"), "{refused}");
    assert_eq!(["a", "b", "c"].map(|key| fake.held(key)), [1, 1, 1]);
}

/// Topic, table and ZooKeeper's nodes were deleted and made again under the same names; the totals were not.
#[test]
fn totals_of_a_namespace_that_was_made_again_are_passed_over() {
    let (fake, store) = fake(&["a", "b"]);
    fake.plan(None).unwrap();
    let [of_the_former] = &*ids(&store) else {
        panic!("one")
    };
    fake.log.borrow_mut().recreate();
    fake.table.borrow_mut().clear();
    for key in ["x", "y"] {
        fake.produce(key);
        fake.hold(key, 1);
    }
    fake.redefine();
    fake.progress(2);
    let report = run(&fake);
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 0));
    let passed_over = format!("the totals {of_the_former} are passed over");
    assert!(
        report.notes.iter().any(|note| note.contains(&passed_over)),
        "{:?}",
        report.notes
    );
    assert_eq!(["a", "x", "y"].map(|key| fake.held(key)), [0, 1, 1]);
}
