//! A small world in memory, behind the same ports as the real one, in which a whole restoration can be run and what it
//! did be read line by line.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use stitch_common::cell::{self, CellSlot, Count, Counter, Granularity};
use stitch_common::checkpoint::{Checkpoint, StoredCheckpoint};
use stitch_common::config::{Config, Environment};
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{CreateMode, LogIdentity, Record, TableIdentity, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_protocol::NamespaceSession;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_protocol::membership::MemberRecord;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::{self, RestorationRecord};
use tokio_util::sync::CancellationToken;

use super::clock::{Changes, VirtualClock};
use super::keeper::Nodes;
use super::store::Fate;
use crate::command::{self, CommandContext};
use crate::journal::Journal;
use crate::membership::Process;
use crate::options::{Limits, PlanOptions, PlanSource, RunOptions};
use crate::report::{PlanReport, RunReport};
use stitch_common::ports::Servers;
use stitch_common::progress::NoProgress;
use stitch_common::scope::Scope;
use stitch_testkit::samples::{self, slot_at};

/// The world. A clone is the same.
#[derive(Clone)]
pub(crate) struct Fake(Rc<Inner>);

type Hook = (String, Box<dyn FnOnce(&Fake)>);

pub(crate) struct Inner {
    pub(crate) clock: VirtualClock,
    pub(crate) changes: Changes,
    pub(crate) keeper: RefCell<Nodes>,
    pub(crate) log: RefCell<BTreeMap<Partition, Vec<Record>>>,
    pub(crate) table: RefCell<BTreeMap<cell::Cell, Count>>,
    pub(crate) fates: RefCell<VecDeque<Fate>>,
    /// How long an increment takes.
    pub(crate) increment_takes: Cell<Duration>,
    pub(crate) ring: RefCell<Vec<u64>>,
    pub(crate) silent: Cell<bool>,
    pub(crate) feed_stalls: Cell<bool>,
    pub(crate) stop: CancellationToken,
    trace: RefCell<Vec<String>>,
    hooks: RefCell<Vec<Hook>>,
    folder: tempfile::TempDir,
    config: Config,
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

/// A member that is there from the start, dead or alive.
pub(crate) const OTHER: i64 = 1000;

impl Fake {
    /// A namespace of one range and one partition in which each of these keys was played once, all of it counted.
    pub(crate) fn with_plays(keys: &[&str]) -> Self {
        Self::with(keys, "bits = 0", |_| {})
    }

    /// The same, with other ranges and another configuration.
    pub(crate) fn with(keys: &[&str], bits: &str, configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = CONFIG.replace("bits = 0", bits);
        let mut config = Config::parse("test", &text, &Environment::default()).unwrap();
        config.restorator.journal = folder.path().join("journal");
        configure(&mut config);
        let fake = Self(Rc::new(Inner {
            clock: VirtualClock::default(),
            changes: Changes::default(),
            keeper: RefCell::default(),
            log: RefCell::new(BTreeMap::from([(Partition(0), Vec::new())])),
            table: RefCell::default(),
            fates: RefCell::default(),
            increment_takes: Cell::default(),
            ring: RefCell::new(vec![7]),
            silent: Cell::new(false),
            feed_stalls: Cell::new(false),
            stop: CancellationToken::new(),
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
        let record = NamespaceRecord {
            generation: 1,
            definitions: fake.config.definitions.clone(),
            log: fake.identity(),
            table: Self::table_identity(),
        };
        fake.put(&paths.definition(), &envelope::seal(&record));
        for key in keys {
            fake.produce(key);
            fake.table.borrow_mut().insert(all(key), Count(1));
        }
        fake.progress(i64::try_from(keys.len()).unwrap());
        fake
    }

    /// The namespace's definition is another one from now on.
    pub(crate) fn redefine(&self) {
        let record = NamespaceRecord {
            generation: 2,
            definitions: self.config.definitions.clone(),
            log: self.identity(),
            table: Self::table_identity(),
        };
        self.put(&Paths::new("n").definition(), &envelope::seal(&record));
    }

    /// What is recorded of the last restoration.
    pub(crate) fn recorded(&self) -> RestorationRecord {
        let read = async {
            let session = self.connect().await.unwrap();
            let session = NamespaceSession::new(session, self.clock.clone(), Paths::new("n"));
            restoration::records(&session).await.unwrap()
        };
        self.clock.run(read).pop().unwrap()
    }

    pub(crate) fn identity(&self) -> LogIdentity {
        LogIdentity {
            cluster: "kafka".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints: BTreeMap::new(),
        }
    }

    pub(crate) fn table_identity() -> TableIdentity {
        TableIdentity {
            cluster: "c".to_owned(),
            table: uuid::Uuid::from_u128(1),
        }
    }

    /// Makes or writes a node.
    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        let mut keeper = self.keeper.borrow_mut();
        if keeper.set(path, data, None).is_err() {
            keeper
                .create(0, path, data, CreateMode::Persistent)
                .unwrap();
        }
        drop(keeper);
        self.changes.tell();
    }

    pub(crate) fn remove(&self, path: &str) {
        self.keeper.borrow_mut().delete(path, None).unwrap();
        self.changes.tell();
    }

    pub(crate) fn exists(&self, part: &str) -> bool {
        self.keeper
            .borrow()
            .nodes
            .keys()
            .any(|path| path.contains(part))
    }

    /// One more event, uncounted.
    pub(crate) fn produce(&self, key: &str) {
        let mut log = self.log.borrow_mut();
        let records = log.entry(Partition(0)).or_default();
        let value = format!(r#"{{"type":"play","time":0,"track":"{key}"}}"#);
        let offset = i64::try_from(records.len()).unwrap();
        records.push(samples::record(offset, &value));
        drop(log);
        self.changes.tell();
    }

    /// All below `offset` is answered.
    pub(crate) fn progress(&self, offset: i64) {
        let written = StoredCheckpoint {
            progress: Checkpoint::everywhere(Offset(offset)),
            writer: None,
        };
        self.put(&Paths::new("n").checkpoint(Partition(0)), &written.encode());
    }

    /// A tombstone of another member.
    pub(crate) fn dead_member(&self) {
        let record = MemberRecord {
            role: Role::Processor,
            host: "h".to_owned(),
            process_id: 1,
            started: stitch_common::clock::Clock::wall(&self.clock),
            session_timeout_ms: 6000,
            version: "0".to_owned(),
            definition_version: 0,
        };
        let path = Paths::new("n").member(&MemberId::of_session(OTHER));
        self.put(&path, &envelope::seal(&record));
    }

    /// A mark of another member in the range.
    pub(crate) fn marker(&self) {
        let range = Paths::new("n").range(RangeId(0));
        let member = MemberId::of_session(OTHER);
        self.put(&format!("{range}/in-doubt-{member}-1"), b"");
    }

    /// The shared lock of another member.
    pub(crate) fn shared_lock(&self) -> String {
        let range = Paths::new("n").range(RangeId(0));
        let path = format!("{range}/_c_{}-__READ__0000000000", uuid::Uuid::from_u128(5));
        self.put(&path, b"");
        path
    }

    pub(crate) fn hold(&self, key: &str, count: i64) {
        self.table.borrow_mut().insert(all(key), Count(count));
    }

    pub(crate) fn held(&self, key: &str) -> i64 {
        self.table
            .borrow()
            .get(&all(key))
            .copied()
            .unwrap_or_default()
            .0
    }

    /// Does `act` right before the first thing that `what` is part of.
    pub(crate) fn before(&self, what: &str, act: impl FnOnce(&Self) + 'static) {
        self.hooks
            .borrow_mut()
            .push((what.to_owned(), Box::new(act)));
    }

    pub(crate) fn note(&self, what: &str) {
        let mut hooks = self.hooks.borrow_mut();
        let due = hooks.iter().position(|(when, _)| what.contains(when));
        let due = due.map(|due| hooks.remove(due));
        drop(hooks);
        if let Some((_, act)) = due {
            act(self);
        }
        self.trace.borrow_mut().push(what.to_owned());
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.borrow().clone()
    }

    pub(crate) fn times(&self, what: &str) -> usize {
        self.trace
            .borrow()
            .iter()
            .filter(|line| line.contains(what))
            .count()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.config.restorator.journal.clone()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn run(&self, limits: Limits) -> Result<RunReport, UserError> {
        let options = RunOptions {
            source: PlanSource::Now(self.everything()),
            limits,
            declared_dead: Vec::new(),
        };
        self.run_options(&options)
    }

    pub(crate) fn run_options(&self, options: &RunOptions) -> Result<RunReport, UserError> {
        self.given(|given| self.clock.run(Box::pin(command::run(given, options))))
    }

    pub(crate) fn plan(&self, plan_file: Option<PathBuf>) -> Result<PlanReport, UserError> {
        let options = PlanOptions {
            scope: self.everything(),
            plan_file,
            declared_dead: Vec::new(),
        };
        self.given(|given| self.clock.run(Box::pin(command::plan(given, &options))))
    }

    fn everything(&self) -> Scope {
        Scope {
            counter: None,
            key: None,
            first: RangeId(0),
            last: RangeId(self.config.definitions.range_bits.count() - 1),
        }
    }

    fn given<T>(
        &self,
        work: impl FnOnce(&CommandContext<'_, Servers<Self, Self, Self, VirtualClock>>) -> T,
    ) -> T {
        let servers = Servers {
            keeper: self.clone(),
            cql: self.clone(),
            log: self.clone(),
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

/// The one cell of a track's plays.
pub(crate) fn all(key: &str) -> cell::Cell {
    let slot: CellSlot = slot_at(Granularity::All, 0);
    cell::Cell {
        counter: Counter::new("plays", key),
        slot,
    }
}
