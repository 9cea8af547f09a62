//! What a restoration works with: the servers behind their ports, its standing as a member, and what it was asked.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::definition::Definitions;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{Cql, EventLog, Level, NodeState, Nodes, Session, Store, ZooKeeper};
use stitch_protocol::NamespaceSession;
use stitch_protocol::definition_node::Defined;
use stitch_protocol::quiescence::KnownNodes;

use crate::lease_keeper::LeaseKeeper;
use crate::options::DeclaredDead;
use stitch_common::progress::Progress;
use stitch_common::scope::Scope;
use stitch_totals::expected::Log;
use stitch_totals::memory_pool::MemoryPool;

/// The kinds of servers and clock that a restorator runs on: the real ones, or those of a simulation.
pub trait World {
    /// ZooKeeper.
    type Session: Session;
    /// Increments and reads.
    type Store: Store;
    /// The nodes of the store.
    type Nodes: Nodes;
    /// Kafka.
    type Log: EventLog;
    /// Time.
    type Clock: Clock;
}

/// The world of these servers and this clock.
#[derive(Debug)]
pub struct WorldOf<K, Q, L, C>(PhantomData<(K, Q, L, C)>);

impl<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock> World for WorldOf<K, Q, L, C> {
    type Session = K::Session;
    type Store = Q::Store;
    type Nodes = Q::Nodes;
    type Log = L;
    type Clock = C;
}

/// The servers before anything is connected.
#[derive(Debug)]
pub struct Servers<K, Q, L, C> {
    /// ZooKeeper.
    pub keeper: K,
    /// Cassandra.
    pub cql: Q,
    /// Kafka.
    pub log: L,
    /// Time.
    pub clock: C,
}

/// Where a restoration works.
pub struct Site<'a, W: World> {
    /// The session with ZooKeeper.
    pub session: &'a NamespaceSession<W::Session, W::Clock>,
    /// The session with Cassandra.
    pub store: &'a W::Store,
    /// The look at its nodes.
    pub nodes: &'a W::Nodes,
    /// The event topic.
    pub log: &'a W::Log,
    /// Time.
    pub clock: &'a W::Clock,
    /// The configuration.
    pub config: &'a Config,
    /// The namespace as it was when this began.
    pub defined: &'a Defined,
    /// Which cells.
    pub scope: &'a Scope,
    /// What is gone for good.
    pub declared_dead: &'a [DeclaredDead],
    /// The lease, and whether to stop.
    pub standing: &'a LeaseKeeper,
    /// Is told how far it is.
    pub progress: &'a dyn Progress,
    /// What may be kept in memory.
    pub memory: MemoryPool,
    /// The nodes as they were when this began.
    pub ring: RefCell<Vec<NodeState>>,
    /// Every node that was seen since.
    pub known: RefCell<KnownNodes>,
}

/// How long a wait on a server may take that ought to take moments.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl<W: World> Site<'_, W> {
    /// What events count.
    pub const fn definitions(&self) -> &Definitions {
        &self.defined.record.definitions
    }

    /// How many replicas must answer.
    pub fn level(&self) -> Level {
        if out(Rule::ReadAll) {
            return Level::Quorum;
        }
        self.config.restorator.read_level
    }

    /// Reads spans of the log.
    pub const fn log_reader(&self) -> Log<'_, W::Log, W::Clock> {
        Log::new(self.log, self.clock, PATIENCE)
    }
}
