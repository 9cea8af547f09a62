//! One membership: from a new ZooKeeper session to its end. A process whose session ends starts again as another
//! member, and remembers nothing (rule P7).
//!
//! A stop is heeded at any moment, and takes at most a quarter more than `stop_timeout_ms`: that long to drain, and what
//! is left of both for leaving, whatever the servers do.

use std::time::Duration;

use futures_util::future::join;
use stitch_common::clock::Clock;
use stitch_common::member::Role;
use stitch_common::ports::{Cql, EventLog, Group, Session, ZooKeeper};
use stitch_common::rate_limit::RateLimit;
use stitch_config::Config;
use stitch_protocol::NamespaceSession;
use stitch_protocol::known_nodes;
use stitch_protocol::leave::{self, LeaveOutcome};
use stitch_protocol::membership::{self, MemberInfo};
use stitch_protocol::namespace::{self, ObservedNamespace};
use stitch_protocol::path::Paths;
use tokio_util::sync::CancellationToken;

use crate::cleanup;
use crate::effects::Connections;
use crate::engine::{Engine, Limits};
use crate::error::Error;
use crate::event_loop::{EventLoop, LoopEnd, StopOutcome};
use crate::metrics;
use crate::topic_fingerprint::Fingerprints;
use stitch_common::liveness::Liveness;

/// How soon it is said again that rejected records are not copied.
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// The servers and the clock of a process, behind their ports.
#[derive(Debug)]
pub struct Ports<K, Q, L, C> {
    /// ZooKeeper.
    pub keeper: K,
    /// Cassandra.
    pub cql: Q,
    /// Kafka.
    pub log: L,
    /// Time.
    pub clock: C,
}

/// The process that each of its memberships belongs to.
pub(crate) struct Process<'a> {
    pub(crate) config: &'a Config,
    pub(crate) host: &'a str,
    pub(crate) status: &'a Liveness,
    pub(crate) stop: &'a CancellationToken,
}

/// How a membership ended.
#[derive(Debug)]
pub(crate) struct MembershipEnd {
    /// What it left behind.
    pub(crate) outcome: LeaveOutcome,
    /// Why it ended, if nobody asked it to; [`Error::is_transient`] says whether to start again.
    pub(crate) failure: Option<Error>,
}

impl MembershipEnd {
    /// It was asked to stop, and sent nothing.
    const fn unused(outcome: LeaveOutcome) -> Self {
        Self {
            outcome,
            failure: None,
        }
    }
}

/// Becomes a member, counts until asked to stop or until its work fails, and leaves.
///
/// # Errors
/// It could not become a member, and sent nothing.
pub(crate) async fn serve<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
) -> Result<MembershipEnd, Error> {
    let session = tokio::select! {
        biased;
        // Dropping the other one closes its connection; it has created nothing.
        () = process.stop.cancelled() => return Ok(MembershipEnd::unused(LeaveOutcome::Clean)),
        session = ports.keeper.connect() => session?,
    };
    let paths = Paths::below(&process.config.zookeeper.root, &process.config.namespace);
    let session = NamespaceSession::new(session, ports.clock.clone(), paths);
    let started = tokio::select! {
        biased;
        // Whatever of it was sent to ZooKeeper comes before what leaving sends.
        () = process.stop.cancelled() => None,
        started = start(ports, process, &session) => Some(started),
    };
    let (observed, (store, dead_letters, feed, mut group)) = match started {
        Some(Ok(started)) => started,
        unused => {
            // Nothing was sent to Cassandra, so nothing is left behind.
            let outcome = leave_unused(session, process, &ports.clock).await;
            return match unused {
                Some(Err(error)) => Err(error),
                Some(Ok(_)) | None => Ok(MembershipEnd::unused(outcome)),
            };
        }
    };
    metrics::membership();
    tracing::info!(member = %session.member(), "counting as a new member");
    let servers = Connections {
        session,
        store,
        table: observed.table,
        log: &ports.log,
        dead_letters,
        clock: ports.clock.clone(),
        bits: process.config.definitions.range_bits,
        uncopied_said: RateLimit::every(SAID_AGAIN),
    };

    let limits = Limits::from_config(&process.config.processor, observed.bounds.len());
    let engine = Engine::new(limits, &process.config.definitions);
    let fingerprints = Fingerprints::new(observed.log.fingerprints);
    let event_loop = EventLoop::new(&servers, process, engine, feed, &fingerprints);
    let ended = tokio::select! {
        biased;
        // The others never end by themselves, and may be dropped at any await.
        ended = event_loop.run(&mut group) => ended,
        never = cleanup::run(&servers.session, &ports.cql, process.config) => match never {},
        never = fingerprints.record(&servers.session, &ports.log) => match never {},
        never = known_nodes::keep_admitting(&servers.session, &servers.store) => match never {},
    };
    process.status.set_ready(false);
    if ended.outcome.is_ok() {
        // Half of the time for leaving is left for that.
        let (now, half) = (ports.clock.now(), leave_time(process) / 2);
        let until = ended.stop_deadline.unwrap_or(now).plus(half);
        fingerprints
            .record_last(&servers.session, &ports.log, until.since(now))
            .await;
    }
    let Connections { session, store, .. } = servers;
    Ok(leave(ports, process, session, store, group, ended).await)
}

type Started<Q, L> = (ObservedNamespace, Connected<Q, L>);

/// Joins and connects: returns the servers as they were found, and the connections.
async fn start<K, S: Session, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
    session: &NamespaceSession<S, C>,
) -> Result<Started<Q, L>, Error> {
    let info = MemberInfo {
        role: Role::Processor,
        host: process.host.to_owned(),
        process_id: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keepalive_interval: process.config.cassandra.keepalive_interval,
        keepalive_timeout: process.config.cassandra.keepalive_timeout,
    };
    let (cql, log) = (&ports.cql, &ports.log);
    let validated = namespace::join(session, cql, log, process.config, &info, |_| Ok(())).await?;
    namespace::remember_log(session, &validated.observed.log).await?;
    let connected = connect(ports, session).await?;
    Ok((validated.observed, connected))
}

/// The part of the time to stop that is left for leaving: a quarter more than what draining may take.
fn leave_time(process: &Process<'_>) -> Duration {
    process.config.processor.stop_timeout / 4
}

/// Leaves as a member that has sent nothing, within the time for that.
async fn leave_unused<S: Session, C: Clock>(
    session: NamespaceSession<S, C>,
    process: &Process<'_>,
    clock: &C,
) -> LeaveOutcome {
    let left = async {
        let left = membership::leave(&session).await;
        session.close().await;
        left.map_or_else(
            |error| not_left(&error.to_string()),
            |()| LeaveOutcome::Clean,
        )
    };
    tokio::select! {
        biased;
        outcome = left => outcome,
        () = clock.sleep(leave_time(process)) => not_left("ZooKeeper does not answer"),
    }
}

fn not_left(why: &str) -> LeaveOutcome {
    LeaveOutcome::DeadMember {
        why: format!("its node could not be deleted: {why}"),
    }
}

/// Leaves the group and the namespace, both at once and within the time to stop.
async fn leave<K, S: Session, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
    session: NamespaceSession<S, C>,
    store: Q::Store,
    group: L::Group,
    ended: LoopEnd,
) -> MembershipEnd {
    let LoopEnd {
        outcome,
        failure,
        stop_deadline,
    } = ended;
    let member = session.member();
    let stop_timeout = process.config.processor.stop_timeout;
    let in_doubt = match &outcome {
        Ok(StopOutcome::Drained) => None,
        Ok(StopOutcome::InDoubt(why)) => Some(why.clone()),
        Err(error) => Some(format!("its work ended at once: {error}")),
    };
    let now = ports.clock.now();
    let left = stop_deadline.map(|deadline| deadline.plus(leave_time(process)).since(now));
    // Of what is left a part remains for ZooKeeper.
    let bound = left.map_or(stop_timeout, |left| left.saturating_sub(stop_timeout / 20));
    let leaving = async {
        let leave = leave::leave(session, store, &ports.cql, in_doubt, bound);
        let (outcome_of_leave, ()) = join(leave, group.leave()).await;
        if outcome.is_err() {
            // One driver session a member: the next must not begin before this one's connections are closed.
            if let Err(why) = leave::unlisted(&ports.cql, &member, &ports.clock, bound).await {
                tracing::warn!(%member, why, "the connections of the former member are not seen closed");
            }
        }
        outcome_of_leave
    };
    let in_time = async {
        if let Some(left) = left {
            ports.clock.sleep(left).await;
        } else {
            process.stop.cancelled().await;
            ports.clock.sleep(leave_time(process)).await;
        }
    };
    let left = tokio::select! {
        biased;
        left = leaving => left,
        () = in_time => LeaveOutcome::DeadMember {
            why: "it could not leave within its time to stop".to_owned(),
        },
    };
    MembershipEnd {
        outcome: left,
        failure: outcome.err().or(failure),
    }
}

type Connected<Q, L> = (
    <Q as Cql>::Store,
    <L as EventLog>::DeadLetters,
    <L as EventLog>::Feed,
    <L as EventLog>::Group,
);

async fn connect<K, S: Session, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    session: &NamespaceSession<S, C>,
) -> Result<Connected<Q, L>, Error> {
    let store = ports.cql.connect_store(&session.member()).await?;
    known_nodes::admit(session, &store).await?;
    let dead_letters = ports.log.dead_letters().await?;
    let feed = ports.log.feed().await?;
    let group = ports.log.join().await?;
    Ok((store, dead_letters, feed, group))
}
