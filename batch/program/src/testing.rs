//! A table, a ZooKeeper and totals in memory. Every request that changes something can be the last one of a process.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Pending, pending};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_archive::reader::Archive;
use stitch_batch::batch_lock;
use stitch_batch::batch_node;
use stitch_batch::record::BatchRecord;
use stitch_common::cell::{CellSlot, Count, Counter};
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_common::definition::Definitions;
use stitch_common::offset::Offsets;
use stitch_common::ports::{
    BatchTable, CellBatch, CellScan, CreateMode, CreateResult, MultiError, Node, NodeStat,
    Operation, ScanPage, ScanPosition, Session, SessionState, StoreError, TableIdentity, WriteTime,
    ZkError,
};
use stitch_common::progress::NoProgress;
use stitch_common::range::TokenInterval;
use stitch_common::token::Token;
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;
use stitch_testkit::zookeeper::Tree;
use stitch_totals::build::{self, BaseChoice, BuildRequest};
use stitch_totals::manifest::Manifest;
use stitch_totals::records::{Records, RecordsError};
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::testing::{SampleTopic, instance};
use stitch_totals::totals_folder::TotalsFolder;

use crate::batch_error::BatchError;
use crate::generation::{Loader, Published};
use crate::patience::Patience;

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

/// Its time stands still, and sleeping takes none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        SystemClock.now()
    }

    fn wall(&self) -> DateTime<Utc> {
        at(1000)
    }

    async fn sleep(&self, _: Duration) {}
}

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

/// What is left of a process that is killed.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    left: Rc<Cell<u64>>,
}

impl Life {
    fn new() -> Self {
        Self {
            left: Rc::new(Cell::new(u64::MAX)),
        }
    }

    /// Lets the process do this many further changes.
    pub(crate) fn spare(&self, changes: u64) {
        self.left.set(changes);
    }

    fn change(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }
}

type Rows = BTreeMap<(Token, Counter), BTreeMap<CellSlot, (WriteTime, i64)>>;

/// A table that keeps the value with the latest time, as Cassandra does.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    pub(crate) rows: RefCell<Rows>,
    life: Life,
    /// This many requests are not answered.
    pub(crate) away: Cell<u32>,
    pub(crate) inserted: Cell<u64>,
}

impl MemoryTable {
    pub(crate) fn set(&self, counter: &Counter, slot: CellSlot, written: i64, value: i64) {
        let mut rows = self.rows.borrow_mut();
        let cells = rows.entry((counter.token(), counter.clone())).or_default();
        let cell = cells.entry(slot).or_insert((WriteTime(written), value));
        // Of two values of one time the greater one is kept.
        *cell = (*cell).max((WriteTime(written), value));
    }

    fn answer(&self) -> Result<(), StoreError> {
        let away = self.away.get();
        self.away.set(away.saturating_sub(1));
        if away > 0 {
            return Err(StoreError::Unavailable("no node answers".to_owned()));
        }
        Ok(())
    }
}

impl CellScan for MemoryTable {
    async fn scan(
        &self,
        tokens: TokenInterval,
        after: Option<ScanPosition>,
    ) -> Result<ScanPage, StoreError> {
        const ROWS: usize = 3;
        self.answer()?;
        let rows = self.rows.borrow();
        let counters = rows
            .iter()
            .filter(|((token, _), _)| tokens.contains(*token));
        let cells = counters.flat_map(|((token, counter), cells)| {
            let cell = |(slot, (_, value)): (&CellSlot, &(WriteTime, i64))| {
                (*token, counter.clone(), *slot, Count(*value))
            };
            cells.iter().map(cell).collect::<Vec<_>>()
        });
        let skip = after.map_or(0, |ScanPosition(bytes)| usize::from(bytes[0]));
        let mut cells: Vec<_> = cells.skip(skip).take(ROWS + 1).collect();
        let next = (cells.len() > ROWS).then(|| {
            let position = u8::try_from(skip + ROWS).expect("few rows");
            ScanPosition(vec![position])
        });
        cells.truncate(ROWS);
        Ok(ScanPage {
            cells,
            foreign: BTreeMap::new(),
            next,
        })
    }
}

impl BatchTable for MemoryTable {
    async fn insert(&self, batch: &CellBatch, written: WriteTime) -> Result<(), StoreError> {
        self.answer()?;
        for (slot, count) in &batch.values {
            // A batch that is not of one partition may be applied in part; one that is killed may be, too.
            if !self.life.change() {
                return Err(StoreError::Refused("killed".to_owned()));
            }
            self.inserted.set(self.inserted.get() + 1);
            self.set(&batch.counter, *slot, written.0, count.0);
        }
        Ok(())
    }
}

/// A session with a ZooKeeper of one server.
#[derive(Debug)]
pub(crate) struct MemorySession {
    tree: Rc<RefCell<Tree>>,
    life: Life,
    pub(crate) id: i64,
}

impl MemorySession {
    fn change<T>(
        &self,
        execute: impl FnOnce(&mut Tree) -> Result<T, ZkError>,
    ) -> Result<T, ZkError> {
        if !self.life.change() {
            return Err(ZkError::Refused("killed".to_owned()));
        }
        execute(&mut self.tree.borrow_mut())
    }
}

impl Session for MemorySession {
    type Watch = Pending<()>;

    fn id(&self) -> i64 {
        self.id
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn state(&self) -> SessionState {
        SessionState::Connected
    }

    async fn state_other_than(&self, _: SessionState) -> SessionState {
        pending().await
    }

    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        self.change(|tree| tree.create(self.id, path, data, mode))
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.change(|tree| tree.delete(path, version))
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        Ok(self.tree.borrow().get(path).cloned())
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        self.change(|tree| tree.set(path, data, version))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let tree = self.tree.borrow();
        let names = || tree.children(path).map(str::to_owned).collect();
        Ok(tree.get(path).map(|_| names()))
    }

    async fn watch_children(&self, _: &str) -> Result<(Vec<String>, Pending<()>), ZkError> {
        Err(ZkError::Refused("nobody needs it".to_owned()))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Pending<()>), ZkError> {
        let stat = self.tree.borrow().get(path).map(|node| node.stat);
        Ok((stat, pending()))
    }

    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        if !self.life.change() {
            return Err(MultiError::Whole(ZkError::Refused("killed".to_owned())));
        }
        let result = self.tree.borrow_mut().transact(self.id, &operations);
        result.map_err(|(index, error)| MultiError::Operation { index, error })
    }

    async fn sync(&self, _: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {}
}

/// One namespace with its topic, its totals and its table of batch counts.
pub(crate) struct World {
    pub(crate) topic: SampleTopic,
    pub(crate) store: MemoryStore,
    pub(crate) table: MemoryTable,
    pub(crate) life: Life,
    /// The table was dropped and made again.
    pub(crate) has_another_table: Cell<bool>,
    tree: Rc<RefCell<Tree>>,
    sessions: Cell<i64>,
    definitions: Definitions,
    spill: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let life = Life::new();
        let mut tree = Tree::default();
        for path in ["/stitch", "/stitch/plays"] {
            tree.create(0, path, b"", CreateMode::Persistent).unwrap();
        }
        Self {
            topic: SampleTopic::default(),
            store: MemoryStore::default(),
            table: MemoryTable {
                rows: RefCell::default(),
                life: life.clone(),
                away: Cell::new(0),
                inserted: Cell::new(0),
            },
            life,
            has_another_table: Cell::new(false),
            tree: Rc::new(RefCell::new(tree)),
            sessions: Cell::new(0),
            definitions: samples::definitions(),
            spill: tempfile::tempdir().unwrap(),
        }
    }

    /// An event: one play, and these bytes.
    pub(crate) fn play(&self, key: &str, bytes: i64) {
        let value = format!(r#"{{"type":"play","time":0,"track":"{key}","bytes":{bytes}}}"#);
        self.topic.add(0, Some(&value));
    }

    pub(crate) fn folder(&self) -> TotalsFolder<MemoryStore> {
        TotalsFolder::new(self.store.clone(), "plays")
    }

    /// Totals up to the end of the topic.
    pub(crate) async fn build(&self) -> Manifest {
        let archive: Option<&Archive<MemoryStore>> = None;
        let records = Records::new(archive, &self.topic, &StillClock, Duration::from_secs(5));
        let origins = async || Ok::<_, RecordsError>(Offsets::default());
        let reach = records.reach(origins).await.unwrap();
        let spill = SpillFolder::open(self.spill.path(), 1 << 30).unwrap();
        let request = BuildRequest {
            namespace: "plays",
            instance: &instance(),
            cluster: "kafka",
            topic: "events",
            definitions: &self.definitions,
            reach: &reach,
            base: BaseChoice::Newest,
            cut: None,
            added: &[],
            memory_bytes_max: 1 << 20,
            spill: &spill,
        };
        let folder = self.folder();
        let built = build::build(&folder, &records, &request, &StillClock, &NoProgress);
        built.await.unwrap().manifest
    }

    pub(crate) fn names(&self) -> CounterNames {
        CounterNames::new(&self.definitions)
    }

    pub(crate) fn session(&self) -> NamespaceSession<MemorySession, StillClock> {
        self.sessions.set(self.sessions.get() + 1);
        let session = MemorySession {
            tree: Rc::clone(&self.tree),
            life: self.life.clone(),
            id: self.sessions.get(),
        };
        NamespaceSession::new(session, StillClock, Paths::new("plays"))
    }

    /// One process that loads these totals; its session ends with it.
    pub(crate) async fn publish(
        &self,
        manifest: &Manifest,
        as_of: i64,
        against_table: bool,
    ) -> Result<Published, BatchError> {
        self.publish_then(manifest, as_of, against_table, |_| ())
            .await
    }

    /// As [`World::publish`]; `interfere` is called when it has the lock.
    pub(crate) async fn publish_then(
        &self,
        manifest: &Manifest,
        as_of: i64,
        against_table: bool,
        interfere: impl FnOnce(&mut Tree),
    ) -> Result<Published, BatchError> {
        let session = self.session();
        let mut lock = batch_lock::new(&session, "here", 1);
        let result = async {
            let waits_for = batch_lock::try_granted(&mut lock, &session).await?;
            assert_eq!(waits_for, None);
            interfere(&mut self.tree.borrow_mut());
            let identity = self.identity();
            let loader = Loader {
                folder: &self.folder(),
                names: &self.names(),
                table: &self.table,
                identity: &identity,
                keyspace: "stitch",
                session: &session,
                lock: &lock,
                patience: &Patience::new(&StillClock, &NoProgress),
            };
            loader
                .publish(manifest, Some(at(as_of)), against_table)
                .await
        }
        .await;
        lock.abandon();
        let mut tree = self.tree.borrow_mut();
        for path in tree.ephemerals_of(session.zookeeper().id) {
            tree.delete(&path, None).unwrap();
        }
        result
    }

    pub(crate) fn identity(&self) -> TableIdentity {
        let cluster = match self.has_another_table.get() {
            false => "cassandra",
            true => "another",
        };
        TableIdentity {
            cluster: cluster.to_owned(),
            table: Default::default(),
        }
    }

    /// The record of `/batch`.
    pub(crate) async fn record(&self) -> Option<BatchRecord> {
        batch_node::read(&self.session()).await.unwrap()
    }

    /// What the table holds of each counter, by its name, key and granularity, without zeros.
    pub(crate) fn held(&self) -> BTreeMap<String, i64> {
        let rows = self.table.rows.borrow();
        let cells = rows.iter().flat_map(|((_, counter), cells)| {
            cells.iter().map(move |(slot, (_, value))| {
                let name = &counter.name.0;
                let granularity = slot.granularity.name();
                (format!("{name} {} {granularity}", counter.key.0), *value)
            })
        });
        cells.filter(|(_, value)| *value != 0).collect()
    }
}
