//! The snapshot for operators.

use stitch_protocol::contender::Kind;
use stitch_protocol::restoration::RestorationLock;
use stitch_protocol::{in_doubt, revocation, snapshot};

use crate::support::{Namespace, RANGE, bits, exclusive, join, shared, soon};

#[tokio::test]
async fn a_full_snapshot_shows_holders_waiters_requests_and_the_restoration() {
    let namespace = Namespace::new().await;
    let (processor, restorator) = (namespace.session().await, namespace.session().await);
    let (one, other) = (join(&processor).await, join(&restorator).await);
    let mut restoring = RestorationLock::new(&restorator, "there", 7);
    soon(restoring.wait_granted(&restorator)).await.unwrap();
    let mut held = shared(&processor);
    soon(held.wait_granted(&processor)).await.unwrap();
    let marker = in_doubt::create(&processor, RANGE).await.unwrap();
    let mut wanted = exclusive(&restorator);
    wanted.enqueue(&restorator).await.unwrap();
    let request = revocation::ask(&restorator, &wanted).await.unwrap();

    let seen = snapshot::full(&processor, bits()).await.unwrap();
    assert_eq!(seen.members.alive().count(), 2);
    assert_eq!(seen.locks.len(), 1);
    assert_eq!(seen.locks[0].range, RANGE);
    let queue: Vec<_> = seen.locks[0]
        .entries
        .iter()
        .map(|entry| (&entry.member, entry.kind, entry.holds))
        .collect();
    let expected = [(&one, Kind::Shared, true), (&other, Kind::Exclusive, false)];
    assert_eq!(queue, expected);
    assert!(
        seen.locks[0]
            .entries
            .iter()
            .all(|entry| entry.since.is_some())
    );
    assert_eq!(seen.markers, [marker]);
    assert_eq!(seen.requests, [request]);
    assert_eq!(seen.restoring.unwrap().member, other);
    held.release(&processor).await.unwrap();
    wanted.release(&restorator).await.unwrap();
    restoring.release(&restorator).await.unwrap();
    namespace.remove().await;
}
