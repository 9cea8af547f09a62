//! What a restoration works with: the connected servers, this process as a member, and what the operator wants.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::ports::{Backends, Level, NodeState, Session, SessionState, Stores};
use stitch_common::progress::Progress;
use stitch_common::rate_limit::RateLimit;
use stitch_common::scope::Scope;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::{self, Config};
use stitch_expected::base_totals::BaseTotals;
use stitch_expected::memory_pool::MemoryPool;
use stitch_protocol::NamespaceSession;
use stitch_protocol::namespace::{ValidatedNamespace, validate};
use stitch_protocol::quiescence::NodeSet;
use stitch_protocol::restoration::LockHolder;

use crate::journal::{Journal, JournalError};
use crate::lease_keeper::{Interruption, LeaseKeeper};
use crate::limits::Extent;
use crate::membership::Process;
use crate::options::{DeclaredDead, Limits, TotalsOptions};
use crate::preflight;
use crate::report::Exceptions;
use crate::rule;
use crate::run_control::RunControl;
use crate::server_away::{Wait, while_away};

/// How soon an operator is told again that nodes are waited for.
const NOTED_AGAIN: Duration = Duration::from_secs(10);

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
    pub memory: &'a MemoryPool,
    /// The Cassandra nodes as they were when the audit began.
    pub ring: &'a RefCell<Vec<NodeState>>,
    /// Every Cassandra node seen since.
    pub known: &'a RefCell<NodeSet>,
    /// The most that the operator expects to be corrected.
    pub limits: Limits,
    /// What has been corrected so far, in all ranges.
    pub spent: &'a Cell<Extent>,
    /// When the operator was told last that nodes of Cassandra are away.
    pub nodes_away_noted: &'a RateLimit,
    pub stores: &'a Stores<B::Objects>,
    /// Which totals the operator wants to start from and to leave.
    pub totals: &'a TotalsOptions,
    /// The totals that the audit has started from.
    pub base: &'a Base<B::Objects>,
    /// What operators want of this run.
    pub control: &'a RunControl,
}

/// The totals that an audit has started from. One that begins again, as another member, may have others.
#[derive(Debug)]
pub(crate) struct Base<O>(RefCell<Option<Rc<BaseTotals<O>>>>);

impl<O> Default for Base<O> {
    fn default() -> Self {
        Self(RefCell::new(None))
    }
}

impl<O> Base<O> {
    pub(crate) fn get(&self) -> Option<Rc<BaseTotals<O>>> {
        self.0.borrow().clone()
    }

    pub(crate) fn set(&self, base: Option<BaseTotals<O>>) {
        *self.0.borrow_mut() = base.map(Rc::new);
    }
}

/// What a command keeps when its session is lost, and it goes on as another member.
#[derive(Debug)]
pub(crate) struct CommandState<O> {
    pub memory: MemoryPool,
    pub ring: RefCell<Vec<NodeState>>,
    pub known: RefCell<NodeSet>,
    pub spent: Cell<Extent>,
    pub nodes_away_noted: RateLimit,
    pub base: Base<O>,
    pub control: RunControl,
}

impl<O> CommandState<O> {
    pub(crate) fn new(config: &stitch_config::Restorator) -> Self {
        Self {
            memory: MemoryPool::new(config.memory_bytes_max),
            ring: RefCell::default(),
            known: RefCell::default(),
            spent: Cell::default(),
            nodes_away_noted: RateLimit::every(NOTED_AGAIN),
            base: Base::default(),
            control: RunControl::default(),
        }
    }
}

/// How long a wait on a server that should take moments may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl<B: Backends> RestoreContext<'_, B> {
    pub(crate) const fn definitions(&self) -> &Definitions {
        &self.validated.definition.record.definitions
    }

    /// Tells the operator that nodes are waited for: now and then, because many reads wait at once.
    pub(crate) fn note_nodes_away(&self, why: &str) {
        if self.nodes_away_noted.is_due(self.clock.now()) {
            self.progress.note(&format!("waiting for Cassandra: {why}"));
        }
    }

    /// How many replicas must answer a read.
    pub(crate) fn level(&self) -> Level {
        rule::read_level(self.config.restorator.read_level)
    }

    /// This process, as records name it.
    pub(crate) fn lock_holder(&self, started: DateTime<Utc>) -> LockHolder {
        LockHolder {
            member: self.session.member(),
            host: self.process.host.clone(),
            process_id: self.process.id,
            started,
        }
    }

    /// What the operator accepted, so that what is shown is less than verified.
    pub(crate) fn exceptions(&self) -> Option<Exceptions> {
        Exceptions::of(self.config.restorator.read_level, self.declared_dead)
    }

    /// Whether the session is over.
    pub(crate) fn is_session_over(&self) -> bool {
        self.lease.interruption() == Some(Interruption::Lost)
            || self.session.zookeeper().state() == SessionState::Over
    }

    /// Whether the session is over, or nothing can be asked of it now.
    pub(crate) fn is_session_lost(&self) -> bool {
        self.is_session_over() || self.session.zookeeper().state() != SessionState::Connected
    }

    /// Whether the work goes on as another member: its session is lost, and nobody asked it to stop.
    pub(crate) fn goes_on(&self) -> bool {
        self.is_session_lost() && !self.is_ended()
    }

    /// Validates the namespace once more, after the log was read: meanwhile the topic may have been recreated. An audit of
    /// hours is not given up because a server is away for a moment.
    pub(crate) async fn revalidate(&self) -> Result<(), UserError> {
        let wait = Wait {
            bound: PATIENCE,
            pause: Duration::from_secs(1),
        };
        let validated = while_away(
            self.clock,
            self.progress,
            self.lease.stop(),
            wait,
            async || {
                let validated = validate(self.session, self.cql, self.log, self.config).await;
                validated.map_err(|error| match error.into() {
                    // The work goes on as another member.
                    ServerFailure::Away(error) if self.is_session_lost() => {
                        ServerFailure::Refused(error)
                    }
                    failure @ (ServerFailure::Away(_) | ServerFailure::Refused(_)) => failure,
                })
            },
        );
        preflight::log(&validated.await?)
    }
}
