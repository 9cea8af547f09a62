//! Faults have their effects, and a history has the same trace each time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use stitch_common::cell::{Amount, Bucket, CellSlot, Counter, Granularity};
use stitch_common::clock::Clock;
use stitch_common::lease::{Lease, Permit};
use stitch_common::member::MemberId;
use stitch_common::outcome::Outcome;
use stitch_common::ports::{
    CounterBatch, Cql, CreateMode, Nodes, Session, SessionState, Store, ZkError, ZooKeeper,
};
use stitch_common::range::RangeBits;
use stitch_testkit::time::Micros;

use crate::history::History;
use crate::process::{Process, ProcessSlot, Role};
use crate::run::run;
use crate::world::checker::Checker;
use crate::world::{Handle, World};

const SECOND: Micros = 1_000_000;

fn world() -> Rc<World> {
    let bits = RangeBits::new(0).unwrap();
    let world = World::new(7, bits, 1000, Checker::new(bits));
    for path in ["/stitch", "/stitch/n", "/stitch/n/revocations"] {
        let mut tree = world.zookeeper.tree.borrow_mut();
        tree.create(0, path, b"", CreateMode::Persistent).unwrap();
    }
    world
}

fn process(world: &Rc<World>, drift: i64) -> (Rc<Process>, Handle) {
    let process = world.add_process(
        ProcessSlot(0),
        Role::Processor,
        drift,
        crate::world::cassandra::KEEPALIVE,
    );
    let handle = Handle {
        world: Rc::clone(world),
        process: Rc::clone(&process),
    };
    (process, handle)
}

fn run_until(world: &Rc<World>, until: Micros) {
    let ends = Rc::clone(world);
    world.spawn(async move {
        ends.executor.until(until).await;
        ends.end();
    });
    world.run(until + SECOND);
    assert_eq!(world.finding(), None);
    world.executor.clear();
}

#[test]
fn a_calendar_jumps_forwards_and_back_while_the_clock_does_not() {
    let world = world();
    let (_, handle) = process(&world, 0);
    let before = handle.clock().now();
    let looks: Vec<_> = (0..50).map(|_| handle.clock().wall()).collect();
    assert_eq!(handle.clock().now(), before);
    let years = chrono::TimeDelta::days(3 * 365);
    assert!(looks.windows(2).any(|pair| pair[1] - pair[0] > years));
    assert!(looks.windows(2).any(|pair| pair[0] - pair[1] > years));
}

fn permit() -> Permit {
    let mut lease = Lease::new(Duration::from_secs(1000));
    let now = stitch_common::clock::Moment::new(Duration::ZERO);
    lease.renew(now);
    lease.permit(now).unwrap()
}

fn batch() -> CounterBatch {
    let slot = CellSlot {
        granularity: Granularity::All,
        bucket: Bucket(0),
    };
    CounterBatch {
        counter: Counter::new("a", "u"),
        amounts: vec![(slot, Amount(1))],
    }
}

fn count(world: &World) -> i64 {
    let cells = world.cluster.table.borrow();
    let read = cells.read(&batch().counter, &[0, 1, 2]);
    read.first().map_or(0, |(_, count)| count.0)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let history = History::from_seed(seed);
        let (first, second) = (run(&history, false), run(&history, true));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert!(second.lines.len() > 10);
    }
}

#[test]
fn a_frozen_process_does_nothing_until_it_is_thawed() {
    let world = world();
    let (process, handle) = process(&world, 0);
    let ticks = Rc::new(RefCell::new(Vec::new()));
    let (log, clock) = (Rc::clone(&ticks), handle.clock());
    world.spawn_of(&process, async move {
        loop {
            clock.sleep(Duration::from_millis(100)).await;
            log.borrow_mut().push(clock.executor.now());
        }
    });
    let freezing = Rc::clone(&world);
    world.spawn(async move {
        freezing.executor.until(SECOND).await;
        freezing.freeze(&process);
        freezing.executor.until(3 * SECOND).await;
        freezing.thaw(&process);
    });
    run_until(&world, 4 * SECOND);
    let ticks = ticks.borrow();
    assert!(ticks.iter().any(|at| *at < SECOND) && ticks.iter().any(|at| *at > 3 * SECOND));
    assert!(
        !ticks.iter().any(|at| (SECOND..3 * SECOND).contains(at)),
        "{ticks:?}"
    );
}

#[test]
fn a_fast_clock_shows_more_time_and_sleeps_less() {
    let world = world();
    let (process, handle) = process(&world, 10_000);
    let slept = Rc::new(Cell::new((0, Duration::ZERO)));
    let (log, clock) = (Rc::clone(&slept), handle.clock());
    world.spawn_of(&process, async move {
        let began = clock.now();
        clock.sleep(Duration::from_secs(101)).await;
        log.set((clock.executor.now(), clock.now().since(began)));
    });
    run_until(&world, 200 * SECOND);
    let (real, shown) = slept.get();
    assert!(real.abs_diff(100 * SECOND) < 10, "{real}");
    assert!(shown.abs_diff(Duration::from_secs(101)) < Duration::from_micros(10));
}

#[test]
fn a_session_of_a_frozen_process_expires_by_the_servers_clock_and_its_process_learns_of_it_when_thawed()
 {
    let world = world();
    let (process, handle) = process(&world, 0);
    let state = Rc::new(Cell::new(SessionState::Connected));
    let reported = Rc::clone(&state);
    world.spawn_of(&process, async move {
        let session = handle.connect().await.unwrap();
        let path = "/stitch/n/revocations/0-1";
        session
            .create(path, b"", CreateMode::Ephemeral)
            .await
            .unwrap();
        reported.set(session.state_other_than(SessionState::Connected).await);
    });
    let (freezing, known) = (Rc::clone(&world), Rc::clone(&state));
    let exists = |world: &World| {
        world
            .zookeeper
            .tree
            .borrow()
            .get("/stitch/n/revocations/0-1")
            .is_some()
    };
    world.spawn(async move {
        freezing.executor.until(100_000).await;
        assert!(exists(&freezing));
        freezing.freeze(&process);
        freezing.executor.until(2 * SECOND).await;
        assert!(
            !exists(&freezing),
            "the ephemeral node is deleted with the session"
        );
        assert_eq!(known.get(), SessionState::Connected, "it was frozen");
        freezing.thaw(&process);
    });
    run_until(&world, 3 * SECOND);
    assert_eq!(state.get(), SessionState::Over);
}

#[test]
fn a_request_may_take_effect_although_its_answer_is_lost() {
    let mut effects = [0, 0];
    for seed in 0..40 {
        let bits = RangeBits::new(0).unwrap();
        let world = World::new(seed, bits, 1000, Checker::new(bits));
        let (process, handle) = process(&world, 0);
        let cutting = Rc::clone(&world);
        world.spawn_of(&process, async move {
            let session = handle.connect().await.unwrap();
            let clients = cutting.client_sessions(&handle.process);
            let again = Rc::clone(&cutting);
            cutting.spawn(async move { again.disconnect(&clients[0], 10, 1000) });
            let made = session.create("/a", b"", CreateMode::Persistent).await;
            assert!(matches!(made, Err(ZkError::Ambiguous(_))), "{made:?}");
            // It reconnects, and its session is the same.
            assert!(session.get("/a").await.is_ok());
        });
        let looking = Rc::clone(&world);
        let through = Rc::new(Cell::new(false));
        let effect = Rc::clone(&through);
        world.spawn(async move {
            looking.executor.until(SECOND / 2).await;
            effect.set(looking.zookeeper.tree.borrow().get("/a").is_some());
        });
        run_until(&world, SECOND);
        effects[usize::from(through.get())] += 1;
    }
    assert!(effects[0] > 5 && effects[1] > 5, "{effects:?}");
}

/// Sends one increment; its outcome once there is one.
fn send(world: &Rc<World>, process: &Rc<Process>, handle: &Handle) -> Rc<RefCell<Option<Outcome>>> {
    let outcome = Rc::new(RefCell::new(None));
    let (known, handle) = (Rc::clone(&outcome), handle.clone());
    world.spawn_of(process, async move {
        let member = MemberId::new(5, 0);
        let store = handle.connect_store(&member).await.unwrap();
        let nodes: Vec<_> = store
            .nodes()
            .await
            .into_iter()
            .map(|known| known.node.id)
            .collect();
        store.admit(&nodes);
        handle.world.executor.until(SECOND).await;
        let result = store.increment(permit(), &[batch()]).await;
        *known.borrow_mut() = Some(result);
        std::future::pending::<()>().await;
    });
    outcome
}

async fn listed(handle: &Handle) -> usize {
    let nodes = handle.connect_nodes().await.unwrap();
    let mut listed = 0;
    for state in nodes.ring().await.unwrap() {
        let bound = Duration::from_millis(50);
        listed += nodes
            .connections(&state.node, bound)
            .await
            .map_or(0, |all| all.len());
    }
    listed
}

#[test]
fn frozen_nodes_apply_requests_in_their_sockets_when_they_wake_and_list_the_connection_until_then()
{
    let world = world();
    let (sender, handle) = process(&world, 0);
    let outcome = send(&world, &sender, &handle);
    let (_, looker) = process(&world, 0);
    let acting = Rc::clone(&world);
    world.spawn(async move {
        acting.executor.until(SECOND - 1000).await;
        (0..3).for_each(|node| acting.freeze_node(node));
        acting.executor.until(5 * SECOND).await;
        assert_eq!(count(&acting), 0);
        assert_eq!(
            acting.cluster.connections.borrow().len(),
            3,
            "none is unlisted"
        );
        acting.terminate(&sender);
        acting.executor.until(6 * SECOND).await;
        assert_eq!(acting.cluster.connections.borrow().len(), 3);
        acting.cluster.nodes.iter().for_each(|node| node.thaw());
        acting.executor.until(7 * SECOND).await;
        assert_eq!(count(&acting), 1, "a request outlives its process");
        assert_eq!(listed(&looker).await, 0);
    });
    run_until(&world, 8 * SECOND);
    assert!(matches!(&*outcome.borrow(), Some(Outcome::Unknown(_))));
}

#[test]
fn requests_in_the_driver_of_a_frozen_process_are_sent_when_it_is_thawed_and_lost_when_it_is_killed()
 {
    for (kill, expected) in [(false, 1), (true, 0)] {
        let world = world();
        let (sender, handle) = process(&world, 0);
        let _outcome = send(&world, &sender, &handle);
        let acting = Rc::clone(&world);
        world.spawn(async move {
            acting.executor.until(SECOND + 1).await;
            acting.freeze(&sender);
            acting.executor.until(5 * SECOND).await;
            assert_eq!(count(&acting), 0);
            if kill {
                acting.terminate(&sender);
            } else {
                acting.thaw(&sender);
            }
            acting.executor.until(6 * SECOND).await;
            assert_eq!(count(&acting), expected);
        });
        run_until(&world, 7 * SECOND);
    }
}

#[test]
fn a_killed_node_lists_no_connection_and_loses_requests_that_it_had_not_executed() {
    let world = world();
    let (sender, handle) = process(&world, 0);
    let outcome = send(&world, &sender, &handle);
    let acting = Rc::clone(&world);
    world.spawn(async move {
        acting.executor.until(SECOND - 1000).await;
        (0..3).for_each(|node| acting.freeze_node(node));
        acting.executor.until(SECOND + 50_000).await;
        (0..3).for_each(|node| acting.kill_node(node));
        assert!(
            acting
                .cluster
                .connections
                .borrow()
                .iter()
                .all(|one| !one.is_listed())
        );
        acting.executor.until(2 * SECOND).await;
        acting.cluster.nodes.iter().for_each(|node| node.start());
        acting.executor.until(3 * SECOND).await;
        assert_eq!(count(&acting), 0);
    });
    run_until(&world, 4 * SECOND);
    assert!(matches!(&*outcome.borrow(), Some(Outcome::Unknown(_))));
}

#[test]
fn the_kernel_of_an_isolated_process_drops_requests_that_it_still_holds() {
    let world = world();
    let (sender, handle) = process(&world, 0);
    let outcome = send(&world, &sender, &handle);
    let acting = Rc::clone(&world);
    world.spawn(async move {
        acting.executor.until(SECOND - 1000).await;
        (0..3).for_each(|node| acting.isolate(&sender, node));
        acting.executor.until(3 * SECOND).await;
        (0..3).for_each(|node| acting.heal(sender.number, node));
        acting.executor.until(4 * SECOND).await;
        assert_eq!(count(&acting), 0);
    });
    run_until(&world, 5 * SECOND);
    assert!(matches!(&*outcome.borrow(), Some(Outcome::Unknown(_))));
}
