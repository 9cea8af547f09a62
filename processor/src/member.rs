//! One membership: from a new ZooKeeper session to its end. A process whose session ends starts again as another
//! member, with nothing remembered (rule P7).

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::member::Role;
use stitch_common::ports::{Cql, EventLog, Group, ZooKeeper};
use stitch_protocol::NamespaceSession;
use stitch_protocol::leave::{self, LeaveOutcome};
use stitch_protocol::membership::{self, Joined, MemberInfo};
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

/// Everything outside the process, behind its ports.
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

/// What every membership of a process is given.
pub(crate) struct Process<'a> {
    pub(crate) config: &'a Config,
    pub(crate) host: &'a str,
    pub(crate) status: &'a Status,
    pub(crate) stop: &'a CancellationToken,
}

/// Becomes a member, counts until asked to stop, and leaves.
///
/// # Errors
/// What ended it otherwise; [`Error::is_transient`] tells whether to start again. The member then stays as a tombstone,
/// unless it had sent nothing.
pub(crate) async fn serve<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
    has_counted: &mut bool,
) -> Result<LeaveOutcome, Error> {
    let session = ports.keeper.connect().await?;
    let paths = Paths::new(&process.config.namespace);
    let session = NamespaceSession::new(session, ports.clock.clone(), paths);
    join(ports, process, &session).await?;
    let member = session.member();
    let prepared = prepare(ports, &member).await;
    let (store, dead_letters, feed, mut group) = match prepared {
        Ok(prepared) => prepared,
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
    let limits = Limits::from_config(&process.config.processor);
    let counting = Engine::new(limits, &process.config.definitions);
    let ended = {
        let counting = EventLoop::new(&servers, process, counting, feed).run(&mut group);
        let sweeping = cleanup::once(&servers.session, &ports.cql, process.config);
        let remembering = topic_fingerprint::run(&servers.session, &ports.log);
        tokio::select! {
            biased;
            // The other two never end by themselves, and may be dropped anywhere.
            ended = counting => ended,
            never = sweeping => match never {},
            never = remembering => match never {},
        }
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
    let departure = leave::leave(session, store, &ports.cql, in_doubt, bound).await;
    if ended.is_err() {
        // One driver session a member: the next must not begin before this one's connections are closed.
        if let Err(still) = leave::unlisted(&ports.cql, &member, &ports.clock, bound).await {
            tracing::warn!(%member, still, "the connections of the former member are not seen closed");
        }
    }
    ended.map(|_| departure)
}

async fn join<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    process: &Process<'_>,
    session: &NamespaceSession<K::Session, C>,
) -> Result<(), Error> {
    let info = MemberInfo {
        role: Role::Processor,
        host: process.host.to_owned(),
        process_id: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    loop {
        let validated =
            namespace::validate(session, &ports.cql, &ports.log, process.config).await?;
        match membership::join(session, validated.defined.version, &info).await? {
            Joined::Member(_) => {
                namespace::remember_log(session, &validated.found.log).await?;
                return Ok(());
            }
            Joined::DefinitionChanged => {}
        }
    }
}

type Prepared<Q, L> = (
    <Q as Cql>::Store,
    <L as EventLog>::DeadLetters,
    <L as EventLog>::Feed,
    <L as EventLog>::Group,
);

async fn prepare<K, Q: Cql, L: EventLog, C>(
    ports: &Ports<K, Q, L, C>,
    member: &stitch_common::member::MemberId,
) -> Result<Prepared<Q, L>, Error> {
    let store = ports.cql.connect_store(member).await?;
    let dead_letters = ports.log.dead_letters().await?;
    let feed = ports.log.feed().await?;
    let group = ports.log.join().await?;
    Ok((store, dead_letters, feed, group))
}
