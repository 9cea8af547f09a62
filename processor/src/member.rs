//! One membership: from a new ZooKeeper session to its end. A process whose session ends starts again as another
//! member, and remembers nothing (rule P7).

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::{MemberId, Role};
use stitch_common::ports::{Cql, EventLog, Group, ZooKeeper};
use stitch_protocol::NamespaceSession;
use stitch_protocol::leave::{self, LeaveOutcome};
use stitch_protocol::membership::{self, MemberInfo};
use stitch_protocol::namespace;
use stitch_protocol::path::Paths;
use tokio_util::sync::CancellationToken;

use crate::cleanup;
use crate::effects::Connections;
use crate::engine::{Engine, Limits};
use crate::error::Error;
use crate::event_loop::{EventLoop, StopOutcome};
use crate::metrics;
use crate::status::Status;
use crate::topic_fingerprint;

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
    pub(crate) status: &'a Status,
    pub(crate) stop: &'a CancellationToken,
}

/// Becomes a member, counts until asked to stop, and leaves.
///
/// # Errors
/// What ended it early; [`Error::is_transient`] says whether to start again. The member then stays as a dead member, unless it
/// had sent nothing.
pub(crate) async fn serve<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
    has_counted: &mut bool,
) -> Result<LeaveOutcome, Error> {
    let session = ports.keeper.connect().await?;
    let paths = Paths::new(&process.config.namespace);
    let session = NamespaceSession::new(session, ports.clock.clone(), paths);
    let info = MemberInfo {
        role: Role::Processor,
        host: process.host.to_owned(),
        process_id: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keepalive_interval: process.config.cassandra.keepalive_interval,
        keepalive_timeout: process.config.cassandra.keepalive_timeout,
    };
    let (cql, log) = (&ports.cql, &ports.log);
    let validated = namespace::join(&session, cql, log, process.config, &info, |_| Ok(())).await?;
    namespace::remember_log(&session, &validated.observed.log).await?;
    let member = session.member();
    let (store, dead_letters, feed, mut group) = match connect(ports, &member).await {
        Ok(connected) => connected,
        Err(error) => {
            // Nothing was sent, so nothing is left behind.
            membership::leave(&session).await?;
            session.close().await;
            return Err(error);
        }
    };
    *has_counted = true;
    metrics::membership();
    tracing::info!(%member, "counting as a new member");
    let servers = Connections {
        session,
        store,
        log: &ports.log,
        dead_letters,
        clock: ports.clock.clone(),
        bits: process.config.definitions.range_bits,
    };
    let partitions = validated.observed.bounds.len();
    let limits = Limits::from_config(&process.config.processor, partitions);
    let engine = Engine::new(limits, &process.config.definitions);
    let ended = tokio::select! {
        biased;
        // The other two never end by themselves, and may be dropped at any await.
        ended = EventLoop::new(&servers, process, engine, feed).run(&mut group) => ended,
        never = cleanup::run(&servers.session, cql, process.config) => match never {},
        never = topic_fingerprint::run(&servers.session, log) => match never {},
    };
    process.status.set_ready(false);
    group.leave().await;
    let in_doubt = match &ended {
        Ok(StopOutcome::Drained) => None,
        Ok(StopOutcome::InDoubt(why)) => Some(why.clone()),
        Err(error) => Some(format!("its work ended early: {error}")),
    };
    let bound = process.config.processor.stop_timeout;
    let Connections { session, store, .. } = servers;
    let outcome = leave::leave(session, store, cql, in_doubt, bound).await;
    if ended.is_err() {
        // One driver session a member: the next must not begin before this one's connections are closed.
        if let Err(why) = leave::unlisted(cql, &member, &ports.clock, bound).await {
            tracing::warn!(%member, why, "the connections of the former member are not seen closed");
        }
    }
    ended.map(|_| outcome)
}

type Connected<Q, L> = (
    <Q as Cql>::Store,
    <L as EventLog>::DeadLetters,
    <L as EventLog>::Feed,
    <L as EventLog>::Group,
);

async fn connect<K, Q: Cql, L: EventLog, C>(
    ports: &Ports<K, Q, L, C>,
    member: &MemberId,
) -> Result<Connected<Q, L>, Error> {
    let store = ports.cql.connect_store(member).await?;
    let dead_letters = ports.log.dead_letters().await?;
    let feed = ports.log.feed().await?;
    let group = ports.log.join().await?;
    Ok((store, dead_letters, feed, group))
}
