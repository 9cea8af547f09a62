//! Status objects for tests, and the servers in memory.

pub(crate) mod world;

use chrono::{DateTime, Utc};
use stitch_app::status::{
    BackfillLine, ControlLine, DoubtLine, LockKind, LockLine, LockState, MarkerLine, MemberLine,
    PartitionLine, RestorationLine, RestorationOutcome, Status, TakeoverLine,
};
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::{Offset, Partition};
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_protocol::doubt::DoubtCause;
use stitch_protocol::restoration::LockHolder;

pub(crate) fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

pub(crate) fn member(session: i64, role: Role) -> MemberLine {
    MemberLine {
        member: MemberId::new(session, 0),
        role,
        host: "somewhere".to_owned(),
        process_id: 7,
        started: time("2026-05-03T09:00:00Z"),
        session_timeout_ms: 4000,
        version: "1".to_owned(),
    }
}

pub(crate) fn lock(range: u16, session: i64, kind: LockKind, state: LockState) -> LockLine {
    LockLine {
        range: RangeId(range),
        member: MemberId::new(session, 0),
        kind,
        state,
        since: Some(time("2026-05-03T10:15:00Z")),
    }
}

pub(crate) fn marker(range: u16) -> MarkerLine {
    MarkerLine {
        range: RangeId(range),
        member: MemberId::new(1, 0),
        number: 1,
    }
}

pub(crate) fn doubt(range: u16) -> DoubtLine {
    DoubtLine {
        range: RangeId(range),
        cause: DoubtCause::Takeover,
        since: time("2026-05-03T10:15:00Z"),
        member: Some(MemberId::new(1, 0)),
        detail: "partition 0, offsets 5 to 9".to_owned(),
    }
}

pub(crate) fn takeover(ranges: &[u16]) -> TakeoverLine {
    TakeoverLine {
        partition: Partition(0),
        begin: Offset(5),
        end: Offset(9),
        member: Some(MemberId::new(1, 0)),
        ranges: ranges.iter().copied().map(RangeId).collect(),
    }
}

pub(crate) fn backfill(ranges: &[u16]) -> BackfillLine {
    BackfillLine {
        counter: "likes".to_owned(),
        since: time("2026-05-03T10:15:00Z"),
        ranges: ranges.iter().copied().map(RangeId).collect(),
    }
}

/// The member of this session as the one that restores.
pub(crate) fn restorer(session: i64) -> LockHolder {
    LockHolder {
        member: MemberId::new(session, 0),
        host: "elsewhere".to_owned(),
        process_id: 8,
        started: time("2026-05-03T10:15:00Z"),
    }
}

pub(crate) fn restoration(outcome: RestorationOutcome, verified: usize) -> RestorationLine {
    RestorationLine {
        id: "20260503T101500000Z-0000000000000002-0000000000000000".to_owned(),
        outcome,
        scope: Scope::of_ranges((0..64).map(RangeId).collect()),
        member: MemberId::new(2, 0),
        host: "elsewhere".to_owned(),
        started: time("2026-05-03T10:15:00Z"),
        ended: None,
        ranges_in_scope: 64,
        ranges_verified: verified,
        ranges_unverified: 1,
        cells_corrected: 1234,
        control: Vec::new(),
    }
}

/// A namespace without any trouble: one processor counts all 64 ranges.
pub(crate) fn healthy() -> Status {
    Status {
        namespace: "plays".to_owned(),
        generation: 1,
        ranges: 64,
        counters: vec!["plays".to_owned()],
        members: vec![member(1, Role::Processor)],
        dead_members: Vec::new(),
        partitions: vec![PartitionLine {
            partition: Partition(0),
            lowest: Some(Offset(1_000_000)),
            highest: Some(Offset(1_000_000)),
            ceiling: Some(Offset(1_000_000)),
            member: Some(MemberId::new(1, 0)),
            suspended: None,
        }],
        takeovers_pending: Vec::new(),
        backfills_pending: Vec::new(),
        locks: (0..64)
            .map(|range| lock(range, 1, LockKind::Shared, LockState::Held))
            .collect(),
        in_doubt_markers: Vec::new(),
        revocation_requests: Vec::new(),
        restoring: None,
        control: ControlLine::default(),
        doubts: Vec::new(),
        uncertain: Vec::new(),
        restorations: Vec::new(),
    }
}
