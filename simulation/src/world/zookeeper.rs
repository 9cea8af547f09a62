//! A ZooKeeper in memory: requests change one tree, one at a time; sessions expire by the servers' clock; connections break
//! between a request and its answer.

mod node_kind;
mod request_counts;
mod request;
mod client_session;
mod port;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{CreateMode, SessionState};
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Signal;
use stitch_testkit::zookeeper::{Tree, parent};

use super::World;
use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
use client_session::ClientSession;
pub(crate) use node_kind::NAMESPACE;
pub(crate) use node_kind::NodeKind;
pub(super) use node_kind::{ROOT, sequence};
pub(crate) use request_counts::RequestCounts;

/// The session timeout that the servers of a history grant.
pub(crate) const TIMEOUT: Micros = 600_000;

/// How often the servers look for expired sessions within a timeout.
const TICKS: u64 = 3;

/// The servers: the tree, and the sessions as they see them.
#[derive(Default)]
pub(crate) struct Ensemble {
    /// The session timeout that they grant; none for [`TIMEOUT`].
    pub(crate) other_timeout: Cell<Option<Micros>>,
    pub(crate) tree: RefCell<Tree>,
    sessions: RefCell<BTreeMap<i64, ServerSession>>,
    /// By path, the oldest first.
    watches: RefCell<BTreeMap<String, Vec<Watch>>>,
    clients: RefCell<Vec<Rc<ClientSession>>>,
    /// The number of the session opened last since the servers' hosts booted, and how often they booted.
    last_number: Cell<i64>,
    boots: Cell<i64>,
    /// What the servers have executed.
    pub(crate) requests: Cell<RequestCounts>,
    /// The longest time by which an answer is delayed.
    pub(crate) slowness: Cell<Micros>,
    /// Checkpoints and markers are refused, as for lack of permission.
    pub(crate) refuses: Cell<bool>,
}

impl Ensemble {
    /// The session timeout that the servers grant.
    pub(crate) fn timeout(&self) -> Micros {
        self.other_timeout.get().unwrap_or(TIMEOUT)
    }

    fn count(&self, add: impl FnOnce(&mut RequestCounts)) {
        let mut counts = self.requests.get();
        add(&mut counts);
        self.requests.set(counts);
    }

    /// Removes the watches that a change of this node fires, the oldest first.
    fn take_watches(&self, path: &str, what: Watched) -> Vec<Watch> {
        let mut watches = self.watches.borrow_mut();
        let Some(of_path) = watches.get_mut(path) else {
            return Vec::new();
        };
        let due = of_path.extract_if(.., |watch| watch.what == what).collect();
        if of_path.is_empty() {
            watches.remove(path);
        }
        due
    }
}

/// A session as the servers see it.
#[derive(Debug, Default)]
struct ServerSession {
    over: bool,
    last_heartbeat: Micros,
    /// Raised by each heartbeat, and when heartbeats stop: voids an earlier expiry.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Node,
    Children,
}

struct Watch {
    what: Watched,
    client: Rc<ClientSession>,
    connection: u32,
    signal: Rc<Signal>,
}

/// Where the number of boots begins in this world's id of a session.
const BOOTS_SHIFT: u32 = 48;

/// The id of a session as the servers gave it: after a boot they give the same ids again. In this world each is another.
const fn given_id(id: i64) -> i64 {
    id & ((1 << BOOTS_SHIFT) - 1)
}

impl World {
    /// The id of the next session, as ZooKeeper numbers them: large, with the server's id in front. None that the servers
    /// still have is given again.
    fn next_session_id(&self) -> i64 {
        let servers = &self.zookeeper;
        loop {
            let number = servers.last_number.get() + 1;
            servers.last_number.set(number);
            let given = 0x0100_0000_0000 + number;
            let sessions = servers.sessions.borrow();
            let living = sessions.iter().filter(|(_, session)| !session.over);
            if living.into_iter().all(|(id, _)| given_id(*id) != given) {
                return given + (servers.boots.get() << BOOTS_SHIFT);
            }
        }
    }

    /// The servers' hosts boot, one after the other: sessions stay, and ids are given anew.
    pub(crate) fn reboot_zookeeper(&self) {
        self.zookeeper.last_number.set(0);
        self.zookeeper.boots.set(self.zookeeper.boots.get() + 1);
    }

    /// The session that a process opened last.
    pub(crate) fn last_session(&self, process: &Process) -> Option<i64> {
        let clients = self.zookeeper.clients.borrow();
        let mut latest_first = clients.iter().rev();
        latest_first
            .find(|client| client.process.number == process.number)
            .map(|client| client.id)
    }

    fn open_session(self: &Rc<Self>, process: &Rc<Process>) -> Rc<ClientSession> {
        let id = self.next_session_id();
        let nonce = self.rng.next();
        let last_heartbeat = self.now();
        let session = ServerSession {
            last_heartbeat,
            ..ServerSession::default()
        };
        self.zookeeper.sessions.borrow_mut().insert(id, session);
        let client = Rc::new(ClientSession::new(id, nonce, process, last_heartbeat));
        self.zookeeper.clients.borrow_mut().push(Rc::clone(&client));
        self.session_opened(id, process.number);
        client
    }

    /// The sessions of a process that are not over, as far as it knows.
    pub(crate) fn client_sessions(&self, process: &Process) -> Vec<Rc<ClientSession>> {
        let clients = self.zookeeper.clients.borrow();
        let own = |client: &&Rc<ClientSession>| {
            client.process.number == process.number && client.state() != SessionState::Over
        };
        clients.iter().filter(own).cloned().collect()
    }

    pub(crate) fn is_session_over(&self, id: i64) -> bool {
        let sessions = self.zookeeper.sessions.borrow();
        sessions.get(&id).is_none_or(|session| session.over)
    }

    /// The servers receive a heartbeat of the session.
    fn heartbeat(&self, id: i64) {
        if let Some(session) = self.zookeeper.sessions.borrow_mut().get_mut(&id) {
            session.last_heartbeat = self.now();
            session.generation += 1;
        }
    }

    /// The servers receive no heartbeats of the session from now on, and expire it unless they do again.
    fn stop_heartbeats(self: &Rc<Self>, id: i64, from: Micros) {
        // The last ping was some time before.
        self.expire_after(
            id,
            from.saturating_sub(self.rng.below(self.zookeeper.timeout() / TICKS)),
        );
    }

    /// The servers have received the last heartbeat of the session at `at`, and expire it unless there is another.
    fn expire_after(self: &Rc<Self>, id: i64, at: Micros) {
        let (last_heartbeat, generation) = {
            let mut sessions = self.zookeeper.sessions.borrow_mut();
            let Some(session) = sessions.get_mut(&id).filter(|session| !session.over) else {
                return;
            };
            session.generation += 1;
            session.last_heartbeat = session.last_heartbeat.max(at);
            (session.last_heartbeat, session.generation)
        };
        let timeout = self.zookeeper.timeout();
        let tick = timeout / TICKS;
        let due = (last_heartbeat + timeout).div_ceil(tick) * tick;
        let world = Rc::clone(self);
        self.spawn(async move {
            world.executor.until(due).await;
            let generation_now = {
                let sessions = world.zookeeper.sessions.borrow();
                sessions.get(&id).map(|session| session.generation)
            };
            if generation_now == Some(generation) {
                world.end_session(id, Tracepoint::SessionExpired);
            }
        });
    }

    /// Ends a session at the servers: deletes its ephemeral nodes and notifies its client.
    fn end_session(self: &Rc<Self>, id: i64, point: Tracepoint) {
        {
            let mut sessions = self.zookeeper.sessions.borrow_mut();
            let Some(session) = sessions.get_mut(&id) else {
                return;
            };
            if std::mem::replace(&mut session.over, true) {
                return;
            }
        }
        self.record(Actor::ZooKeeper, point, || format!("session {id:x}"));
        if point == Tracepoint::SessionExpired || self.may_close_undrained(id) {
            let is_checkpointed =
                |partition, range, offset| self.checkpoint_of(partition, range) > Offset(offset);
            self.checker.borrow_mut().session_lost(id, is_checkpointed);
        }
        let ephemerals = self.zookeeper.tree.borrow().ephemerals_of(id);
        for path in ephemerals {
            // A node with children could not be deleted; an ephemeral one has none.
            if self.zookeeper.tree.borrow_mut().delete(&path, None).is_ok() {
                self.deleted(id, &path);
            }
        }
        let clients = self.zookeeper.clients.borrow();
        let client = clients.iter().find(|client| client.id == id).cloned();
        drop(clients);
        if let Some(client) = client.filter(|client| client.has_connection()) {
            self.notify_expired(client);
        }
    }

    fn may_close_undrained(&self, id: i64) -> bool {
        let clients = self.zookeeper.clients.borrow();
        let process = clients.iter().find(|client| client.id == id);
        process.is_some_and(|client| {
            let Process { number, role, .. } = *client.process;
            let checker = self.checker.borrow();
            checker.may_close_undrained(number, role, self.now())
        })
    }

    /// A process begins to stop, asked or by itself.
    pub(crate) fn stop_begins(&self, process: &Process) {
        let mut checker = self.checker.borrow_mut();
        let deadline = self.now() + process.real(checker.stop_timeout);
        checker.stop_begun(process.number, deadline);
    }

    /// The client learns that its session is over, once its process runs.
    fn notify_expired(self: &Rc<Self>, client: Rc<ClientSession>) {
        let at = self.now() + self.rng.between(500, 30_000);
        let (world, owner) = (Rc::clone(self), Rc::clone(&client.process));
        self.spawn_of(&owner, async move {
            world.executor.until(at).await;
            client.expire();
        });
    }

    fn fire_watches(self: &Rc<Self>, path: &str, what: Watched) {
        let due = self.zookeeper.take_watches(path, what);
        for Watch {
            client,
            connection,
            signal,
            ..
        } in due
        {
            self.zookeeper.count(|counts| counts.notifications += 1);
            let at = client.next_answer(self.now() + self.net());
            let executor = Rc::clone(&self.executor);
            self.spawn(async move {
                executor.until(at).await;
                if client.connection() == connection {
                    signal.fire();
                }
            });
        }
    }

    fn created(self: &Rc<Self>, session: i64, path: &str) {
        self.fire_watches(path, Watched::Node);
        self.fire_watches(parent(path), Watched::Children);
        self.node_created(session, path);
    }

    fn deleted(self: &Rc<Self>, session: i64, path: &str) {
        self.fire_watches(path, Watched::Node);
        self.fire_watches(parent(path), Watched::Children);
        self.node_deleted(session, path);
    }

    /// Deletes a partition's lock that another member is queued for, as an operator may by hand. Returns the partition
    /// and the session that held the lock.
    pub(crate) fn delete_lock_by_hand(self: &Rc<Self>) -> Option<(i32, i64)> {
        let partitions: Vec<_> = self.kafka.log.borrow().partitions().collect();
        let (path, partition, owner) =
            partitions.into_iter().find_map(|Partition(partition)| {
                let directory = format!("{ROOT}/partitions/{partition}");
                let tree = self.zookeeper.tree.borrow();
                let locks = tree
                    .children(&directory)
                    .map(|name| format!("{directory}/{name}"));
                let mut locks: Vec<_> = locks
                    .filter(|path| NodeKind::of(path) == NodeKind::PartitionLock(partition))
                    .collect();
                locks.sort_by_key(|path| sequence(path));
                let first = locks.first().filter(|_| locks.len() > 1)?;
                let owner = tree.get(first)?.stat.ephemeral_owner;
                Some((first.clone(), partition, owner))
            })?;
        self.zookeeper.tree.borrow_mut().delete(&path, None).ok()?;
        self.deleted(owner, &path);
        Some((partition, owner))
    }

    /// Writes a node, as a session does that is none of these processes'.
    pub(super) fn write_by_hand(self: &Rc<Self>, path: &str, data: &[u8]) {
        {
            let tree = &mut *self.zookeeper.tree.borrow_mut();
            if tree.set(path, data, None).is_err() {
                let created = tree.create(0, path, data, CreateMode::Persistent);
                created.expect("its parent exists");
            }
        }
        self.fire_watches(path, Watched::Node);
    }

    /// Elects a new leader: every connection breaks, and every session has its full timeout again.
    pub(crate) fn elect(self: &Rc<Self>, outage: Micros) {
        self.zookeeper.tree.borrow_mut().elect();
        let clients: Vec<_> = self.zookeeper.clients.borrow().clone();
        for client in clients {
            if self.is_session_over(client.id) {
                continue;
            }
            if client.has_connection() {
                self.disconnect(&client, 0, outage);
            }
            // A client that does not reconnect is missed from the end of the election on.
            let end = self.now() + outage;
            if let Some(session) = self.zookeeper.sessions.borrow_mut().get_mut(&client.id) {
                session.last_heartbeat = end;
            }
            self.stop_heartbeats(client.id, end);
        }
    }

    /// The process is frozen or dead: its sessions send no heartbeats.
    pub(crate) fn suspend_sessions(self: &Rc<Self>, process: &Process) {
        for client in self.client_sessions(process) {
            if client.has_connection() {
                self.stop_heartbeats(client.id, self.now());
            }
        }
    }

    /// The process runs again: its connected sessions send heartbeats at once.
    pub(crate) fn resume_sessions(self: &Rc<Self>, process: &Process) {
        for client in self.client_sessions(process) {
            if client.has_connection() && !self.is_session_over(client.id) {
                self.heartbeat(client.id);
            }
        }
    }
}
