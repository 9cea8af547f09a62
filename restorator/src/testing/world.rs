//! A small namespace in memory in which whole commands run. Each request to a server is a line of the trace.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use stitch_common::cell::{self, CellSlot, Counter, CounterName, Granularity};
use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint};
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{CreateMode, Servers, Stores, TableIdentity, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_config::{Config, Environment, WriteConsistency};
use stitch_control::restoration_record::{self, RestorationRecord};
use stitch_protocol::NamespaceSession;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_protocol::membership::MemberRecord;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::LockHolder;
use tokio_util::sync::CancellationToken;

use super::cassandra::{Availability, Fate};
use super::clock::{Changes, VirtualClock};
use super::zookeeper::Server;
use crate::command::{self, CommandContext};
use crate::journal::Journal;
use crate::membership::Process;
use crate::options::{
    DeclaredDead, Limits, PlanOptions, PlanSource, RunOptions, SumsOptions, TotalsOptions,
};
use crate::report::{PlanReport, RunReport, SumsReport};
use stitch_common::progress::NoProgress;
use stitch_common::scope::Scope;
use stitch_testkit::cassandra::Table;
use stitch_testkit::kafka::Log;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples::slot_at;

/// All servers. A clone is the same ones.
#[derive(Clone)]
pub(crate) struct Fake(Rc<Inner>);

type Hook = (String, Box<dyn FnOnce(&Fake)>);

pub(crate) struct Inner {
    pub(crate) clock: VirtualClock,
    pub(crate) changes: Changes,
    pub(crate) zookeeper: RefCell<Server>,
    pub(crate) log: RefCell<Log>,
    pub(crate) table: RefCell<Table<1>>,
    pub(crate) fates: RefCell<VecDeque<Fate>>,
    /// Keys of cells that were deleted by hand: a tombstone hides what is added.
    pub(crate) deleted: RefCell<BTreeSet<String>>,
    /// Rows that the next scan meets and no event increments.
    pub(crate) foreign: RefCell<BTreeMap<CounterName, u64>>,
    pub(crate) increment_takes: Cell<Duration>,
    pub(crate) scan_takes: Cell<Duration>,
    pub(crate) ring: RefCell<Vec<u64>>,
    pub(crate) silent: Cell<bool>,
    /// The right that this role does not have.
    pub(crate) forbidden: Cell<Option<&'static str>>,
    pub(crate) nodes: Availability,
    pub(crate) admitted: Cell<bool>,
    pub(crate) feed_stalls: Cell<bool>,
    pub(crate) delivered: Cell<usize>,
    pub(crate) stop: CancellationToken,
    pub(crate) stores: RefCell<Stores<MemoryStore>>,
    /// What the next command is told about totals.
    pub(crate) totals: RefCell<TotalsOptions>,
    trace: RefCell<Vec<String>>,
    hooks: RefCell<Vec<Hook>>,
    folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl Deref for Fake {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

const CONFIG: &str = r#"
namespace = "n"
[zookeeper]
connect = "z:2181"
[cassandra]
nodes = ["c:9042"]
keyspace = "k"
[kafka]
topic = "events"
[kafka.client]
"bootstrap.servers" = "k:9092"
"group.id" = "g"
[ranges]
bits = 0
[restorator]
range_timeout_ms = 20000
quiescence_timeout_ms = 60000
[[counter]]
name = "plays"
on = ["play"]
key = "track"
granularities = ["all"]
"#;

/// The session of another member.
pub(crate) const OTHER: i64 = 1000;

impl Fake {
    /// A namespace of one range and one partition in which each of these keys was played once, and all is counted.
    pub(crate) fn with_plays(keys: &[&str]) -> Self {
        Self::with(keys, "bits = 0", |_| {})
    }

    /// The same, with other ranges and another configuration.
    pub(crate) fn with(keys: &[&str], bits: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = CONFIG.replace("bits = 0", bits);
        let mut config = Config::parse("test", &text, &Environment::default()).unwrap();
        config.restorator.journal = folder.path().join("journal");
        config.totals.spill = folder.path().join("spill");
        configure(&mut config);
        let fake = Self(Rc::new(Inner {
            clock: VirtualClock::default(),
            changes: Changes::default(),
            zookeeper: RefCell::default(),
            log: RefCell::new(Log::new(1)),
            table: RefCell::default(),
            fates: RefCell::default(),
            deleted: RefCell::default(),
            foreign: RefCell::default(),
            increment_takes: Cell::default(),
            scan_takes: Cell::default(),
            ring: RefCell::new(vec![7]),
            silent: Cell::new(false),
            forbidden: Cell::default(),
            nodes: Availability::default(),
            admitted: Cell::new(false),
            feed_stalls: Cell::new(false),
            delivered: Cell::default(),
            stop: CancellationToken::new(),
            stores: RefCell::new(Stores {
                archive: None,
                totals: None,
            }),
            totals: RefCell::default(),
            trace: RefCell::default(),
            hooks: RefCell::default(),
            folder,
            config,
        }));
        let paths = Paths::new("n");
        let mut directories = paths.directories();
        let ranges = fake.config.definitions.range_bits.ranges();
        directories.extend(ranges.map(|range| paths.range(range)));
        directories.push(paths.partition(Partition(0)));
        for path in directories {
            fake.put(&path, b"");
        }
        fake.define(|_| {});
        for key in keys {
            fake.produce(key);
            fake.hold(key, 1);
        }
        fake.progress(i64::try_from(keys.len()).unwrap());
        fake
    }

    /// Replaces the definition of the namespace.
    pub(crate) fn redefine(&self) {
        self.define(|record| record.generation = 2);
    }

    /// The level of the namespace's increments was raised from this one.
    pub(crate) fn raise_consistency_from(&self, lowest: WriteConsistency) {
        self.define(|record| record.raised_from = Some(lowest));
    }

    /// The namespace is one whose increments have this level.
    pub(crate) fn define_consistency(&self, write_consistency: WriteConsistency) {
        self.define(|record| record.write_consistency = write_consistency);
    }

    fn define(&self, change: impl FnOnce(&mut NamespaceRecord)) {
        let mut record = NamespaceRecord {
            generation: 1,
            definitions: self.config.definitions.clone(),
            log: self.log.borrow().identity(),
            table: Self::table_identity(),
            write_consistency: self.config.cassandra.write_consistency,
            raised_from: None,
        };
        change(&mut record);
        self.put(&Paths::new("n").definition(), &envelope::seal(&record));
    }

    /// The record of the last restoration.
    pub(crate) fn recorded(&self) -> RestorationRecord {
        let read = async {
            let session = self.connect().await.unwrap();
            let session = NamespaceSession::new(session, self.clock.clone(), Paths::new("n"));
            restoration_record::records(&session).await.unwrap()
        };
        self.clock.run(read).pop().unwrap()
    }

    pub(crate) fn table_identity() -> TableIdentity {
        TableIdentity {
            cluster: "c".to_owned(),
            table: uuid::Uuid::from_u128(1),
        }
    }

    /// Creates or writes a node.
    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        let tree = &mut self.zookeeper.borrow_mut().tree;
        if tree.set(path, data, None).is_err() {
            tree.create(0, path, data, CreateMode::Persistent).unwrap();
        }
        self.changes.notify();
    }

    pub(crate) fn remove(&self, path: &str) {
        let tree = &mut self.zookeeper.borrow_mut().tree;
        tree.delete(path, None).unwrap();
        self.changes.notify();
    }

    pub(crate) fn exists(&self, part: &str) -> bool {
        let tree = &self.zookeeper.borrow().tree;
        tree.paths().any(|path| path.contains(part))
    }

    /// Produces an event, which a processor may have begun and has not acknowledged.
    pub(crate) fn produce(&self, key: &str) {
        self.append(key);
        let checkpoint = Paths::new("n").checkpoint(Partition(0));
        let stored = {
            let tree = &self.zookeeper.borrow().tree;
            let node = tree.get(&checkpoint);
            node.map(|node| StoredCheckpoint::decode(&node.data).unwrap())
        };
        if let Some(stored) = stored {
            self.write(stored.progress);
        }
    }

    /// Produces an event that no processor has begun.
    pub(crate) fn append(&self, key: &str) {
        let value = format!(r#"{{"type":"play","time":0,"track":"{key}"}}"#);
        self.log.borrow_mut().append(Partition(0), value);
        self.changes.notify();
    }

    /// Produces a record that no counter counts.
    pub(crate) fn produce_ignored(&self) {
        let value = r#"{"type":"other","time":0}"#.to_owned();
        self.log.borrow_mut().append(Partition(0), value);
        self.changes.notify();
    }

    /// The end of the log.
    pub(crate) fn end(&self) -> i64 {
        self.log.borrow().end(Partition(0)).0
    }

    /// Writes the checkpoint: everything below `offset` is acknowledged. Everything in the log may be begun.
    pub(crate) fn progress(&self, offset: i64) {
        self.write(Checkpoint::everywhere(Offset(offset)));
    }

    fn write(&self, progress: Checkpoint) {
        let ceiling = self
            .log
            .borrow()
            .end(Partition(0))
            .max(progress.of(RangeId(0)));
        let written = StoredCheckpoint {
            progress,
            ceiling: Ceiling::At(ceiling),
            inherited: Ceiling::AtCheckpoint,
            writer: None,
        };
        self.put(&Paths::new("n").checkpoint(Partition(0)), &written.encode());
    }

    /// Another member is dead.
    pub(crate) fn dead_member(&self) {
        let record = MemberRecord {
            role: Role::Processor,
            host: "h".to_owned(),
            process_id: 1,
            started: stitch_common::clock::Clock::wall(&self.clock),
            session_timeout_ms: 6000,
            keepalive_interval_ms: 5000,
            keepalive_timeout_ms: 5000,
            version: "0".to_owned(),
            definition_version: 0,
        };
        let path = Paths::new("n").member(&MemberId::new(OTHER, 0));
        self.put(&path, &envelope::seal(&record));
    }

    /// Another member has an in-doubt marker in the range.
    pub(crate) fn marker(&self) {
        let range = Paths::new("n").range(RangeId(0));
        let member = MemberId::new(OTHER, 0);
        self.put(&format!("{range}/in-doubt-{member}-1"), b"");
    }

    /// Another member has the shared lock of the range.
    pub(crate) fn shared_lock(&self) -> String {
        let range = Paths::new("n").range(RangeId(0));
        let prefix = format!("{range}/_c_{}-__READ__", uuid::Uuid::from_u128(5));
        let tree = &mut self.zookeeper.borrow_mut().tree;
        let created = tree.create(OTHER, &prefix, b"", CreateMode::EphemeralSequential);
        self.changes.notify();
        created.unwrap().path
    }

    /// Another member has the restoration lock.
    pub(crate) fn restoration_lock(&self) {
        let holder = LockHolder {
            member: MemberId::new(OTHER, 0),
            host: "elsewhere".to_owned(),
            process_id: 9,
            started: stitch_common::clock::Clock::wall(&self.clock),
        };
        let prefix = format!(
            "/stitch/n/restorations/_c_{}-__WRIT__",
            uuid::Uuid::from_u128(6)
        );
        let tree = &mut self.zookeeper.borrow_mut().tree;
        let data = envelope::seal(&holder);
        tree.create(OTHER, &prefix, &data, CreateMode::EphemeralSequential)
            .unwrap();
        self.changes.notify();
    }

    /// Does `act` just before the next request whose line in the trace contains `part`.
    pub(crate) fn before(&self, part: &str, act: impl FnOnce(&Self) + 'static) {
        self.hooks
            .borrow_mut()
            .push((part.to_owned(), Box::new(act)));
    }

    pub(crate) fn record(&self, line: &str) {
        let mut hooks = self.hooks.borrow_mut();
        let due = hooks.iter().position(|(part, _)| line.contains(part));
        let due = due.map(|due| hooks.remove(due));
        drop(hooks);
        if let Some((_, act)) = due {
            act(self);
        }
        self.trace.borrow_mut().push(line.to_owned());
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.borrow().clone()
    }

    /// How many lines of the trace contain `part`.
    pub(crate) fn times(&self, part: &str) -> usize {
        self.trace
            .borrow()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.config.restorator.journal.clone()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn run(&self, limits: Limits) -> Result<RunReport, UserError> {
        self.run_options(&self.run_now(limits))
    }

    /// The options of `run --now`.
    pub(crate) fn run_now(&self, limits: Limits) -> RunOptions {
        RunOptions {
            source: PlanSource::Now(self.everything()),
            limits,
            declared_dead: Vec::new(),
            totals: self.totals.borrow().clone(),
        }
    }

    pub(crate) fn run_declaring(&self, dead: &[DeclaredDead]) -> Result<RunReport, UserError> {
        let options = RunOptions {
            source: PlanSource::Now(self.everything()),
            limits: Limits::default(),
            declared_dead: dead.to_vec(),
            totals: self.totals.borrow().clone(),
        };
        self.run_options(&options)
    }

    pub(crate) fn run_options(&self, options: &RunOptions) -> Result<RunReport, UserError> {
        self.given(|given| self.clock.run(Box::pin(command::run(given, options))))
    }

    pub(crate) fn run_plan(&self, file: PathBuf) -> Result<RunReport, UserError> {
        self.run_options(&RunOptions {
            source: PlanSource::File(file),
            limits: Limits::default(),
            declared_dead: Vec::new(),
            totals: self.totals.borrow().clone(),
        })
    }

    pub(crate) fn plan(&self, plan_file: Option<PathBuf>) -> Result<PlanReport, UserError> {
        self.plan_options(PlanOptions {
            scope: self.everything(),
            only_doubtful: false,
            plan_file,
            max_unjudged: None,
            declared_dead: Vec::new(),
            totals: self.totals.borrow().clone(),
        })
    }

    pub(crate) fn plan_declaring(&self, dead: &[DeclaredDead]) -> Result<PlanReport, UserError> {
        self.plan_options(PlanOptions {
            scope: self.everything(),
            only_doubtful: false,
            plan_file: None,
            max_unjudged: None,
            declared_dead: dead.to_vec(),
            totals: self.totals.borrow().clone(),
        })
    }

    fn plan_options(&self, options: PlanOptions) -> Result<PlanReport, UserError> {
        self.given(|given| self.clock.run(Box::pin(command::plan(given, &options))))
    }

    pub(crate) fn sums(&self, only_doubtful: bool) -> Result<SumsReport, UserError> {
        let options = SumsOptions {
            scope: self.everything(),
            only_doubtful,
        };
        self.given(|given| self.clock.run(Box::pin(command::sums(given, &options))))
    }

    fn everything(&self) -> Scope {
        Scope::of_ranges(self.config.definitions.range_bits.ranges().collect())
    }

    pub(crate) fn given<T>(
        &self,
        work: impl FnOnce(
            &CommandContext<'_, Servers<Self, Self, Self, MemoryStore, VirtualClock>>,
        ) -> T,
    ) -> T {
        let servers = Servers {
            keeper: self.clone(),
            cql: self.clone(),
            log: self.clone(),
            stores: self.stores.borrow().clone(),
            clock: self.clock.clone(),
        };
        let process = Process {
            host: "here".to_owned(),
            id: 7,
        };
        let folder = self.config.restorator.journal.clone();
        work(&CommandContext {
            servers: &servers,
            config: &self.config,
            process: &process,
            stop: self.stop.clone(),
            progress: &NoProgress,
            journal: &|name| Journal::create(&folder, name),
        })
    }
}

/// The cell of the plays of a track.
pub(crate) fn all(key: &str) -> cell::Cell {
    let slot: CellSlot = slot_at(Granularity::All, 0);
    cell::Cell {
        counter: Counter::new("plays", key),
        slot,
    }
}
