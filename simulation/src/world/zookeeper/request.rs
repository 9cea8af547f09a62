//! Requests: what a client asks, and how the servers execute it.

use std::cell::Cell;
use std::rc::Rc;

use stitch_common::ports::{CreateResult, MultiError, Node, NodeStat, Operation, ZkError};
use stitch_testkit::wait::{OneShot, Signal};

use super::client_session::ClientSession;
use super::{NodeKind, ROOT, Watch, Watched};
use crate::process::{Process, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::World;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Get(String),
    Set(String, Vec<u8>, Option<i32>),
    Children(String),
    WatchChildren(String, Rc<Signal>),
    WatchNode(String, Rc<Signal>),
    Multi(Vec<Operation>),
    Sync,
    Close,
}

#[derive(Debug)]
pub(super) enum Reply {
    Nothing,
    Node(Option<Node>),
    Stat(Option<NodeStat>),
    Names(Option<Vec<String>>),
    Many(Vec<CreateResult>),
}

pub(super) type Answer = Result<Reply, MultiError>;

/// A request, from its submission to its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) answer: OneShot<Answer>,
    /// It has taken effect; its answer may still be in flight.
    pub(super) executed: Cell<bool>,
}

impl Request {
    pub(super) fn new(op: Op) -> Self {
        Self {
            op,
            answer: OneShot::default(),
            executed: Cell::new(false),
        }
    }
}

impl World {
    /// Executes a request.
    pub(super) fn execute(self: &Rc<Self>, client: &Rc<ClientSession>, op: &Op) -> Answer {
        if self.is_session_over(client.id) {
            return Err(ZkError::SessionOver.into());
        }
        self.zookeeper.count(|counts| counts.add_request(op));
        let answer = self.answer(client, op);
        self.zookeeper.count(|counts| counts.add_answer(&answer));
        answer
    }

    fn answer(self: &Rc<Self>, client: &Rc<ClientSession>, op: &Op) -> Answer {
        let id = client.id;
        if self.zookeeper.refuses.get() && self.is_refused(client, op) {
            return Err(ZkError::Refused("no permission".to_owned()).into());
        }
        match op {
            Op::Set(path, data, version) => {
                let stat = self.zookeeper.tree.borrow_mut().set(path, data, *version)?;
                self.fire_watches(path, Watched::Node);
                self.node_written(id, path, data);
                Ok(Reply::Stat(Some(stat)))
            }
            Op::Get(path) => Ok(Reply::Node(self.zookeeper.tree.borrow().get(path).cloned())),
            Op::Children(path) => {
                self.record_listing(&client.process, path);
                Ok(Reply::Names(self.names(path)))
            }
            Op::WatchChildren(path, signal) => {
                let names = self.names(path).ok_or(ZkError::NoNode)?;
                self.watch(client, path, Watched::Children, signal);
                Ok(Reply::Names(Some(names)))
            }
            Op::WatchNode(path, signal) => {
                let stat = self.zookeeper.tree.borrow().get(path).map(|node| node.stat);
                self.watch(client, path, Watched::Node, signal);
                Ok(Reply::Stat(stat))
            }
            Op::Multi(operations) => self.transact(id, operations).map(Reply::Many),
            Op::Sync => Ok(Reply::Nothing),
            Op::Close => {
                self.end_session(id, Tracepoint::SessionClosed);
                Ok(Reply::Nothing)
            }
        }
    }

    /// Whether this is a checkpoint or a marker of a processor. Without its marker that has to stop.
    fn is_refused(&self, client: &ClientSession, op: &Op) -> bool {
        let Op::Multi(operations) = op else {
            return false;
        };
        let writes = |operation: &Operation| match operation {
            Operation::Set { path, .. } => path.ends_with("/checkpoint"),
            Operation::Create { path, .. } => matches!(NodeKind::of(path), NodeKind::Marker(_)),
            Operation::Check { .. } | Operation::Delete { .. } => false,
        };
        let refused = client.process.role == Role::Processor && operations.iter().any(writes);
        let is_marker = |operation: &Operation| matches!(operation, Operation::Create { .. });
        if refused && operations.iter().any(is_marker) {
            self.stop_begins(&client.process);
        }
        refused
    }

    fn record_listing(&self, process: &Process, path: &str) {
        if process.role != Role::Restorator {
            return;
        }
        if path == format!("{ROOT}/members") {
            self.record_point(Actor::of(process), Tracepoint::MembersListed);
        } else if path.starts_with(&format!("{ROOT}/ranges/")) {
            self.record_point(Actor::of(process), Tracepoint::RangeListed);
        }
    }

    fn names(&self, path: &str) -> Option<Vec<String>> {
        let tree = self.zookeeper.tree.borrow();
        tree.get(path)?;
        let mut names: Vec<String> = tree.children(path).map(str::to_owned).collect();
        // In no particular order, as the port says.
        if names.len() > 1 {
            let by = self.rng.index(names.len());
            names.rotate_left(by);
        }
        Some(names)
    }

    fn watch(&self, client: &Rc<ClientSession>, path: &str, what: Watched, signal: &Rc<Signal>) {
        let mut watches = self.zookeeper.watches.borrow_mut();
        watches.entry(path.to_owned()).or_default().push(Watch {
            what,
            client: Rc::clone(client),
            connection: client.connection(),
            signal: Rc::clone(signal),
        });
    }

    fn transact(
        self: &Rc<Self>,
        id: i64,
        operations: &[Operation],
    ) -> Result<Vec<CreateResult>, MultiError> {
        let result = self.zookeeper.tree.borrow_mut().transact(id, operations);
        let created = result.map_err(|(index, error)| MultiError::Operation { index, error })?;
        let mut paths = created.iter().map(|node| &node.path);
        for operation in operations {
            match operation {
                Operation::Check { .. } => {}
                Operation::Create { path, .. } => self.created(id, paths.next().unwrap_or(path)),
                Operation::Delete { path, .. } => self.deleted(id, path),
                Operation::Set { path, data, .. } => {
                    self.fire_watches(path, Watched::Node);
                    self.node_written(id, path, data);
                }
            }
        }
        Ok(created)
    }
}
