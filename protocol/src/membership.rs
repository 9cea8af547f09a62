//! Members (design, section 3): a persistent node for each session, and an ephemeral one for as long as the session
//! lives. A member without it is a dead member: requests of its session may still be in flight.
//!
//! The ephemeral nodes are in one flat directory, `/alive`, so that who is alive is one read, however many members there
//! are.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use stitch_common::clock::Clock;
use stitch_common::member::{MemberId, Role};
use stitch_common::ports::{CreateMode, NodeStat, Operation, Session, ZkError};

use crate::envelope::{self, Payload};
use crate::error::Error;
use crate::namespace_session::{NamespaceSession, not_initialised};
use crate::retry::transact;

/// The record in a member's node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Processor or restorator.
    pub role: Role,
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub process_id: u32,
    /// When it joined, by its own calendar.
    pub started: DateTime<Utc>,
    /// The session timeout that was negotiated: the longest is a term of the barrier's `W`.
    pub session_timeout_ms: u64,
    /// How often its driver probes an idle connection to Cassandra: a term of `W`, too.
    pub keepalive_interval_ms: u64,
    /// How long its driver waits for the answer to that: a term of `W`, too.
    pub keepalive_timeout_ms: u64,
    /// The version of the program.
    pub version: String,
    /// The version of `/definition` that it was validated against, and counts by.
    pub definition_version: i32,
}

impl Payload for MemberRecord {
    const FORMAT: u32 = 2;
    const HELP: &'static str = "stop that member, make sure that its host has no connection to Cassandra any \
         more, and delete the node by hand";
}

/// What a process records of itself when it joins; the session adds the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Processor or restorator.
    pub role: Role,
    /// The host that it runs on.
    pub host: String,
    /// Its process id on that host.
    pub process_id: u32,
    /// The version of the program.
    pub version: String,
    /// How often its driver probes an idle connection to Cassandra.
    pub keepalive_interval: Duration,
    /// How long its driver waits for the answer to that.
    pub keepalive_timeout: Duration,
}

/// The result of joining.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum JoinOutcome {
    /// This session is a member.
    Member(MemberId),
    /// `/definition` has changed since it was read: read and compare it again.
    DefinitionChanged,
}

const DEFINITION: usize = 0;

/// Makes this session a member, if `/definition` still has the version that was read: member node, alive node and a
/// raised version of `/members` in one transaction. Cancelled, it may have joined; ending the session then leaves a dead
/// member.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn join<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    definition_version: i32,
    info: &MemberInfo,
) -> Result<JoinOutcome, Error> {
    let member = session.member();
    let paths = session.paths();
    let (path, alive) = (paths.member(&member), paths.alive(&member));
    let operations = [
        Operation::Check {
            path: paths.definition(),
            version: Some(definition_version),
        },
        Operation::Create {
            path: path.clone(),
            data: envelope::seal(&record(session, definition_version, info)),
            mode: CreateMode::Persistent,
        },
        Operation::Create {
            path: alive.clone(),
            data: Vec::new(),
            mode: CreateMode::Ephemeral,
        },
        Operation::Set {
            path: paths.members(),
            data: Vec::new(),
            version: None,
        },
    ];
    let mut retries = session.retry_budget(&path);
    loop {
        match transact(session.zookeeper(), &operations).await {
            Ok(()) => return Ok(JoinOutcome::Member(member)),
            Err((None, ZkError::Ambiguous(why))) => {
                retries.pause(why).await?;
                if is_alive(session, &member).await? {
                    return Ok(JoinOutcome::Member(member));
                }
            }
            Err((Some(DEFINITION), ZkError::BadVersion)) => {
                return Ok(JoinOutcome::DefinitionChanged);
            }
            Err((Some(_), ZkError::NoNode)) => return Err(not_initialised(&paths.definition())),
            Err((Some(_), ZkError::NodeExists)) if is_alive(session, &member).await? => {
                return Ok(JoinOutcome::Member(member));
            }
            Err((_, refusal)) => return Err(Error::unexpected(&path, refusal)),
        }
    }
}

fn record<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    definition_version: i32,
    info: &MemberInfo,
) -> MemberRecord {
    MemberRecord {
        role: info.role,
        host: info.host.clone(),
        process_id: info.process_id,
        started: session.clock().wall(),
        session_timeout_ms: millis(session.zookeeper().timeout()),
        keepalive_interval_ms: millis(info.keepalive_interval),
        keepalive_timeout_ms: millis(info.keepalive_timeout),
        version: info.version.clone(),
        definition_version,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn is_alive<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    member: &MemberId,
) -> Result<bool, Error> {
    let path = session.paths().alive(member);
    Ok(session.get(&path).await?.is_some())
}

/// The heartbeat (rule P3): one write, attempted once. The caller renews the lease from the moment *before* the call, and
/// only if it succeeds; the answer carries the ensemble's [`Epoch`]. While the connection is down it waits for the next
/// one, and the lease runs out meanwhile. Cancelled, it is as if it had failed.
///
/// # Errors
/// [`Error::Lost`] if this session is no member (any more): stop sending; [`Error::Unanswered`] whenever an answer is
/// lost: try again.
pub async fn heartbeat<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<NodeStat, Error> {
    let path = session.paths().alive(&session.member());
    match session.zookeeper().set(&path, b"", None).await {
        Ok(stat) if stat.ephemeral_owner == session.zookeeper().id() => Ok(stat),
        Ok(_) | Err(ZkError::NoNode) => Err(Error::Lost { path }),
        Err(error) => Err(Error::unexpected(&path, error)),
    }
}

/// Identifies the leader of the ensemble that a write went through: a new leader gives every session its full timeout
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i32);

impl Epoch {
    /// The epoch of a node's last write.
    #[must_use]
    pub fn of_last_write(stat: &NodeStat) -> Self {
        Self(i32::try_from(stat.mzxid >> 32).expect("the upper half of 64 bits fits in 32"))
    }
}

/// Deletes this session's member node and its alive node (rule P8: only once no Cassandra node lists the driver session;
/// else the dead member's record must stay). Cancelled or failed, the member may still exist.
pub async fn leave<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Result<(), Error> {
    let member = session.member();
    let path = session.paths().member(&member);
    let operations = [delete(session.paths().alive(&member)), delete(path.clone())];
    match session.retry_budget(&path).transact(&operations).await? {
        Ok(()) => Ok(()),
        // Nothing else deletes a living member: an earlier request has done it, or it never existed.
        Err((Some(_), ZkError::NoNode)) => session.delete(&path).await,
        Err((_, refusal)) => Err(Error::unexpected(&path, refusal)),
    }
}

const fn delete(path: String) -> Operation {
    Operation::Delete {
        path,
        version: None,
    }
}

/// The result of removing a dead member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum RemoveOutcome {
    /// It is gone; it may have been before.
    Gone,
    /// The member is alive: it stays.
    Alive,
}

/// Deletes a dead member, after a quiescence barrier that began once it had been read; any member may. ZooKeeper refuses
/// this while the member is alive: its alive node cannot be created then. Cancelled, the node may or may not be gone.
pub async fn remove<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    member: &MemberId,
) -> Result<RemoveOutcome, Error> {
    let (path, alive) = (
        session.paths().member(member),
        session.paths().alive(member),
    );
    let operations = [
        Operation::Create {
            path: alive.clone(),
            data: Vec::new(),
            mode: CreateMode::Ephemeral,
        },
        delete(alive),
        delete(path.clone()),
    ];
    match session.retry_budget(&path).transact(&operations).await? {
        Ok(()) | Err((Some(_), ZkError::NoNode)) => Ok(RemoveOutcome::Gone),
        Err((Some(_), ZkError::NodeExists)) => Ok(RemoveOutcome::Alive),
        Err((_, refusal)) => Err(Error::unexpected(&path, refusal)),
    }
}

/// A member of the namespace, alive or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its session.
    pub id: MemberId,
    /// Whether its session lives, as far as ZooKeeper knows.
    pub alive: bool,
    /// Its own record.
    pub record: MemberRecord,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemberRecord {
            role,
            host,
            process_id,
            ..
        } = &self.record;
        write!(f, "{role} {} on {host}, process {process_id}", self.id)
    }
}

/// All members at a version of `/members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// In the order of their ids.
    pub members: Vec<Member>,
    /// The version of `/members`, read before them: while it stays the same, no member has joined since.
    pub version: i32,
}

impl Members {
    /// The members that are alive.
    pub fn alive(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.alive)
    }

    /// The members whose sessions are gone.
    pub fn dead_members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.alive)
    }

    /// The members that are alive and count by other definitions than those of this version of `/definition`.
    pub fn alive_by_other_definitions(&self, version: i32) -> impl Iterator<Item = &Member> {
        self.alive()
            .filter(move |member| member.record.definition_version != version)
    }
}

/// The members of which neither of two lists that were read one after another says that they are alive, and those that
/// are.
struct Census {
    /// The version of `/members`, read before everything else.
    version: i32,
    alive: BTreeSet<MemberId>,
    dead: BTreeSet<MemberId>,
}

/// The ids of all members, by three reads; by four if any is dead.
///
/// The living are read first, so that a member that leaves between two reads is not taken for a dead one; and again
/// after the members, so that one that joins is not.
async fn census<S: Session, C: Clock>(session: &NamespaceSession<S, C>) -> Result<Census, Error> {
    let path = session.paths().members();
    let Some(node) = session.get(&path).await? else {
        return Err(not_initialised(&path));
    };
    let mut alive = alive(session).await?;
    let members = member_ids(session, &path).await?;
    if !members.is_subset(&alive) {
        alive.extend(self::alive(session).await?);
    }
    let dead = members.difference(&alive).cloned().collect();
    alive.retain(|member| members.contains(member));
    Ok(Census {
        version: node.stat.version,
        alive,
        dead,
    })
}

/// The members whose sessions live, as far as ZooKeeper knows, by one read.
pub async fn alive<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeSet<MemberId>, Error> {
    member_ids(session, &session.paths().living()).await
}

/// The dead members, without their records.
///
/// # Errors
/// [`Error::NotInitialised`].
pub async fn dead<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<BTreeSet<MemberId>, Error> {
    Ok(census(session).await?.dead)
}

async fn member_ids<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    directory: &str,
) -> Result<BTreeSet<MemberId>, Error> {
    let names = session.children(directory).await?;
    let ids = names.iter();
    Ok(ids
        .filter_map(|name| MemberId::from_node_name(name))
        .collect())
}

/// Every member, alive or dead, with its record. A member that leaves meanwhile is not among them.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`].
pub async fn list<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<Members, Error> {
    let Census {
        version,
        alive,
        dead,
    } = census(session).await?;
    let ids: BTreeSet<_> = alive.iter().chain(&dead).collect();
    let reads = ids
        .into_iter()
        .map(|id| read(session, id, alive.contains(id)));
    let members: Result<Vec<_>, _> = join_all(reads).await.into_iter().collect();
    Ok(Members {
        members: members?.into_iter().flatten().collect(),
        version,
    })
}

async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    id: &MemberId,
    alive: bool,
) -> Result<Option<Member>, Error> {
    let path = session.paths().member(id);
    let Some(node) = session.get(&path).await? else {
        return Ok(None);
    };
    let record = envelope::open(&path, &node.data)?;
    let id = id.clone();
    Ok(Some(Member { id, alive, record }))
}
