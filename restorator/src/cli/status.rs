//! `status`: the namespace as it stands in ZooKeeper. Takes no lock and changes nothing.

mod text;

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_common::answer::{Exit, Failure, Report};
use stitch_common::clock::SystemClock;
use stitch_common::config::Config;
use stitch_common::coordination::inspect::{self, Overview, RangeQueue};
use stitch_common::coordination::membership::Member;
use stitch_common::coordination::path::Paths;
use stitch_common::coordination::progress_node::PartitionState;
use stitch_common::coordination::queue::Kind;
use stitch_common::coordination::restoration::{
    Holder, RangeOutcome, RestorationRecord, RestorationState,
};
use stitch_common::coordination::{Coordinator, Error, ZooKeeper, definition_node};
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Keeper;
use stitch_common::range::{RangeBits, RangeId};

/// What stands in ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Status {
    namespace: String,
    generation: u64,
    counters: Vec<String>,
    members: Vec<MemberLine>,
    tombstones: Vec<MemberLine>,
    partitions: Vec<PartitionLine>,
    locks: Vec<LockLine>,
    marks: Vec<MarkLine>,
    requests: Vec<RangeId>,
    restoring: Option<Holder>,
    restorations: Vec<RestorationLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct MemberLine {
    member: MemberId,
    role: Role,
    host: String,
    process_id: u32,
    started: DateTime<Utc>,
    session_timeout_ms: u64,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PartitionLine {
    partition: Partition,
    /// Below it, all is answered for every range; none before anything was counted.
    lowest: Option<Offset>,
    /// Where the range that is furthest stands.
    highest: Option<Offset>,
    member: Option<MemberId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LockLine {
    range: RangeId,
    member: MemberId,
    kind: &'static str,
    state: &'static str,
    since: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct MarkLine {
    range: RangeId,
    member: MemberId,
    number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RestorationLine {
    id: String,
    outcome: &'static str,
    scope: String,
    member: MemberId,
    host: String,
    started: DateTime<Utc>,
    ended: Option<DateTime<Utc>>,
    ranges_proved: usize,
    ranges_not_proved: usize,
    cells_corrected: u64,
}

/// Reads it.
pub(super) async fn read(config: &Config) -> Result<Status, Failure> {
    let zookeeper = &config.zookeeper;
    let keeper = ZooKeeper::new(&zookeeper.connect, zookeeper.session_timeout);
    let session = keeper.connect().await?;
    let coordinator = Coordinator::new(session, SystemClock, Paths::new(&config.namespace));
    let status = read_with(&coordinator, &config.namespace).await;
    coordinator.close().await;
    Ok(status?)
}

async fn read_with<S, C>(coordinator: &Coordinator<S, C>, namespace: &str) -> Result<Status, Error>
where
    S: stitch_common::ports::Session,
    C: stitch_common::clock::Clock,
{
    let defined = definition_node::read(coordinator).await?;
    let record = defined
        .map(|defined| defined.record)
        .ok_or_else(|| Error::NotInitialised {
            path: coordinator.paths().definition(),
        })?;
    let bits = record.definitions.range_bits;
    let overview = inspect::overview(coordinator, bits).await?;
    let counters = record.definitions.counters.iter();
    let counters = counters.map(|counter| counter.name.0.to_string()).collect();
    Ok(Status::new(
        namespace,
        record.generation,
        counters,
        bits,
        overview,
    ))
}

impl Status {
    fn new(
        namespace: &str,
        generation: u64,
        counters: Vec<String>,
        bits: RangeBits,
        overview: Overview,
    ) -> Self {
        let restoring = overview.restoring;
        let records = overview.restorations.iter().rev();
        Self {
            namespace: namespace.to_owned(),
            generation,
            counters,
            members: overview.members.alive().map(MemberLine::of).collect(),
            tombstones: overview.members.tombstones().map(MemberLine::of).collect(),
            partitions: overview
                .partitions
                .iter()
                .map(|state| PartitionLine::of(state, bits))
                .collect(),
            locks: overview.locks.iter().flat_map(LockLine::of_queue).collect(),
            marks: overview
                .marks
                .iter()
                .map(|mark| MarkLine {
                    range: mark.range,
                    member: mark.member.clone(),
                    number: mark.number,
                })
                .collect(),
            requests: overview
                .requests
                .iter()
                .map(|request| request.range)
                .collect(),
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
            RangeOutcome::Proved { corrected, .. } => Some(*corrected),
            RangeOutcome::NotProved { .. } => None,
        });
        let corrected: Vec<u64> = corrected.collect();
        Self {
            id: record.id.to_string(),
            outcome: match record.state {
                RestorationState::Running if runs => "running",
                RestorationState::Running => "interrupted",
                RestorationState::Proved => "proved",
                RestorationState::DriftRemains => "drift_remains",
                RestorationState::NotProved => "not_proved",
            },
            scope: record.scope.clone(),
            member: record.holder.member.clone(),
            host: record.holder.host.clone(),
            started: record.holder.started,
            ended: record.ended,
            ranges_proved: corrected.len(),
            ranges_not_proved: record.ranges.len() - corrected.len(),
            cells_corrected: corrected.iter().sum(),
        }
    }
}

impl Report for Status {
    fn outcome(&self) -> &'static str {
        "read"
    }

    fn exit(&self) -> Exit {
        Exit::Well
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        text::write(self, out)
    }
}
