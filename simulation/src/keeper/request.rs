//! What a client asks, and what it is answered.

use std::cell::Cell;
use std::rc::Rc;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, ZkError,
};

use super::line::Line;
use super::{Watch, Watched, tree};
use crate::notes::{Phase, Who};
use crate::process::{Process, Role};
use crate::slot::{Signal, Slot};
use crate::world::World;

#[derive(Clone, Debug)]
pub(super) enum Ask {
    Create(String, Vec<u8>, CreateMode),
    Delete(String, Option<i32>),
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
pub(super) enum Told {
    Nothing,
    Created(CreateResult),
    Node(Option<Node>),
    Stat(Option<NodeStat>),
    Names(Option<Vec<String>>),
    Many(Vec<CreateResult>),
}

pub(super) type Answer = Result<Told, MultiError>;

/// A request from its sending to its answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) answer: Slot<Answer>,
    /// It has taken effect, and its answer is on its way.
    pub(super) done: Cell<bool>,
}

impl World {
    /// Does what was asked, in the servers' one order.
    pub(super) fn perform(self: &Rc<Self>, line: &Rc<Line>, ask: &Ask) -> Answer {
        if self.is_session_over(line.id) {
            return Err(ZkError::SessionOver.into());
        }
        let id = line.id;
        match ask {
            Ask::Create(path, data, mode) => {
                let made = self
                    .keeper
                    .tree
                    .borrow_mut()
                    .create(id, path, data, *mode)?;
                self.created(id, &made.path);
                Ok(Told::Created(made))
            }
            Ask::Delete(path, version) => {
                self.keeper.tree.borrow_mut().delete(path, *version)?;
                self.deleted(id, path);
                Ok(Told::Nothing)
            }
            Ask::Set(path, data, version) => {
                let stat = self.keeper.tree.borrow_mut().set(path, data, *version)?;
                self.changed(path, Watched::Node);
                self.node_written(id, path, data);
                Ok(Told::Stat(Some(stat)))
            }
            Ask::Get(path) => Ok(Told::Node(self.keeper.tree.borrow().get(path).cloned())),
            Ask::Children(path) => {
                self.listed(&line.process, path);
                Ok(Told::Names(self.names(path)))
            }
            Ask::WatchChildren(path, signal) => {
                let names = self.names(path).ok_or(ZkError::NoNode)?;
                self.watch(line, path, Watched::Children, signal);
                Ok(Told::Names(Some(names)))
            }
            Ask::WatchNode(path, signal) => {
                let stat = self.keeper.tree.borrow().get(path).map(|node| node.stat);
                self.watch(line, path, Watched::Node, signal);
                Ok(Told::Stat(stat))
            }
            Ask::Multi(operations) => self.transact(id, operations).map(Told::Many),
            Ask::Sync => Ok(Told::Nothing),
            Ask::Close => {
                self.end_session(id, Phase::Closed);
                Ok(Told::Nothing)
            }
        }
    }

    fn listed(&self, process: &Process, path: &str) {
        if process.role != Role::Restorator {
            return;
        }
        if path == "/stitch/n/members" {
            self.phase(Who::of(process), Phase::Listed);
        } else if path.starts_with("/stitch/n/ranges/") {
            self.phase(Who::of(process), Phase::Looked);
        }
    }

    fn names(&self, path: &str) -> Option<Vec<String>> {
        let tree = self.keeper.tree.borrow();
        tree.get(path)?;
        let mut names: Vec<String> = tree.children(path).map(str::to_owned).collect();
        // In no order, as the port says.
        if names.len() > 1 {
            let by = self.rng.index(names.len());
            names.rotate_left(by);
        }
        Some(names)
    }

    fn watch(&self, line: &Rc<Line>, path: &str, what: Watched, signal: &Rc<Signal>) {
        self.keeper.watches.borrow_mut().push(Watch {
            path: path.to_owned(),
            what,
            line: Rc::clone(line),
            connection: line.connection(),
            signal: Rc::clone(signal),
        });
    }

    /// All of it or nothing.
    fn transact(
        self: &Rc<Self>,
        id: i64,
        operations: &[Operation],
    ) -> Result<Vec<CreateResult>, MultiError> {
        let done = self.keeper.tree.borrow_mut().transact(id, operations);
        let made = done.map_err(|(index, error)| MultiError::Operation { index, error })?;
        for operation in operations {
            match operation {
                Operation::Check { .. } => {}
                Operation::Create { path, .. } => self.created(id, path),
                Operation::Delete { path, .. } => self.deleted(id, path),
                Operation::Set { path, data, .. } => {
                    self.changed(path, Watched::Node);
                    self.node_written(id, path, data);
                }
            }
        }
        debug_assert!(made.iter().all(|node| !tree::parent(&node.path).is_empty()));
        Ok(made)
    }
}
