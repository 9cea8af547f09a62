use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use chrono::{DateTime, Utc};

use super::*;
use stitch_common::clock::Moment;
use stitch_common::ports::{Connection, NodeId, NodeState};

/// Time that passes only when everything waits.
#[derive(Clone, Default)]
struct FakeClock(Rc<Timers>);

#[derive(Default)]
struct Timers {
    now: Cell<Duration>,
    next: Cell<Option<Duration>>,
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        Moment::new(self.0.now.get())
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let timers = Rc::clone(&self.0);
        let until = timers.now.get() + duration;
        std::future::poll_fn(move |_| {
            if timers.now.get() >= until {
                return Poll::Ready(());
            }
            let next = timers.next.get();
            timers
                .next
                .set(Some(next.map_or(until, |next| next.min(until))));
            Poll::Pending
        })
    }
}

impl FakeClock {
    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            self.0.next.set(None);
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            let next = self.0.next.get().expect("something waits for time");
            self.0.now.set(next);
        }
    }

    fn seconds(&self) -> u64 {
        self.0.now.get().as_secs()
    }
}

/// A cluster and an ensemble whose behaviour each test sets.
struct World {
    clock: FakeClock,
    silent: RefCell<Box<dyn Fn(u64) -> bool>>,
    connected: RefCell<Box<dyn Fn(u64) -> bool>>,
    watch: Cell<Watch>,
    settings_reads: Cell<u32>,
}

#[derive(Clone, Copy)]
enum Watch {
    Alive,
    Dead,
    Hangs,
    Over,
}

fn node() -> NodeAddress {
    NodeAddress {
        id: NodeId(uuid::Uuid::from_u128(1)),
        address: SocketAddr::from(([127, 0, 0, 1], 9042)),
    }
}

fn member() -> MemberId {
    MemberId::new(1, 0)
}

impl Nodes for World {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        Ok(vec![NodeState {
            node: node(),
            own_address: true,
            datacenter: String::new(),
            tokens: Vec::new(),
            up: true,
            normal: true,
        }])
    }

    async fn probe(&self, _: &NodeAddress, bound: Duration) -> Probe {
        if (self.silent.borrow())(self.clock.seconds()) {
            self.clock.sleep(bound).await;
            return Probe::Silent;
        }
        self.clock.sleep(Duration::from_millis(5)).await;
        Probe::Answered
    }

    async fn connections(
        &self,
        _: &NodeAddress,
        _: Duration,
    ) -> Result<Vec<Connection>, StoreError> {
        let connection = Connection {
            client_id: Some(member().to_string()),
            client: SocketAddr::from(([127, 0, 0, 1], 4000)),
        };
        let connected = (self.connected.borrow())(self.clock.seconds());
        Ok(connected.then_some(connection).into_iter().collect())
    }

    async fn may_read(&self, _: &NodeAddress, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn may_increment(&self, _: &NodeAddress, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn settings(&self, _: &NodeAddress, _: Duration) -> Result<NodeSettings, StoreError> {
        self.settings_reads.set(self.settings_reads.get() + 1);
        Ok(NodeSettings {
            native_transport_timeout: Duration::from_secs(2),
            counter_write_request_timeout: Duration::from_secs(1),
            native_transport_idle_timeout: None,
            internode_timeout: true,
        })
    }
}

impl MemberWatch for World {
    async fn dead(&self, members: &[MemberId]) -> Result<BTreeSet<MemberId>, WatchError> {
        match self.watch.get() {
            Watch::Alive => Ok(BTreeSet::new()),
            Watch::Dead => Ok(members.iter().cloned().collect()),
            Watch::Hangs => std::future::pending().await,
            Watch::Over => Err(WatchError::SessionOver("the session is over".to_owned())),
        }
    }

    async fn epoch(&self) -> Result<Epoch, WatchError> {
        Ok(Epoch(1))
    }
}

fn world() -> World {
    World {
        clock: FakeClock::default(),
        silent: RefCell::new(Box::new(|_| false)),
        connected: RefCell::new(Box::new(|_| true)),
        watch: Cell::new(Watch::Alive),
        settings_reads: Cell::new(0),
    }
}

/// The result, after how many seconds, and what was reported meanwhile.
fn awaited(world: &World) -> (Result<Quiescence, QuiescenceError>, u64, Vec<Vec<Blocker>>) {
    let request = Request {
        known_nodes: Vec::new(),
        members: vec![member()],
        sessions: Sessions {
            longest_timeout: Duration::from_secs(3),
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(1),
        },
        declared_dead: DeclaredDead::default(),
        timeout: Duration::from_secs(60),
    };
    let mut reports = Vec::new();
    let mut known = NodeSet::default();
    let result = world.clock.run(await_quiescence(
        world,
        world,
        &world.clock,
        &mut known,
        &request,
        |blockers| reports.push(blockers.to_vec()),
    ));
    (result, world.clock.seconds(), reports)
}

#[test]
fn quiescence_comes_after_the_bound_of_these_servers_and_has_it_term_by_term() {
    let world = world();
    let (result, seconds, reports) = awaited(&world);
    let quiescence = result.unwrap();
    assert!(quiescence.took() > quiescence.bound().total());
    assert!(quiescence.took() < quiescence.bound().total() + Duration::from_secs(1));
    assert_eq!(quiescence.took().as_secs(), seconds);
    assert_eq!(quiescence.bound().native_transport, Duration::from_secs(2));
    assert!(reports.len() > 40, "a round four times a second");
    assert_eq!(world.settings_reads.get(), 1, "once while it answers");
}

#[test]
fn a_node_that_stays_silent_is_named_at_the_timeout() {
    let world = world();
    *world.silent.borrow_mut() = Box::new(|seconds| seconds >= 5);
    let (result, seconds, _) = awaited(&world);
    let error = result.unwrap_err();
    assert!(seconds < 63, "bounded: {seconds}");
    assert!(
        matches!(&error, QuiescenceError::NotInTime { blockers, .. }
            if matches!(&blockers[..], [Blocker::Silent { lasting, .. }] if lasting.as_secs() >= 54)),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:9042") && text.contains("--declare-dead"),
        "{text}"
    );
}

#[test]
fn the_settings_of_a_node_that_was_silent_are_read_again() {
    let world = world();
    *world.silent.borrow_mut() = Box::new(|seconds| (5..10).contains(&seconds));
    let (result, seconds, _) = awaited(&world);
    let quiescence = result.unwrap();
    assert!(seconds > 10 + quiescence.bound().total().as_secs());
    assert_eq!(world.settings_reads.get(), 2);
}

#[test]
fn the_process_of_a_dead_member_is_named_with_its_address() {
    let world = world();
    world.watch.set(Watch::Dead);
    let error = awaited(&world).0.unwrap_err().to_string();
    assert!(
        error.contains("0000000000000001-0000000000000000") && error.contains("127.0.0.1:4000"),
        "{error}"
    );
}

#[test]
fn an_ensemble_that_does_not_answer_is_reported_and_the_end_of_the_session_ends_the_wait() {
    let world = world();
    world.watch.set(Watch::Hangs);
    let (result, seconds, reports) = awaited(&world);
    assert!(matches!(result, Err(QuiescenceError::NotInTime { .. })));
    assert!(seconds < 63, "bounded: {seconds}");
    assert!(matches!(
        reports.last().map(Vec::as_slice),
        Some([Blocker::MembersUnknown(_), ..])
    ));
    world.watch.set(Watch::Over);
    assert_eq!(
        awaited(&world).0,
        Err(QuiescenceError::SessionOver(
            "the session is over".to_owned()
        ))
    );
}
