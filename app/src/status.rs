//! The state of a namespace in ZooKeeper: `stitch-restorator status` prints it, and the API's operator page shows it.
//! Takes no lock and changes nothing.
//!
//! The structs here are the JSON of that command: their fields change only on purpose, whatever the protocol's do.

mod backfill;
mod control;
mod reasons;
mod takeover;
mod text;

use std::fmt;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::output::{Exit, Report};
use stitch_common::ports::{Session, ZooKeeper};
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_control::control_node;
use stitch_control::control_record::{ControlEvent, ControlRecord};
use stitch_control::restoration_record::{self, RangeOutcome, RestorationRecord, RestorationState};
use stitch_protocol::checkpoint_node::PartitionSnapshot;
use stitch_protocol::contender::Kind;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::doubt::{Doubt, DoubtCause};
use stitch_protocol::membership::Member;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::LockHolder;
use stitch_protocol::snapshot::{FullSnapshot, RangeQueue};
use stitch_protocol::suspension::SuspensionRecord;
use stitch_protocol::{Error, NamespaceSession, definition_node, snapshot};
use stitch_zookeeper::ZooKeeperClient;

/// The report of `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    pub namespace: String,
    pub generation: u64,
    /// Number of ranges.
    pub ranges: u16,
    /// Names of the counters.
    pub counters: Vec<String>,
    /// Members whose session is alive.
    pub members: Vec<MemberLine>,
    pub dead_members: Vec<MemberLine>,
    pub partitions: Vec<PartitionLine>,
    /// Events that a member which ended early may have applied, until a successor counts on.
    pub takeovers_pending: Vec<TakeoverLine>,
    /// Counters that were added, until a restoration has counted their past.
    pub backfills_pending: Vec<BackfillLine>,
    /// The lock queues of the ranges.
    pub locks: Vec<LockLine>,
    pub in_doubt_markers: Vec<MarkerLine>,
    /// Ranges that a restoration has asked processors to release.
    pub revocation_requests: Vec<RangeId>,
    /// The holder of the restoration lock.
    pub restoring: Option<LockHolder>,
    /// What operators want of the restoration that runs, and of those to come.
    pub control: ControlLine,
    /// Why counts may be wrong, until a restoration verifies them.
    pub doubts: Vec<DoubtLine>,
    /// The ranges whose counts are uncertain: by a dead member, an in-doubt marker, a doubt, or what is pending.
    pub uncertain: Vec<RangeId>,
    /// Restorations, running or ended, latest first.
    pub restorations: Vec<RestorationLine>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberLine {
    pub member: MemberId,
    pub role: Role,
    pub host: String,
    pub process_id: u32,
    /// When it joined.
    pub started: DateTime<Utc>,
    /// The negotiated session timeout.
    pub session_timeout_ms: u64,
    pub version: String,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionLine {
    pub partition: Partition,
    /// Every event below it is acknowledged in every range; none before anything was counted.
    pub lowest: Option<Offset>,
    /// The checkpoint of the range that is furthest ahead.
    pub highest: Option<Offset>,
    /// No event at or above it has been begun in any range. Where it is above `highest`, events are in flight, or their
    /// owner ended without a hand-over.
    pub ceiling: Option<Offset>,
    /// The holder of its lock.
    pub member: Option<MemberId>,
    /// Why it is not counted, if it is suspended.
    pub suspended: Option<SuspensionLine>,
}

/// Why a partition is not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SuspensionLine {
    /// The member that cannot count it, and tries again.
    pub member: MemberId,
    pub host: String,
    pub since: DateTime<Utc>,
    pub message: String,
    pub help: String,
}

/// A lock entry of a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LockLine {
    pub range: RangeId,
    pub member: MemberId,
    pub kind: LockKind,
    pub state: LockState,
    /// When it was queued.
    pub since: Option<DateTime<Utc>>,
}

/// The mode of a range lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    Shared,
    Exclusive,
}

/// Whether a lock entry holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LockState {
    Held,
    Waiting,
}

impl fmt::Display for LockState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Held => "held",
            Self::Waiting => "waiting",
        })
    }
}

/// An in-doubt marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MarkerLine {
    pub range: RangeId,
    /// The sender of the request in doubt.
    pub member: MemberId,
    /// Distinguishes it from the member's other markers.
    pub number: u64,
}

/// A doubt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoubtLine {
    pub range: RangeId,
    pub cause: DoubtCause,
    /// When it was first recorded.
    pub since: DateTime<Utc>,
    /// The member that recorded it last; none if its record is damaged.
    pub member: Option<MemberId>,
    /// What it is about.
    pub detail: String,
}

/// A restoration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestorationLine {
    pub id: String,
    pub outcome: RestorationOutcome,
    pub scope: Scope,
    pub member: MemberId,
    pub host: String,
    pub started: DateTime<Utc>,
    pub ended: Option<DateTime<Utc>>,
    pub ranges_in_scope: usize,
    pub ranges_verified: usize,
    pub ranges_unverified: usize,
    pub cells_corrected: u64,
    /// What operators had it do, the latest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<ControlEvent>,
}

/// The outcome of a restoration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestorationOutcome {
    Running,
    /// It runs, and waits for an operator or for the end of a hold.
    Paused,
    /// An operator ended it early.
    Aborted,
    /// Its record says that it runs, but it no longer holds the restoration lock.
    Interrupted,
    Verified,
    /// As far as the exceptions allow that the operator made: a lower read level, or what was declared dead.
    VerifiedWithExceptions,
    DriftRemains,
    Unverified,
}

impl fmt::Display for RestorationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
            Self::Verified => "verified",
            Self::VerifiedWithExceptions => "verified_with_exceptions",
            Self::DriftRemains => "drift_remains",
            Self::Unverified => "unverified",
        })
    }
}

pub use backfill::BackfillLine;
pub use control::ControlLine;
pub use takeover::TakeoverLine;

/// Reads the status in a session of its own.
///
/// # Errors
/// ZooKeeper does not answer, or there is no such namespace.
pub async fn read(config: &Config) -> Result<Status, UserError> {
    let zookeeper = &config.zookeeper;
    let client = ZooKeeperClient::of(zookeeper);
    let session = client.connect().await?;
    let session = NamespaceSession::new(
        session,
        SystemClock,
        Paths::below(&config.zookeeper.root, &config.namespace),
    );
    let status = collect(&session, &config.namespace).await;
    session.close().await;
    Ok(status?)
}

/// Reads the status in an existing session. Cancelling it leaves nothing behind.
///
/// # Errors
/// The namespace does not exist or is corrupt, or ZooKeeper does not answer.
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
    let overview = snapshot::full(session, record.definitions.range_bits).await?;
    let restorations = Restorations {
        records: restoration_record::records(session).await?,
        control: control_node::read(session).await?,
        now: session.clock().wall(),
    };
    Ok(Status::new(namespace, &record, overview, restorations))
}

/// What ZooKeeper has of restorations, at a time.
struct Restorations {
    /// The oldest first.
    records: Vec<RestorationRecord>,
    control: ControlRecord,
    now: DateTime<Utc>,
}

impl Status {
    /// The status of the namespace with this name and definition.
    fn new(
        namespace: &str,
        record: &NamespaceRecord,
        overview: FullSnapshot,
        restorations: Restorations,
    ) -> Self {
        let bits = record.definitions.range_bits;
        let counters = record.definitions.counters.iter();
        let uncertainty = overview.uncertainty();
        let uncertain = bits
            .ranges()
            .filter(|range| !uncertainty.is_certain(*range))
            .collect();
        let restoring = overview.restoring;
        let Restorations {
            records,
            control,
            now,
        } = restorations;
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
            takeovers_pending: overview
                .partitions
                .iter()
                .filter_map(|state| TakeoverLine::of(state, bits))
                .collect(),
            backfills_pending: overview.backfills.iter().map(BackfillLine::of).collect(),
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
            doubts: overview.doubts.iter().map(DoubtLine::of).collect(),
            uncertain,
            control: ControlLine::of(control, &records, restoring.as_ref(), now),
            restorations: records
                .iter()
                .rev()
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
    fn of(state: &PartitionSnapshot, bits: RangeBits) -> Self {
        let stored = state.checkpoint.as_ref();
        let checkpoint = stored.map(|stored| &stored.progress);
        let highest = checkpoint.map(|checkpoint| checkpoint.highest(bits));
        let ceiling = stored.map(|stored| stored.ceiling.acknowledged());
        Self {
            partition: state.partition,
            lowest: checkpoint.map(|checkpoint| checkpoint.lowest(bits)),
            highest,
            ceiling: ceiling.max(highest),
            member: state.holder.clone(),
            suspended: state.suspension.clone().map(SuspensionLine::from),
        }
    }
}

impl From<SuspensionRecord> for SuspensionLine {
    fn from(record: SuspensionRecord) -> Self {
        let SuspensionRecord {
            member,
            host,
            since,
            message,
            help,
        } = record;
        Self {
            member,
            host,
            since,
            message,
            help,
        }
    }
}

impl LockLine {
    fn of_queue(queue: &RangeQueue) -> Vec<Self> {
        let line = |queued: &snapshot::QueueEntry| Self {
            range: queue.range,
            member: queued.member.clone(),
            kind: match queued.kind {
                Kind::Shared => LockKind::Shared,
                Kind::Exclusive => LockKind::Exclusive,
            },
            state: if queued.holds {
                LockState::Held
            } else {
                LockState::Waiting
            },
            since: queued.since,
        };
        queue.entries.iter().map(line).collect()
    }
}

impl DoubtLine {
    fn of(doubt: &Doubt) -> Self {
        Self {
            range: doubt.range,
            cause: doubt.cause,
            since: doubt.since,
            member: doubt.member.clone(),
            detail: doubt.detail.clone(),
        }
    }
}

impl RestorationLine {
    fn of(record: &RestorationRecord, restoring: Option<&LockHolder>) -> Self {
        let holds_lock = restoring.is_some_and(|holder| holder.member == record.holder.member);
        let corrected = record.ranges.values().filter_map(|outcome| match outcome {
            RangeOutcome::Verified { corrected, .. }
            | RangeOutcome::VerifiedWithExceptions { corrected, .. } => Some(*corrected),
            RangeOutcome::Unverified { .. } => None,
        });
        let corrected: Vec<u64> = corrected.collect();
        Self {
            id: record.id.to_string(),
            outcome: match record.state {
                RestorationState::Running if holds_lock => RestorationOutcome::Running,
                RestorationState::Paused if holds_lock => RestorationOutcome::Paused,
                RestorationState::Running | RestorationState::Paused => {
                    RestorationOutcome::Interrupted
                }
                RestorationState::Aborted => RestorationOutcome::Aborted,
                RestorationState::Verified => RestorationOutcome::Verified,
                RestorationState::VerifiedWithExceptions => {
                    RestorationOutcome::VerifiedWithExceptions
                }
                RestorationState::DriftRemains => RestorationOutcome::DriftRemains,
                RestorationState::Unverified => RestorationOutcome::Unverified,
            },
            scope: record.scope.clone(),
            member: record.holder.member.clone(),
            host: record.holder.host.clone(),
            started: record.holder.started,
            ended: record.ended,
            ranges_in_scope: record.scope.ranges().count(),
            ranges_verified: corrected.len(),
            ranges_unverified: record.ranges.len() - corrected.len(),
            cells_corrected: corrected.iter().sum(),
            control: record.control.clone(),
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
