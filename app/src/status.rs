//! The namespace as it stands in ZooKeeper, for whoever looks after it: what `stitch-restorator status` prints and the
//! API's page for operators shows. Takes no lock and changes nothing.

mod text;

use std::collections::BTreeSet;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::config::Config;
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::output::{Exit, Report};
use stitch_common::ports::{Session, ZooKeeper};
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::user_error::UserError;
use stitch_protocol::checkpoint_node::PartitionState;
use stitch_protocol::contender::Kind;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::inspect::{self, Overview, RangeQueue};
use stitch_protocol::membership::Member;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::{Holder, RangeOutcome, RestorationRecord, RestorationState};
use stitch_protocol::{Error, NamespaceSession, definition_node, glance};
use stitch_zookeeper::ZooKeeperClient;

/// What stands in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub namespace: String,
    /// Its generation.
    pub generation: u64,
    /// How many ranges it has.
    pub ranges: u16,
    /// The names of its counters.
    pub counters: Vec<String>,
    /// The members that are alive.
    pub members: Vec<MemberLine>,
    /// Those that are not.
    pub dead_members: Vec<MemberLine>,
    /// How far each partition is counted, and by whom.
    pub partitions: Vec<PartitionLine>,
    /// Who holds a range, or waits for it.
    pub locks: Vec<LockLine>,
    /// What is unsettled.
    pub in_doubt_markers: Vec<MarkerLine>,
    /// The ranges that a restoration asks for.
    pub revocation_requests: Vec<RangeId>,
    /// Who has the restoration lock.
    pub restoring: Option<Holder>,
    /// The ranges that the last restoration which tells of them could not prove.
    pub unverified: BTreeSet<RangeId>,
    /// Restorations that run or ran, the latest first.
    pub restorations: Vec<RestorationLine>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberLine {
    /// Which session.
    pub member: MemberId,
    /// What it does.
    pub role: Role,
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub process_id: u32,
    /// When it joined.
    pub started: DateTime<Utc>,
    /// The session timeout that was negotiated.
    pub session_timeout_ms: u64,
    /// The version of the program.
    pub version: String,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionLine {
    /// Which.
    pub partition: Partition,
    /// Below it, all is answered for every range; none before anything was counted.
    pub lowest: Option<Offset>,
    /// Where the range that is furthest stands.
    pub highest: Option<Offset>,
    /// Who has its lock.
    pub member: Option<MemberId>,
}

/// A place in the lock queue of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockLine {
    /// Which range.
    pub range: RangeId,
    /// Whose lock it is.
    pub member: MemberId,
    /// `shared` or `exclusive`.
    pub kind: &'static str,
    /// `held` or `waiting`.
    pub state: &'static str,
    /// Since when it is in the queue.
    pub since: Option<DateTime<Utc>>,
}

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkerLine {
    /// Which range.
    pub range: RangeId,
    /// Whose request it was.
    pub member: MemberId,
    /// Which of the member's marks.
    pub number: u64,
}

/// A restoration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestorationLine {
    /// Its name.
    pub id: String,
    /// `running`, `interrupted`, `verified`, `drift_remains` or `unverified`.
    pub outcome: &'static str,
    /// What it was to restore.
    pub scope: String,
    /// Who ran it.
    pub member: MemberId,
    /// Where.
    pub host: String,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// Ranges that it was to prove; none in records of programs that did not say.
    pub ranges_in_scope: Option<usize>,
    /// Ranges that it has proved.
    pub ranges_verified: usize,
    /// Ranges that it has given back unproved.
    pub ranges_unverified: usize,
    /// Cells that it has corrected.
    pub cells_corrected: u64,
}

/// Reads it, in a session of its own.
///
/// # Errors
/// ZooKeeper cannot be asked, or there is no such namespace.
pub async fn read(config: &Config) -> Result<Status, UserError> {
    let zookeeper = &config.zookeeper;
    let keeper = ZooKeeperClient::new(&zookeeper.connect, zookeeper.session_timeout);
    let session = keeper.connect().await?;
    let session = NamespaceSession::new(session, SystemClock, Paths::new(&config.namespace));
    let status = collect(&session, &config.namespace).await;
    session.close().await;
    Ok(status?)
}

/// Reads it in a session that there is. Cancelling it leaves nothing behind.
///
/// # Errors
/// [`Error::NotInitialised`]; [`Error::Corrupt`]; else as every recipe.
pub async fn collect<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    namespace: &str,
) -> Result<Status, Error> {
    let defined = definition_node::read(session).await?;
    let record = defined
        .map(|defined| defined.record)
        .ok_or_else(|| Error::NotInitialised {
            path: session.paths().definition(),
        })?;
    let overview = inspect::overview(session, record.definitions.range_bits).await?;
    Ok(Status::new(namespace, &record, overview))
}

impl Status {
    /// The namespace of this name and definition, as it was seen.
    #[must_use]
    pub fn new(namespace: &str, record: &NamespaceRecord, overview: Overview) -> Self {
        let bits = record.definitions.range_bits;
        let counters = record.definitions.counters.iter();
        let restoring = overview.restoring;
        let records = overview.restorations.iter().rev();
        Self {
            namespace: namespace.to_owned(),
            generation: record.generation,
            ranges: bits.count(),
            counters: counters.map(|counter| counter.name.0.to_string()).collect(),
            members: overview.members.alive().map(MemberLine::of).collect(),
            dead_members: overview
                .members
                .dead_members()
                .map(MemberLine::of)
                .collect(),
            partitions: overview
                .partitions
                .iter()
                .map(|state| PartitionLine::of(state, bits))
                .collect(),
            locks: overview.locks.iter().flat_map(LockLine::of_queue).collect(),
            in_doubt_markers: overview
                .markers
                .iter()
                .map(|marker| MarkerLine {
                    range: marker.range,
                    member: marker.member.clone(),
                    number: marker.number,
                })
                .collect(),
            revocation_requests: overview
                .requests
                .iter()
                .map(|request| request.range)
                .collect(),
            unverified: glance::unverified(&overview.restorations),
            restorations: records
                .map(|record| RestorationLine::of(record, restoring.as_ref()))
                .collect(),
            restoring,
        }
    }
}

impl MemberLine {
    fn of(member: &Member) -> Self {
        let record = &member.record;
        Self {
            member: member.id.clone(),
            role: record.role,
            host: record.host.clone(),
            process_id: record.process_id,
            started: record.started,
            session_timeout_ms: record.session_timeout_ms,
            version: record.version.clone(),
        }
    }
}

impl PartitionLine {
    fn of(state: &PartitionState, bits: RangeBits) -> Self {
        let progress = state.progress.as_ref().map(|written| &written.progress);
        Self {
            partition: state.partition,
            lowest: progress.map(|progress| progress.lowest(bits)),
            highest: progress.map(|progress| progress.highest(bits)),
            member: state.holder.clone(),
        }
    }
}

impl LockLine {
    fn of_queue(queue: &RangeQueue) -> Vec<Self> {
        let line = |queued: &inspect::Queued| Self {
            range: queue.range,
            member: queued.member.clone(),
            kind: match queued.kind {
                Kind::Shared => "shared",
                Kind::Exclusive => "exclusive",
            },
            state: if queued.holds { "held" } else { "waiting" },
            since: queued.since,
        };
        queue.queue.iter().map(line).collect()
    }
}

impl RestorationLine {
    fn of(record: &RestorationRecord, restoring: Option<&Holder>) -> Self {
        let runs = restoring.is_some_and(|holder| holder.member == record.holder.member);
        let corrected = record.ranges.values().filter_map(|outcome| match outcome {
            RangeOutcome::Verified { corrected, .. } => Some(*corrected),
            RangeOutcome::Unverified { .. } => None,
        });
        let corrected: Vec<u64> = corrected.collect();
        Self {
            id: record.id.to_string(),
            outcome: match record.state {
                RestorationState::Running if runs => "running",
                RestorationState::Running => "interrupted",
                RestorationState::Verified => "verified",
                RestorationState::DriftRemains => "drift_remains",
                RestorationState::Unverified => "unverified",
            },
            scope: record.scope.clone(),
            member: record.holder.member.clone(),
            host: record.holder.host.clone(),
            started: record.holder.started,
            ended: record.ended,
            ranges_in_scope: record.ranges_in_scope,
            ranges_verified: corrected.len(),
            ranges_unverified: record.ranges.len() - corrected.len(),
            cells_corrected: corrected.iter().sum(),
        }
    }
}

impl Report for Status {
    fn outcome(&self) -> &'static str {
        "read"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        text::write(self, out)
    }
}
