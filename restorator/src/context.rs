//! What a restoration works with: the connected servers, this process as a member, and what the operator wants.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use stitch_common::config::Config;
use stitch_common::definition::Definitions;
use stitch_common::ports::{Backends, Level, NodeState};
use stitch_common::progress::Progress;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_protocol::NamespaceSession;
use stitch_protocol::namespace::{ValidatedNamespace, validate};
use stitch_protocol::quiescence::NodeSet;
use stitch_totals::memory_pool::MemoryPool;
use stitch_totals::source::LogSource;

use crate::journal::{Journal, JournalError};
use crate::lease_keeper::LeaseKeeper;
use crate::limits::Extent;
use crate::membership::Process;
use crate::options::{DeclaredDead, Limits};
use crate::preflight;
use crate::restoration::chunk_sizer::ChunkSizer;
use crate::rule;

/// What a restoration, or an audit, works with.
pub(crate) struct RestoreContext<'a, B: Backends> {
    /// The namespace in ZooKeeper, as this member sees it.
    pub session: &'a NamespaceSession<B::Session, B::Clock>,
    /// Increments and reads counters.
    pub store: &'a B::Store,
    /// Observes the Cassandra nodes.
    pub nodes: &'a B::Nodes,
    /// Opens further sessions with Cassandra.
    pub cql: &'a B::Cassandra,
    /// The event topic.
    pub log: &'a B::Log,
    pub clock: &'a B::Clock,
    pub config: &'a Config,
    pub process: &'a Process,
    /// The namespace as it was when this process joined.
    pub validated: &'a ValidatedNamespace,
    pub scope: &'a Scope,
    /// Nodes and members that no quiescence barrier waits for.
    pub declared_dead: &'a [DeclaredDead],
    /// The lease and the stop request of this process.
    pub lease: &'a LeaseKeeper,
    pub progress: &'a dyn Progress,
    /// Creates the journal of this name.
    pub journal: &'a dyn Fn(&str) -> Result<Journal, JournalError>,
    pub memory: MemoryPool,
    /// The Cassandra nodes as they were when the audit began.
    pub ring: RefCell<Vec<NodeState>>,
    /// Every Cassandra node seen since.
    pub known: RefCell<NodeSet>,
    /// The most that the operator expects to be corrected.
    pub limits: Limits,
    /// What has been corrected so far, in all ranges.
    pub spent: Cell<Extent>,
    /// How many cells one lock is for.
    pub chunk_sizer: ChunkSizer,
}

/// How long a wait on a server that should take moments may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl<B: Backends> RestoreContext<'_, B> {
    pub(crate) const fn definitions(&self) -> &Definitions {
        &self.validated.definition.record.definitions
    }

    /// How many replicas must answer a read.
    pub(crate) fn level(&self) -> Level {
        rule::read_level(self.config.restorator.read_level)
    }

    /// Reads spans of the log.
    pub(crate) const fn log_reader(&self) -> LogSource<'_, B::Log, B::Clock> {
        LogSource::new(self.log, self.clock, PATIENCE)
    }

    /// Validates the namespace once more, after the log was read: meanwhile the topic may have lost its beginning, or
    /// been recreated.
    pub(crate) async fn revalidate(&self) -> Result<(), UserError> {
        let now = validate(self.session, self.cql, self.log, self.config).await?;
        preflight::log(&now.observed.log, &now.observed.bounds)
    }
}
