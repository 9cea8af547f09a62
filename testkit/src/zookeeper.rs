//! ZooKeeper's data: the tree of nodes with versions, owners and zxids, and transactions. Sessions, watches, delays and
//! faults are for its users to add.

use std::collections::BTreeMap;
use std::ops::Bound;

use stitch_common::ports::{CreateMode, CreateResult, Node, NodeStat, Operation, ZkError};

/// The nodes, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
    /// By directory, the number of the next sequential node.
    sequences: BTreeMap<String, i32>,
    epoch: i64,
    changes: i64,
}

pub const fn path_of(operation: &Operation) -> &str {
    match operation {
        Operation::Check { path, .. }
        | Operation::Create { path, .. }
        | Operation::Set { path, .. }
        | Operation::Delete { path, .. } => path.as_str(),
    }
}

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Tree {
    fn zxid(&mut self) -> i64 {
        self.changes += 1;
        (self.epoch << 32) | self.changes
    }

    /// Elects a new leader: zxids continue in a new epoch.
    pub fn elect(&mut self) {
        self.epoch += 1;
        self.changes = 0;
    }

    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The direct children of `path`, each with its full path.
    pub fn below(&self, path: &str) -> impl Iterator<Item = (&str, &Node)> {
        let prefix = format!("{path}/");
        let from = Bound::Excluded(prefix.as_str());
        let nodes = self.nodes.range::<str, _>((from, Bound::Unbounded));
        let nodes = nodes.map(|(path, node)| (path.as_str(), node));
        let length = prefix.len();
        nodes
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(move |(path, _)| !path[length..].contains('/'))
    }

    /// The names of the direct children of `path`.
    pub fn children(&self, path: &str) -> impl Iterator<Item = &str> {
        let length = path.len() + 1;
        self.below(path).map(move |(path, _)| &path[length..])
    }

    pub fn ephemerals_of(&self, session: i64) -> Vec<String> {
        let own = self.nodes.iter();
        own.filter(|(_, node)| node.stat.ephemeral_owner == session)
            .map(|(path, _)| path.clone())
            .collect()
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    pub fn create(
        &mut self,
        session: i64,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let above = parent(path);
        if !above.is_empty() && !self.nodes.contains_key(above) {
            return Err(ZkError::NoNode);
        }
        let path = match mode {
            CreateMode::EphemeralSequential => {
                let next = self.sequences.entry(above.to_owned()).or_default();
                let number = *next;
                *next = next.wrapping_add(1);
                format!("{path}{number:010}")
            }
            CreateMode::Persistent | CreateMode::Ephemeral => path.to_owned(),
        };
        if self.nodes.contains_key(&path) {
            return Err(ZkError::NodeExists);
        }
        let zxid = self.zxid();
        let stat = NodeStat {
            czxid: zxid,
            mzxid: zxid,
            ctime_ms: 0,
            version: 0,
            ephemeral_owner: if mode == CreateMode::Persistent {
                0
            } else {
                session
            },
        };
        let node = Node {
            data: data.to_vec(),
            stat,
        };
        self.nodes.insert(path.clone(), node);
        Ok(CreateResult { path, stat })
    }

    pub fn set(
        &mut self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        self.check(path, version)?;
        let zxid = self.zxid();
        let node = self.nodes.get_mut(path).ok_or(ZkError::NoNode)?;
        node.data = data.to_vec();
        node.stat.version += 1;
        node.stat.mzxid = zxid;
        Ok(node.stat)
    }

    pub fn delete(&mut self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.check(path, version)?;
        if self.children(path).next().is_some() {
            return Err(ZkError::NotEmpty);
        }
        self.zxid();
        self.nodes.remove(path);
        Ok(())
    }

    fn check(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        let node = self.nodes.get(path).ok_or(ZkError::NoNode)?;
        match version {
            Some(version) if version != node.stat.version => Err(ZkError::BadVersion),
            Some(_) | None => Ok(()),
        }
    }

    /// Applies all operations or none: the created nodes, or the index of the operation that failed and its error.
    pub fn transact(
        &mut self,
        session: i64,
        operations: &[Operation],
    ) -> Result<Vec<CreateResult>, (usize, ZkError)> {
        let changes = self.changes;
        let (mut made, mut before) = (Vec::new(), Vec::new());
        for (index, operation) in operations.iter().enumerate() {
            let path = path_of(operation);
            let known = self.nodes.get(path).cloned();
            match self.apply(session, operation) {
                Ok(created) => {
                    made.extend(created);
                    before.push((path, known));
                }
                Err(error) => {
                    self.changes = changes;
                    self.undo(before);
                    return Err((index, error));
                }
            }
        }
        Ok(made)
    }

    /// Restores nodes as they were, the last change first.
    fn undo(&mut self, before: Vec<(&str, Option<Node>)>) {
        for (path, node) in before.into_iter().rev() {
            match node {
                Some(node) => drop(self.nodes.insert(path.to_owned(), node)),
                None => drop(self.nodes.remove(path)),
            }
        }
    }

    fn apply(
        &mut self,
        session: i64,
        operation: &Operation,
    ) -> Result<Option<CreateResult>, ZkError> {
        match operation {
            Operation::Check { path, version } => self.check(path, *version).map(|()| None),
            Operation::Create { path, data, mode } => {
                self.create(session, path, data, *mode).map(Some)
            }
            Operation::Set {
                path,
                data,
                version,
            } => self.set(path, data, *version).map(|_| None),
            Operation::Delete { path, version } => self.delete(path, *version).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequential_nodes_are_numbered_per_directory_and_children_are_direct_ones() {
        let mut tree = Tree::default();
        tree.create(1, "/a", b"", CreateMode::Persistent).unwrap();
        let first = tree.create(7, "/a/x-", b"", CreateMode::EphemeralSequential);
        let second = tree.create(7, "/a/x-", b"", CreateMode::EphemeralSequential);
        assert_eq!(first.unwrap().path, "/a/x-0000000000");
        assert_eq!(second.unwrap().path, "/a/x-0000000001");
        tree.create(1, "/a/b", b"", CreateMode::Persistent).unwrap();
        tree.create(1, "/a/b/c", b"", CreateMode::Persistent)
            .unwrap();
        let names: Vec<_> = tree.children("/a").collect();
        assert_eq!(names, ["b", "x-0000000000", "x-0000000001"]);
        assert_eq!(tree.ephemerals_of(7).len(), 2);
        assert_eq!(tree.delete("/a/b", None), Err(ZkError::NotEmpty));
    }

    #[test]
    fn a_failed_transaction_changes_nothing() {
        let mut tree = Tree::default();
        tree.create(1, "/a", b"x", CreateMode::Persistent).unwrap();
        let path = |path: &str| path.to_owned();
        let create = |name: &str| Operation::Create {
            path: path(name),
            data: Vec::new(),
            mode: CreateMode::Ephemeral,
        };
        let set = |version| Operation::Set {
            path: path("/a"),
            data: b"y".to_vec(),
            version,
        };
        let refused = [create("/a/b"), set(None), create("/a/b")];
        let failed = tree.transact(7, &refused);
        assert_eq!(failed.err(), Some((2, ZkError::NodeExists)));
        assert_eq!(tree.get("/a").unwrap().data, b"x");
        assert_eq!(tree.get("/a").unwrap().stat.version, 0);
        assert!(tree.get("/a/b").is_none());
        let made = tree.transact(7, &[create("/a/b"), set(Some(0))]);
        assert_eq!(made.map(|made| made.len()), Ok(1));
        assert_eq!(tree.get("/a").unwrap().data, b"y");
    }

    #[test]
    fn a_write_at_a_stale_version_changes_nothing_and_an_election_raises_the_epoch() {
        let mut tree = Tree::default();
        tree.create(1, "/a", b"x", CreateMode::Persistent).unwrap();
        assert_eq!(tree.set("/a", b"y", Some(1)), Err(ZkError::BadVersion));
        assert_eq!(tree.get("/a").unwrap().data, b"x");
        let before = tree.set("/a", b"y", Some(0)).unwrap();
        tree.elect();
        let after = tree.set("/a", b"z", None).unwrap();
        assert!(after.mzxid >> 32 > before.mzxid >> 32);
        assert_eq!(after.version, 2);
    }
}
