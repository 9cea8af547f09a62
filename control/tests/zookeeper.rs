//! Records and control of restorations on a real ZooKeeper.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::member::MemberId;
use stitch_common::offset::Offsets;
use stitch_common::ports::ZooKeeper;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_control::control_node::{self, ControlError};
use stitch_control::control_record::{
    ControlCommand, ControlRefusal, ControlRequest, CorrectionRate,
};
use stitch_control::record_folder::KEPT;
use stitch_control::restoration_id::RestorationId;
use stitch_control::restoration_record::{self, RangeOutcome, RestorationRecord, RestorationState};
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::{LockHolder, RestorationLock};
use stitch_zookeeper::{ZooKeeperClient, ZooKeeperSession};

type TestSession = NamespaceSession<ZooKeeperSession, SystemClock>;

/// The paths of a namespace that no other test uses.
fn paths() -> Paths {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let started = Utc::now().timestamp_micros();
    Paths::new(&format!(
        "control-{}-{started}-{number}",
        std::process::id()
    ))
}

async fn session(paths: &Paths) -> TestSession {
    let server = std::env::var("STITCH_TEST_ZOOKEEPER");
    let server = server.unwrap_or_else(|_| "127.0.0.1:2181".to_owned());
    let client = ZooKeeperClient::new(&server.parse().expect("addresses"), Duration::from_secs(4));
    let session = client.connect().await.unwrap_or_else(|error| {
        panic!("{error}: these tests need a ZooKeeper (deploy/local up, STITCH_TEST_ZOOKEEPER)")
    });
    let session = NamespaceSession::new(session, SystemClock, paths.clone());
    session.make_directories().await.expect("directories");
    session
}

async fn held_lock(session: &TestSession) -> RestorationLock {
    let mut lock = RestorationLock::new(session, "here", 1);
    assert_eq!(lock.try_granted(session).await, Ok(None));
    lock
}

fn request(reason: &str) -> ControlRequest {
    ControlRequest {
        by: "ann@here".to_owned(),
        at: SystemClock.wall(),
        reason: reason.to_owned(),
    }
}

fn record(member: &MemberId, started: DateTime<Utc>) -> RestorationRecord {
    RestorationRecord {
        id: RestorationId::new(started, member),
        holder: LockHolder {
            member: member.clone(),
            host: "here".to_owned(),
            process_id: 1,
            started,
        },
        scope: Scope::of_ranges((0..16).map(RangeId).collect()),
        exceptions: Vec::new(),
        state: RestorationState::Running,
        ended: None,
        cuts: Offsets::default(),
        generation: 0,
        identity: 0,
        found: None,
        control: Vec::new(),
        ranges: BTreeMap::new(),
    }
}

#[tokio::test]
async fn records_are_overwritten_and_the_oldest_are_deleted() {
    let session = session(&paths()).await;
    let mut lock = held_lock(&session).await;
    let start = SystemClock.wall();
    let superfluous = 3;
    let mut written = Vec::new();
    for minute in 0..KEPT + superfluous {
        let minutes = TimeDelta::minutes(i64::try_from(minute).unwrap());
        let mut record = record(&session.member(), start + minutes);
        restoration_record::write_record(&session, &record)
            .await
            .unwrap();
        record.state = RestorationState::Verified;
        restoration_record::write_record(&session, &record)
            .await
            .unwrap();
        written.push(record.id);
    }
    let kept = restoration_record::records(&session).await.unwrap();
    assert!(kept.iter().all(|r| r.state == RestorationState::Verified));
    let kept: Vec<_> = kept.into_iter().map(|record| record.id).collect();
    assert_eq!(kept, written[superfluous..]);
    assert!(lock.is_held());
    lock.verify(&session).await.unwrap();
    lock.release(&session).await.unwrap();
    session.close().await;
}

#[tokio::test]
async fn the_largest_record_fits_into_a_node() {
    let session = session(&paths()).await;
    let mut record = record(&session.member(), SystemClock.wall());
    let outcome = RangeOutcome::Unverified {
        why: "\u{1F9F5}".repeat(1000),
    };
    record.ranges = (0..4096)
        .map(|range| (RangeId(range), outcome.clone()))
        .collect();
    restoration_record::write_record(&session, &record)
        .await
        .unwrap();
    let read = restoration_record::records(&session)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(read.ranges.len(), 4096);
    assert_eq!(read.id, record.id);
    session.close().await;
}

#[tokio::test]
async fn a_command_needs_a_restoration_that_runs() {
    let paths = paths();
    let operator = session(&paths).await;
    let pause = control_node::issue(&operator, ControlCommand::Pause, request("load"), None);
    let refused = pause.await.unwrap_err();
    assert!(matches!(
        refused,
        ControlError::Refused(ControlRefusal::NothingRuns)
    ));
    operator.close().await;
}

/// Whether the later one reads before the earlier one has written is a matter of luck: either is refused then, or both are
/// in force.
#[tokio::test]
async fn of_two_commands_at_once_none_is_lost_and_said_to_be_in_force() {
    let (mut rounds, mut refused) = (0, 0);
    while rounds < 10 || refused == 0 {
        rounds += 1;
        assert!(rounds < 300, "no two of them ever meet");
        let paths = paths();
        let (runner, operator) = (session(&paths).await, session(&paths).await);
        let mut lock = held_lock(&runner).await;
        let record = record(&runner.member(), SystemClock.wall());
        restoration_record::write_record(&runner, &record)
            .await
            .unwrap();
        let issue = |command| control_node::issue(&operator, command, request("load"), None);
        // From now on there is a record.
        issue(ControlCommand::Throttle(Some(CorrectionRate(10))))
            .await
            .unwrap();
        let (pause, abort) =
            tokio::join!(issue(ControlCommand::Pause), issue(ControlCommand::Abort));
        for result in [&pause, &abort] {
            let is_expected = matches!(result, Ok(_) | Err(ControlError::Overtaken));
            assert!(is_expected, "{result:?}");
        }
        let now = control_node::read(&runner).await.unwrap();
        assert_eq!(now.restoration, Some(record.id));
        let in_force = (now.pause.is_some(), now.abort.is_some());
        assert_eq!(in_force, (pause.is_ok(), abort.is_ok()));
        refused += u32::from(pause.is_err()) + u32::from(abort.is_err());
        lock.release(&runner).await.unwrap();
        runner.close().await;
        operator.close().await;
    }
}
