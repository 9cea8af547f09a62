//! The ZooKeeper and the Kafka of one namespace, in memory: a request for one node may be refused, or not be answered.

use std::cell::RefCell;
use std::future::{Pending, pending};

use stitch_common::offset::Offset;
use stitch_common::ports::{
    AssignmentEpoch, CreateMode, CreateResult, Feed, FeedEvent, Fingerprint, LogError, LogIdentity,
    MultiError, Node, NodeStat, Operation, SessionState, TableIdentity, ZkError,
};
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_testkit::kafka::{Log, Never};
use stitch_testkit::zookeeper::Tree;

use super::*;

pub(super) struct World {
    pub(super) paths: Paths,
    tree: RefCell<Tree>,
    log: Log,
    refused: RefCell<Option<String>>,
    unanswered: RefCell<Option<String>>,
}

impl World {
    /// The namespace as `init` makes it.
    pub(super) fn new(config: &Config) -> Self {
        let log = Log::new(1);
        let record = NamespaceRecord {
            generation: 1,
            definitions: config.definitions.clone(),
            log: log.identity(),
            table: TableIdentity {
                cluster: "cassandra".to_owned(),
                table: Default::default(),
            },
            write_consistency: config.cassandra.write_consistency,
            raised_from: None,
        };
        let world = Self {
            paths: Paths::below(&config.zookeeper.root, &config.namespace),
            tree: RefCell::default(),
            log,
            refused: RefCell::default(),
            unanswered: RefCell::default(),
        };
        for path in world.paths.directories() {
            world.put(&path, b"");
        }
        world.put(&world.paths.definition(), &envelope::seal(&record));
        world
    }

    pub(super) fn put(&self, path: &str, data: &[u8]) {
        let mut tree = self.tree.borrow_mut();
        match tree.get(path) {
            Some(_) => drop(tree.set(path, data, None).unwrap()),
            None => drop(tree.create(0, path, data, CreateMode::Persistent).unwrap()),
        }
    }

    /// Requests for this node are refused from now on.
    pub(super) fn refuse(&self, path: Option<String>) {
        self.refused.replace(path);
    }

    /// Requests for this node are not answered from now on.
    pub(super) fn lose(&self, path: Option<String>) {
        self.unanswered.replace(path);
    }

    fn ask<T>(&self, path: &str, answer: impl FnOnce(&Tree) -> T) -> Result<T, ZkError> {
        let is = |other: &RefCell<Option<String>>| other.borrow().as_deref() == Some(path);
        if is(&self.refused) {
            return Err(ZkError::Refused("as the test wants".to_owned()));
        }
        if is(&self.unanswered) {
            return Err(ZkError::Ambiguous("as the test wants".to_owned()));
        }
        Ok(answer(&self.tree.borrow()))
    }
}

impl<'a> ZooKeeper for &'a World {
    type Session = &'a World;

    async fn connect(&self) -> Result<&'a World, ZkError> {
        Ok(self)
    }
}

impl Session for &World {
    type Watch = Pending<()>;

    fn id(&self) -> i64 {
        1
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(4)
    }

    fn state(&self) -> SessionState {
        SessionState::Connected
    }

    async fn state_other_than(&self, _: SessionState) -> SessionState {
        pending().await
    }

    async fn create(&self, _: &str, _: &[u8], _: CreateMode) -> Result<CreateResult, ZkError> {
        unreachable!("it only reads")
    }

    async fn delete(&self, _: &str, _: Option<i32>) -> Result<(), ZkError> {
        unreachable!("it only reads")
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        self.ask(path, |tree| tree.get(path).cloned())
    }

    async fn set(&self, _: &str, _: &[u8], _: Option<i32>) -> Result<NodeStat, ZkError> {
        unreachable!("it only reads")
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let names = |tree: &Tree| tree.children(path).map(str::to_owned).collect();
        self.ask(path, |tree| tree.get(path).map(|_| names(tree)))
    }

    async fn watch_children(&self, _: &str) -> Result<(Vec<String>, Pending<()>), ZkError> {
        unreachable!("it only reads")
    }

    async fn watch_node(&self, _: &str) -> Result<(Option<NodeStat>, Pending<()>), ZkError> {
        unreachable!("it only reads")
    }

    async fn multi(&self, _: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        unreachable!("it only reads")
    }

    async fn sync(&self, _: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {}
}

impl EventLog for &World {
    type Feed = NoFeed;
    type Group = Never;
    type DeadLetters = Never;

    async fn partitions(&self) -> Result<Vec<Partition>, LogError> {
        Ok(self.log.partitions().collect())
    }

    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError> {
        Ok(self.log.bounds(partitions))
    }

    async fn identity(&self) -> Result<LogIdentity, LogError> {
        Ok(self.log.identity())
    }

    async fn committed(&self, _: &[Partition]) -> Result<BTreeMap<Partition, Offset>, LogError> {
        Ok(BTreeMap::new())
    }

    async fn first_records(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        Ok(self.log.first_records(partitions))
    }

    async fn feed(&self) -> Result<NoFeed, LogError> {
        unreachable!("it reads no record")
    }

    async fn join(&self) -> Result<Never, LogError> {
        unreachable!("it joins no group")
    }

    async fn dead_letters(&self) -> Result<Never, LogError> {
        unreachable!("it rejects nothing")
    }
}

/// The feed of a program that reads no record.
pub(super) enum NoFeed {}

impl Feed for NoFeed {
    fn start(&mut self, _: Partition, _: Offset, _: AssignmentEpoch) -> Result<(), LogError> {
        match *self {}
    }

    fn stop(&mut self, _: Partition) -> Result<(), LogError> {
        match *self {}
    }

    async fn next(&mut self) -> FeedEvent {
        match *self {}
    }
}
