//! Processors without a history: what a fleet costs its servers, and how one stops.

use std::cell::Cell;
use std::rc::Rc;

use stitch_common::offset::Partition;
use stitch_testkit::time::Micros;

use crate::fleet::Fleet;
use crate::history::History;
use crate::run::namespace;
use crate::world::cassandra::NODES;

const SECOND: Micros = 1_000_000;
/// Long enough for sessions to expire, and for a quiescence barrier to begin.
const MEASURED_S: u64 = 10;

/// The history whose configuration the processors have.
fn history() -> History {
    let mut history = History::from_seed(1);
    history.bits = 0;
    history
}

/// Processors that count one partition in one range.
fn fleet() -> Rc<Fleet> {
    Rc::new(Fleet::new(namespace::config(&history()), 1))
}

/// Kafka's client goes on at the old offset in a topic that was created again and is longer than the old one.
#[test]
fn a_topic_created_again_while_it_is_counted_is_noticed_although_it_is_longer() {
    let fleet = fleet();
    let world = Rc::clone(&fleet.world);
    let found = Rc::new(Cell::new(false));
    let (of, result) = (Rc::clone(&fleet), Rc::clone(&found));
    world.spawn(async move {
        let world = &of.world;
        let append = |records| {
            for _ in 0..records {
                world.append(Partition(0), r#"{"type":"ignored"}"#.to_owned());
            }
        };
        append(3);
        of.start(1);
        world.executor.until(2 * SECOND).await;
        assert_eq!(of.names("/doubts"), 0);
        world.recreate_topic();
        append(9);
        world.executor.until(150 * SECOND).await;
        let tree = world.zookeeper.tree.borrow();
        let exists = |path: &str| tree.get(&format!("/stitch/n{path}")).is_some();
        assert!(exists("/doubts/0-log-recreated"), "readers hear of it");
        assert!(exists("/partitions/0/suspended"), "and it stays suspended");
        result.set(true);
        drop(tree);
        world.end();
    });
    assert!(world.run(200 * SECOND));
    world.executor.clear();
    assert!(found.get());
}

/// The driver goes on in the new table without a word.
#[test]
fn a_processor_ends_once_its_table_was_dropped_and_made_again() {
    let fleet = fleet();
    let world = Rc::clone(&fleet.world);
    let (_, _, ended) = fleet.start_one(0);
    let found = Rc::new(Cell::new(false));
    let (of, result) = (Rc::clone(&fleet), Rc::clone(&found));
    world.spawn(async move {
        let world = &of.world;
        world.executor.until(130 * SECOND).await;
        assert_eq!(ended.get(), 0, "its table is the one that it joined with");
        world.cluster.is_made_again.set(true);
        world.executor.until(200 * SECOND).await;
        assert_ne!(ended.get(), 0, "it goes on in another table");
        assert_eq!(of.names("/members"), 0, "it has left");
        result.set(true);
        world.end();
    });
    assert!(world.run(250 * SECOND));
    world.executor.clear();
    assert!(found.get());
}

/// Whether a processor that is asked to stop this long after the first records of a partition were produced, while Kafka is
/// away for a moment, has counted some of them, and whether it has stored which one was the first.
fn counted_and_stored(after: Micros) -> (bool, bool) {
    let mut history = history();
    history.stop_timeout = 1_200_000;
    let fleet = Rc::new(Fleet::new(namespace::config(&history), 1));
    let world = Rc::clone(&fleet.world);
    let (_, stop, ended) = fleet.start_one(0);
    let found = Rc::new(Cell::new((false, false)));
    let (of, result) = (Rc::clone(&fleet), Rc::clone(&found));
    world.spawn(async move {
        let world = &of.world;
        let checkpoint = || {
            let tree = world.zookeeper.tree.borrow();
            let node = tree.get("/stitch/n/partitions/0/checkpoint");
            node.map(|node| node.data.clone())
        };
        world.executor.until(2 * SECOND).await;
        let before = checkpoint();
        for _ in 0..3 {
            world.append(Partition(0), r#"{"type":"ignored"}"#.to_owned());
        }
        let asked = 2 * SECOND + after;
        world.executor.until(asked).await;
        world.brokers_down(asked + SECOND / 10);
        stop.cancel();
        world.executor.until(30 * SECOND).await;
        assert_ne!(ended.get(), 0, "it has not ended");
        result.set((checkpoint() != before, of.names("/log") > 0));
        world.end();
    });
    assert!(world.run(60 * SECOND));
    world.executor.clear();
    found.get()
}

#[test]
fn a_processor_that_has_counted_leaves_the_first_record_behind_however_soon_it_stops() {
    let counts = |after: &Micros| {
        let (counted, stored) = counted_and_stored(*after);
        assert!(stored || !counted, "stopped after {after} µs");
        counted
    };
    let counted = (0..100).map(|step| step * 100).filter(counts).count();
    assert!((1..100).contains(&counted), "{counted} of 100 counted");
}

/// The requests a second that ZooKeeper gets once every session of a fleet has ended at once, and the processors have
/// started again as new members.
fn requests_a_second_after_a_mass_expiry(processors: usize) -> u64 {
    let fleet = fleet();
    let world = Rc::clone(&fleet.world);
    let measured = Rc::new(Cell::new(0));
    let result = Rc::clone(&measured);
    let (of, end) = (Rc::clone(&fleet), Rc::clone(&world));
    world.spawn(async move {
        let world = &of.world;
        let first = of.start(processors);
        world.executor.until(2 * SECOND).await;
        for process in &first {
            world.terminate(process);
        }
        world.executor.until(4 * SECOND).await;
        assert_eq!(of.names("/members"), processors);
        assert_eq!(of.names("/alive"), 0);
        of.start(processors);
        world.executor.until(5 * SECOND).await;
        let before = world.zookeeper.requests.get().total();
        world.executor.until((5 + MEASURED_S) * SECOND).await;
        result.set((world.zookeeper.requests.get().total() - before) / MEASURED_S);
        assert_eq!(of.names("/alive"), processors);
        assert_eq!(of.names("/members"), processors, "no dead member is left");
        end.end();
    });
    assert!(world.run(60 * SECOND));
    assert_eq!(world.finding(), None);
    world.executor.clear();
    measured.get()
}

#[test]
fn the_load_of_a_fleet_that_lost_all_its_sessions_grows_with_its_size_at_most() {
    let measured = [50, 200, 1000].map(|processors| {
        let requests = requests_a_second_after_a_mass_expiry(processors);
        (processors as u64, requests)
    });
    let (few, of_few) = measured[0];
    for (processors, requests) in measured {
        assert!(
            requests * few <= of_few * processors * 11 / 10,
            "{measured:?}"
        );
    }
}

/// How long a processor takes to stop that is asked to at `asked`, if its servers fall silent at `silent`.
fn time_to_stop(silent: Micros, asked: Micros) -> Micros {
    let fleet = fleet();
    let world = Rc::clone(&fleet.world);
    let (process, stop, ended) = fleet.start_one(0);
    let of = Rc::clone(&world);
    world.spawn(async move {
        of.executor.until(silent).await;
        for client in of.client_sessions(&process) {
            of.disconnect(&client, 0, 100 * SECOND);
        }
        of.brokers_down(100 * SECOND);
        for node in 0..NODES {
            of.freeze_node(node);
        }
        of.executor.until(asked).await;
        stop.cancel();
        of.executor.until(asked + 20 * SECOND).await;
        of.end();
    });
    assert!(world.run(60 * SECOND));
    world.executor.clear();
    assert_ne!(ended.get(), 0, "silent at {silent}: it has not ended");
    ended.get() - asked
}

#[test]
fn a_stop_takes_no_longer_than_it_may_whenever_the_servers_fall_silent() {
    let stop_timeout = history().stop_timeout;
    // While it connects, joins, starts to count, and counts.
    for silent in (0..60).map(|step| step * 1000) {
        let took = time_to_stop(silent, silent + 1500);
        assert!(took <= stop_timeout * 5 / 4 + 10_000, "{silent}: {took}");
    }
    let took = time_to_stop(2 * SECOND, 2 * SECOND + 1500);
    assert!(took <= stop_timeout * 5 / 4 + 10_000, "{took}");
}
