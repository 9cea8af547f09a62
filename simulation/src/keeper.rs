//! A ZooKeeper in memory: one tree in which everything happens one after the other, sessions that the servers' clock
//! ends, and connections that break between a request and its answer.

mod tree;
mod place;
mod request;
mod line;
mod session;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::ports::SessionState;

pub(crate) use line::Line;
pub(crate) use place::{NAMESPACE, Place, sequence};
pub(crate) use tree::Tree;

use crate::executor::Micros;
use crate::notes::{Phase, Who};
use crate::process::Process;
use crate::slot::Signal;
use crate::world::World;

/// The session timeout that the servers grant.
pub(crate) const TIMEOUT: Micros = 600_000;
/// How often the servers look for sessions to end.
const TICK: Micros = TIMEOUT / 3;

/// The servers.
#[derive(Default)]
pub(crate) struct Ensemble {
    pub(crate) tree: RefCell<Tree>,
    sessions: RefCell<BTreeMap<i64, ServerSession>>,
    watches: RefCell<Vec<Watch>>,
    lines: RefCell<Vec<Rc<Line>>>,
    last: Cell<i64>,
    /// An answer takes up to so much longer.
    pub(crate) slowness: Cell<Micros>,
}

/// A session as the servers see it.
#[derive(Debug, Default)]
struct ServerSession {
    over: bool,
    heard: Micros,
    /// Raised whenever it is heard of, or ceases to be: an earlier look at it is void.
    looks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watched {
    Node,
    Children,
}

struct Watch {
    path: String,
    what: Watched,
    line: Rc<Line>,
    connection: u32,
    signal: Rc<Signal>,
}

impl World {
    fn open_session(self: &Rc<Self>, process: &Rc<Process>) -> Rc<Line> {
        let id = self.keeper.last.get() + 1;
        self.keeper.last.set(id);
        // Numbers as ZooKeeper gives them: large, the server's own in front.
        let id = 0x0100_0000_0000 + id;
        let heard = self.now();
        let session = ServerSession {
            heard,
            ..ServerSession::default()
        };
        self.keeper.sessions.borrow_mut().insert(id, session);
        let line = Rc::new(Line::new(id, process, heard));
        self.keeper.lines.borrow_mut().push(Rc::clone(&line));
        self.session_of(id, process.number);
        line
    }

    /// The sessions of a process that are not over as far as it knows.
    pub(crate) fn lines_of(&self, process: &Process) -> Vec<Rc<Line>> {
        let lines = self.keeper.lines.borrow();
        let own = |line: &&Rc<Line>| {
            line.process.number == process.number && line.state() != SessionState::Over
        };
        lines.iter().filter(own).cloned().collect()
    }

    pub(crate) fn is_session_over(&self, id: i64) -> bool {
        let sessions = self.keeper.sessions.borrow();
        sessions.get(&id).is_none_or(|session| session.over)
    }

    /// The servers hear of the session again.
    fn heard(&self, id: i64) {
        if let Some(session) = self.keeper.sessions.borrow_mut().get_mut(&id) {
            session.heard = self.now();
            session.looks += 1;
        }
    }

    /// The servers hear nothing of the session from now on: unless that changes, they end it.
    fn silent(self: &Rc<Self>, id: i64, from: Micros) {
        // The last ping was some time before.
        self.last_heard(id, from.saturating_sub(self.rng.below(TICK)));
    }

    /// The servers have heard of the session for the last time: unless that changes, they end it.
    fn last_heard(self: &Rc<Self>, id: i64, at: Micros) {
        let (heard, looks) = {
            let mut sessions = self.keeper.sessions.borrow_mut();
            let Some(session) = sessions.get_mut(&id).filter(|session| !session.over) else {
                return;
            };
            session.looks += 1;
            session.heard = session.heard.max(at);
            (session.heard, session.looks)
        };
        let due = (heard + TIMEOUT).div_ceil(TICK) * TICK;
        let world = Rc::clone(self);
        self.spawn(async move {
            world.executor.until(due).await;
            let looks_now = {
                let sessions = world.keeper.sessions.borrow();
                sessions.get(&id).map(|session| session.looks)
            };
            if looks_now == Some(looks) {
                world.end_session(id, Phase::Expired);
            }
        });
    }

    /// Ends a session at the servers: its ephemeral nodes go, and its client learns of it when it can.
    fn end_session(self: &Rc<Self>, id: i64, phase: Phase) {
        {
            let mut sessions = self.keeper.sessions.borrow_mut();
            let Some(session) = sessions.get_mut(&id) else {
                return;
            };
            if std::mem::replace(&mut session.over, true) {
                return;
            }
        }
        self.note(Who::Keeper, phase, || format!("session {id:x}"));
        self.checker.borrow_mut().session_ended(id);
        let gone = self.keeper.tree.borrow().ephemerals_of(id);
        for path in gone {
            // Only a node with children would be refused, and an ephemeral one has none.
            if self.keeper.tree.borrow_mut().delete(&path, None).is_ok() {
                self.deleted(id, &path);
            }
        }
        let lines = self.keeper.lines.borrow();
        let line = lines.iter().find(|line| line.id == id).cloned();
        drop(lines);
        if let Some(line) = line.filter(|line| line.is_linked()) {
            self.tell_over(line);
        }
    }

    /// The client hears that its session is over, once its process is awake.
    fn tell_over(self: &Rc<Self>, line: Rc<Line>) {
        let at = self.now() + self.rng.between(500, 30_000);
        let (world, owner) = (Rc::clone(self), Rc::clone(&line.process));
        self.spawn_of(&owner, async move {
            world.executor.until(at).await;
            line.over();
        });
    }

    fn changed(self: &Rc<Self>, path: &str, what: Watched) {
        let mut due = Vec::new();
        self.keeper.watches.borrow_mut().retain(|watch| {
            let hit = watch.what == what && watch.path == path;
            if hit {
                due.push((
                    Rc::clone(&watch.line),
                    watch.connection,
                    Rc::clone(&watch.signal),
                ));
            }
            !hit
        });
        for (line, connection, signal) in due {
            let at = line.next_answer(self.now() + self.net());
            let executor = Rc::clone(&self.executor);
            self.spawn(async move {
                executor.until(at).await;
                if line.connection() == connection {
                    signal.fire();
                }
            });
        }
    }

    fn created(self: &Rc<Self>, session: i64, path: &str) {
        self.changed(path, Watched::Node);
        self.changed(tree::parent(path), Watched::Children);
        self.node_created(session, path);
    }

    fn deleted(self: &Rc<Self>, session: i64, path: &str) {
        self.changed(path, Watched::Node);
        self.changed(tree::parent(path), Watched::Children);
        self.node_deleted(session, path);
    }

    /// An operator takes the lock of a partition that somebody else waits for away from its holder, whose session is
    /// told; nothing if there is none.
    pub(crate) fn unlock_by_hand(self: &Rc<Self>) -> Option<(i32, i64)> {
        let count = self.topic.records.borrow().len();
        let (path, partition, owner) = (0..count).find_map(|partition| {
            let partition = i32::try_from(partition).ok()?;
            let directory = format!("/stitch/n/partitions/{partition}");
            let tree = self.keeper.tree.borrow();
            let locks = tree
                .children(&directory)
                .map(|name| format!("{directory}/{name}"));
            let mut locks: Vec<_> = locks
                .filter(|path| Place::of(path) == Place::PartitionLock(partition))
                .collect();
            locks.sort_by_key(|path| sequence(path));
            let first = locks.first().filter(|_| locks.len() > 1)?;
            let owner = tree.get(first)?.stat.ephemeral_owner;
            Some((first.clone(), partition, owner))
        })?;
        self.keeper.tree.borrow_mut().delete(&path, None).ok()?;
        self.deleted(owner, &path);
        Some((partition, owner))
    }

    /// A new leader: every connection breaks, and every session has its full timeout again.
    pub(crate) fn elect(self: &Rc<Self>, outage: Micros) {
        self.keeper.tree.borrow_mut().elect();
        let lines: Vec<_> = self.keeper.lines.borrow().clone();
        for line in lines {
            if self.is_session_over(line.id) {
                continue;
            }
            if line.is_linked() {
                self.cut_line(&line, 0, outage);
            }
            // Whoever does not come back is missed from the election's end on.
            let end = self.now() + outage;
            if let Some(session) = self.keeper.sessions.borrow_mut().get_mut(&line.id) {
                session.heard = end;
            }
            self.silent(line.id, end);
        }
    }

    /// The process stands still or is gone: its sessions are not heard of any more.
    pub(crate) fn sessions_fall_silent(self: &Rc<Self>, process: &Process) {
        for line in self.lines_of(process) {
            if line.is_linked() {
                self.silent(line.id, self.now());
            }
        }
    }

    /// The process goes on: those of its sessions that have a connection are heard of at once.
    pub(crate) fn sessions_are_heard(self: &Rc<Self>, process: &Process) {
        for line in self.lines_of(process) {
            if line.is_linked() && !self.is_session_over(line.id) {
                self.heard(line.id);
            }
        }
    }
}
