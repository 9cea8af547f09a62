//! The ZooKeeper and the Kafka of one namespace, in memory: a request for one node may be refused or lost, and ZooKeeper may
//! open sessions and answer nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Pending, pending};
use std::time::Duration;

use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    AssignmentEpoch, Bounds, CreateMode, CreateResult, EventLog, Feed, FeedEvent, Fingerprint,
    LogError, LogIdentity, MultiError, Node, NodeStat, Operation, Session, SessionState,
    TableIdentity, ZkError, ZooKeeper,
};
use stitch_config::Config;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_protocol::path::Paths;
use stitch_testkit::kafka::{Log, Never};
use stitch_testkit::zookeeper::Tree;

pub(crate) struct World {
    pub(crate) paths: Paths,
    tree: RefCell<Tree>,
    log: Log,
    refused: RefCell<Option<String>>,
    unanswered: RefCell<Option<String>>,
    is_silent: Cell<bool>,
    sessions: Cell<usize>,
}

impl World {
    /// The namespace as `init` makes it.
    pub(crate) fn new(config: &Config) -> Self {
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
            is_silent: Cell::new(false),
            sessions: Cell::new(0),
        };
        for path in world.paths.directories() {
            world.put(&path, b"");
        }
        world.put(&world.paths.definition(), &envelope::seal(&record));
        world
    }

    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        let mut tree = self.tree.borrow_mut();
        match tree.get(path) {
            Some(_) => drop(tree.set(path, data, None).unwrap()),
            None => drop(tree.create(0, path, data, CreateMode::Persistent).unwrap()),
        }
    }

    /// Requests for this node are refused from now on.
    pub(crate) fn refuse(&self, path: Option<String>) {
        self.refused.replace(path);
    }

    /// Requests for this node are not answered from now on.
    pub(crate) fn lose(&self, path: Option<String>) {
        self.unanswered.replace(path);
    }

    /// ZooKeeper answers nothing from now on.
    pub(crate) fn silence(&self) {
        self.is_silent.set(true);
    }

    /// Sessions that were opened.
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.get()
    }

    async fn ask<T>(&self, path: &str, answer: impl FnOnce(&Tree) -> T) -> Result<T, ZkError> {
        if self.is_silent.get() {
            return pending().await;
        }
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
        self.sessions.set(self.sessions.get() + 1);
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
        self.ask(path, |tree| tree.get(path).cloned()).await
    }

    async fn set(&self, _: &str, _: &[u8], _: Option<i32>) -> Result<NodeStat, ZkError> {
        unreachable!("it only reads")
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let names = |tree: &Tree| tree.children(path).map(str::to_owned).collect();
        self.ask(path, |tree| tree.get(path).map(|_| names(tree)))
            .await
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

    async fn sync(&self, path: &str) -> Result<(), ZkError> {
        self.ask(path, |_| ()).await
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

    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        Ok(self.log.records_from(offsets))
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
pub(crate) enum NoFeed {}

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
