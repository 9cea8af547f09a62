//! The restoration lock and the records of restorations.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::member::MemberId;
use stitch_common::offset::Offsets;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_protocol::restoration::{
    self, LockHolder, RangeOutcome, RestorationId, RestorationLock, RestorationRecord,
    RestorationState,
};

use crate::support::{Namespace, soon};

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
        ranges: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_second_restoration_learns_the_holder_and_goes_on_when_that_one_ends() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let mut first = RestorationLock::new(&a, "first.example", 41);
    let mut second = RestorationLock::new(&b, "second.example", 42);
    assert_eq!(restoration::holder(&b).await.unwrap(), None);
    assert_eq!(first.try_granted(&a).await.unwrap(), None);
    let holder = second.try_granted(&b).await.unwrap().unwrap();
    assert_eq!(holder.member, a.member());
    assert_eq!(
        (holder.host.as_str(), holder.process_id),
        ("first.example", 41)
    );
    assert!(!second.is_held());
    // It dies: no release, and the lock goes with the session.
    first.abandon();
    a.close().await;
    soon(second.wait_granted(&b)).await.unwrap();
    let holder = restoration::holder(&b).await.unwrap().unwrap();
    assert_eq!(holder.host, "second.example");
    second.release(&b).await.unwrap();
    assert_eq!(restoration::holder(&b).await.unwrap(), None);
    namespace.remove().await;
}

#[tokio::test]
async fn records_are_overwritten_and_the_oldest_are_deleted() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let mut lock = RestorationLock::new(&session, "here", 1);
    soon(lock.wait_granted(&session)).await.unwrap();
    let start = SystemClock.wall();
    let superfluous = 3;
    let mut written = Vec::new();
    for minute in 0..RestorationRecord::KEPT + superfluous {
        let minutes = TimeDelta::minutes(i64::try_from(minute).unwrap());
        let mut record = record(&session.member(), start + minutes);
        restoration::write_record(&session, &record).await.unwrap();
        record.state = RestorationState::Verified;
        restoration::write_record(&session, &record).await.unwrap();
        written.push(record.id);
    }
    let kept = restoration::records(&session).await.unwrap();
    assert!(kept.iter().all(|r| r.state == RestorationState::Verified));
    let kept: Vec<_> = kept.into_iter().map(|record| record.id).collect();
    assert_eq!(kept, written[superfluous..]);
    assert!(lock.is_held());
    lock.verify(&session).await.unwrap();
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn the_largest_record_fits_into_a_node() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let mut record = record(&session.member(), SystemClock.wall());
    let outcome = RangeOutcome::Unverified {
        why: "\u{1F9F5}".repeat(1000),
    };
    record.ranges = (0..4096)
        .map(|range| (RangeId(range), outcome.clone()))
        .collect();
    restoration::write_record(&session, &record).await.unwrap();
    let read = restoration::records(&session).await.unwrap().remove(0);
    assert_eq!(read.ranges.len(), 4096);
    assert_eq!(read.id, record.id);
    namespace.remove().await;
}
