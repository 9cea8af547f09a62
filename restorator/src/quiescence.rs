//! Waits out requests that may still change the store (rules R1, R2, R6), and reports what holds up the barrier.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use stitch_common::clock::{Clock, Moment};
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;
use stitch_protocol::quiescence::{
    Blocker, DeclaredDead, QuiescenceError, Request, await_quiescence,
};
use stitch_protocol::{cleanup, known_nodes};

use crate::context::RestoreContext;
use crate::error::Error;
use crate::options;
use crate::rule;

/// In-doubt markers and dead members found, not yet waited out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InDoubt(cleanup::InDoubt);

impl InDoubt {
    /// Reads the dead members, and the markers of these ranges.
    ///
    /// # Errors
    /// ZooKeeper failed.
    pub(crate) async fn read<B: Backends>(
        context: &RestoreContext<'_, B>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, Error> {
        Ok(Self(cleanup::InDoubt::read(context.session, ranges).await?))
    }

    /// R1: [`InDoubt::wait_out`], before cells are read.
    ///
    /// # Errors
    /// There was no quiescence, or ZooKeeper failed.
    pub(crate) async fn wait_out_before_reading<B: Backends>(
        self,
        context: &RestoreContext<'_, B>,
    ) -> Result<(), Error> {
        if rule::quiescence_comes_before_reading() {
            self.wait_out(context).await
        } else {
            Ok(())
        }
    }

    /// Awaits a quiescence barrier, which so begins after this was read, and deletes what was found. Waits for nothing
    /// if nothing was found.
    ///
    /// # Errors
    /// There was no quiescence, and then all of it stays; or ZooKeeper failed.
    pub(crate) async fn wait_out<B: Backends>(
        self,
        context: &RestoreContext<'_, B>,
    ) -> Result<(), Error> {
        let Self(found) = self;
        let awaited = async || {
            context.progress.note(&format!(
                "requests may still be in flight to the store ({} dead members, {} in-doubt markers): awaiting \
                 quiescence",
                found.dead_members.len(),
                found.markers.len()
            ));
            barrier(context).await
        };
        found.wait_out(context.session, awaited).await
    }
}

/// Awaits a quiescence barrier that begins now: no request that was sent before it can change the store any more.
///
/// # Errors
/// There was no quiescence within its bound.
pub(crate) async fn barrier<B: Backends>(context: &RestoreContext<'_, B>) -> Result<(), Error> {
    let request = Request::now(
        context.session,
        &context.config.cassandra,
        declared_dead(context.declared_dead),
        context.config.restorator.quiescence_timeout,
    )
    .await?;
    let mut known = context.known.borrow().clone();
    let mut reporter = BlockerReporter::new(context);
    let (nodes, watch, clock) = (context.nodes, context.session, context.clock);
    let result = await_quiescence(nodes, watch, clock, &mut known, &request, |blockers| {
        reporter.report(blockers);
    })
    .await;
    // Another range's barrier may have ended meanwhile; both only ever add nodes to those known before.
    if known.iter().count() >= context.known.borrow().iter().count() {
        *context.known.borrow_mut() = known;
    }
    let quiescence = result.map_err(no_quiescence)?;
    tracing::info!(took_ms = quiescence.took().as_millis(), "quiescence");
    known_nodes::forget(context.session, quiescence.dead_nodes()).await?;
    Ok(())
}

/// What the operator declared dead, as the barrier takes it.
pub(crate) fn declared_dead(options: &[options::DeclaredDead]) -> DeclaredDead {
    let mut dead = DeclaredDead::default();
    for option in options.iter().cloned() {
        match option {
            options::DeclaredDead::Node(id) => dead.node_ids.insert(id),
            options::DeclaredDead::Address(address) => dead.node_addresses.insert(address),
            options::DeclaredDead::Host(host) => dead.node_hosts.insert(host),
            options::DeclaredDead::Member(member) => dead.members.insert(member),
        };
    }
    dead
}

fn no_quiescence(error: QuiescenceError) -> Error {
    let help = match &error {
        QuiescenceError::NotInTime { .. } => {
            "do what the message says of each node and member, then run it again; raise [restorator] \
             quiescence_timeout_ms if only time was missing"
        }
        QuiescenceError::Refused(_) => {
            "see what `stitch-restorator check` says of the Cassandra nodes"
        }
        QuiescenceError::SessionOver(_) => "see whether ZooKeeper is up, then run it again",
    };
    Error::NotQuiescent {
        message: error.to_string(),
        help: help.to_owned(),
    }
}

/// Reports what holds up the barrier: at once, when it changes, and now and then.
struct BlockerReporter<'a, 'b, B: Backends> {
    context: &'a RestoreContext<'b, B>,
    last: Option<(Moment, Vec<Discriminant<Blocker>>)>,
}

const REPORT_INTERVAL: Duration = Duration::from_secs(10);

impl<'a, 'b, B: Backends> BlockerReporter<'a, 'b, B> {
    const fn new(context: &'a RestoreContext<'b, B>) -> Self {
        Self {
            context,
            last: None,
        }
    }

    fn report(&mut self, blockers: &[Blocker]) {
        let now = self.context.clock.now();
        let kinds: Vec<_> = blockers.iter().map(discriminant).collect();
        if let Some((at, reported)) = &self.last
            && *reported == kinds
            && now.since(*at) < REPORT_INTERVAL
        {
            return;
        }
        for blocker in blockers {
            self.context
                .progress
                .note(&format!("awaiting quiescence: {blocker}"));
        }
        self.last = Some((now, kinds));
    }
}
