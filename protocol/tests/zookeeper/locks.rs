//! The lock queue of a range.

use futures_util::FutureExt;

use stitch_common::ports::{CreateMode, Session};
use stitch_protocol::contender::Kind;
use stitch_protocol::snapshot::{self, QueueEntry};
use stitch_protocol::{Error, revocation};

use crate::proxy::Proxy;
use crate::support::{
    Namespace, RANGE, SESSION, SHORT_SESSION, TestSession, bits, children, exclusive, range_nodes,
    server, shared, soon, until_children,
};

async fn queue(session: &TestSession) -> Vec<QueueEntry> {
    let mut queues = snapshot::locks(session, bits()).await.unwrap();
    queues.pop().map_or_else(Vec::new, |range| range.entries)
}

#[tokio::test]
async fn shared_locks_are_held_together_and_an_exclusive_one_waits_for_those_before_it() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let (c, d) = (namespace.session().await, namespace.session().await);
    let (mut first, mut second) = (shared(&a), shared(&b));
    let (mut alone, mut late) = (exclusive(&c), shared(&d));
    let entry = soon(first.wait_granted(&a)).await.unwrap();
    let next = soon(second.wait_granted(&b)).await.unwrap();
    assert!(entry.sequence.precedes(next.sequence));
    assert!(entry.czxid < next.czxid);
    alone.enqueue(&c).await.unwrap();
    late.enqueue(&d).await.unwrap();
    let seen: Vec<_> = queue(&a)
        .await
        .into_iter()
        .map(|entry| (entry.member, entry.kind, entry.holds))
        .collect();
    let expected = [
        (a.member(), Kind::Shared, true),
        (b.member(), Kind::Shared, true),
        (c.member(), Kind::Exclusive, false),
        (d.member(), Kind::Shared, false),
    ];
    assert_eq!(seen, expected);
    first.release(&a).await.unwrap();
    assert!(!queue(&a).await[1].holds);
    second.release(&b).await.unwrap();
    soon(alone.wait_granted(&c)).await.unwrap();
    assert!(!queue(&a).await[1].holds);
    alone.release(&c).await.unwrap();
    soon(late.wait_granted(&d)).await.unwrap();
    late.release(&d).await.unwrap();
    assert_eq!(range_nodes(&a).await, Vec::<String>::new());
    namespace.remove().await;
}

#[tokio::test]
async fn a_holder_sees_the_request_yields_and_queues_behind_the_exclusive_lock() {
    let namespace = Namespace::new().await;
    let (processor, restorator) = (namespace.session().await, namespace.session().await);
    let mut held = shared(&processor);
    let entry = soon(held.wait_granted(&processor)).await.unwrap();
    let (none, changed) = revocation::watch(&processor).await.unwrap();
    assert_eq!(none, []);

    let mut wanted = exclusive(&restorator);
    wanted.enqueue(&restorator).await.unwrap();
    let request = revocation::ask(&restorator, &wanted).await.unwrap();
    soon(changed).await;
    let (seen, withdrawn) = revocation::watch(&processor).await.unwrap();
    assert_eq!(seen, [request]);
    assert!(request.asks(RANGE, entry.sequence));
    held.release(&processor).await.unwrap();
    let mut again = shared(&processor);
    let entry = again.enqueue(&processor).await.unwrap();
    assert!(!request.asks(RANGE, entry.sequence), "asked once only");

    soon(wanted.wait_granted(&restorator)).await.unwrap();
    assert!(!queue(&processor).await[1].holds);
    revocation::withdraw(&restorator, request).await.unwrap();
    wanted.release(&restorator).await.unwrap();
    soon(withdrawn).await;
    soon(again.wait_granted(&processor)).await.unwrap();
    assert_eq!(revocation::list(&processor).await.unwrap(), []);
    again.release(&processor).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_wait_that_is_cancelled_can_go_on_and_giving_up_leaves_no_node() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let mut held = shared(&a);
    soon(held.wait_granted(&a)).await.unwrap();
    let mut waiting = exclusive(&b);
    let directory = a.paths().range(RANGE);
    tokio::select! {
        _ = waiting.wait_granted(&b) => panic!("the lock is held"),
        () = until_children(&a, &directory, 2) => {}
    }
    let entry = waiting.enqueue(&b).await.unwrap();
    tokio::select! {
        _ = waiting.wait_granted(&b) => panic!("the lock is held"),
        // Some round trips, so that the wait has come as far as its watch.
        () = async {
            for _ in 0..5 {
                a.zookeeper().sync(&directory).await.unwrap();
            }
        } => {}
    }
    assert_eq!(waiting.entry(), Some(&entry), "the entry is kept");
    waiting.release(&b).await.unwrap();
    assert_eq!(range_nodes(&a).await.len(), 1);
    held.release(&a).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn an_entry_whose_creation_was_dropped_is_found_again_or_deleted() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    for round in 0..20 {
        let mut lock = shared(&session);
        assert!(
            lock.enqueue(&session).now_or_never().is_none(),
            "it was sent"
        );
        if round % 2 == 0 {
            soon(lock.wait_granted(&session)).await.unwrap();
            assert_eq!(range_nodes(&session).await.len(), 1);
        }
        lock.release(&session).await.unwrap();
        assert_eq!(range_nodes(&session).await, Vec::<String>::new());
    }
    session.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn a_lock_whose_node_vanished_is_lost() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let (mut held, mut waiting) = (exclusive(&a), exclusive(&b));
    let entry = soon(held.wait_granted(&a)).await.unwrap();
    held.verify(&a).await.unwrap();
    let queued = waiting.enqueue(&b).await.unwrap();
    for path in [&queued.path, &entry.path] {
        a.zookeeper().delete(path, None).await.unwrap();
    }
    let lost = |path: &str| {
        Err(Error::Lost {
            path: path.to_owned(),
        })
    };
    assert_eq!(held.verify(&a).await, lost(&entry.path));
    assert!(!held.is_held());
    let waited = soon(waiting.wait_granted(&b)).await.map(|_| ());
    assert_eq!(waited, lost(&queued.path));
    namespace.remove().await;
}

#[tokio::test]
async fn a_node_of_the_same_name_that_another_session_made_does_not_verify() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let mut held = exclusive(&a);
    let entry = soon(held.wait_granted(&a)).await.unwrap();
    a.zookeeper().delete(&entry.path, None).await.unwrap();
    let foreign = b
        .zookeeper()
        .create(&entry.path, b"", CreateMode::Ephemeral);
    foreign.await.unwrap();
    let path = entry.path;
    assert_eq!(held.verify(&a).await, Err(Error::Lost { path }));
    namespace.remove().await;
}

#[tokio::test]
async fn a_wait_outlives_a_broken_connection() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let (a, b) = (
        namespace.session().await,
        namespace.session_by(&proxy, SESSION).await,
    );
    let (mut held, mut waiting) = (shared(&a), exclusive(&b));
    soon(held.wait_granted(&a)).await.unwrap();
    waiting.enqueue(&b).await.unwrap();
    let release = async {
        proxy.break_connections();
        held.release(&a).await.unwrap();
    };
    let (granted, ()) = soon(async { tokio::join!(waiting.wait_granted(&b), release) }).await;
    granted.unwrap();
    waiting.verify(&b).await.unwrap();
    waiting.release(&b).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn the_lock_of_a_session_that_ended_goes_to_the_next() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let a = namespace.session_by(&proxy, SHORT_SESSION).await;
    let b = namespace.session().await;
    let (mut held, mut waiting) = (shared(&a), exclusive(&b));
    soon(held.wait_granted(&a)).await.unwrap();
    proxy.fall_silent();
    soon(waiting.wait_granted(&b)).await.unwrap();
    assert_eq!(soon(held.release(&a)).await, Err(Error::SessionOver));
    held.abandon();
    waiting.release(&b).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn no_two_sessions_are_inside_an_exclusive_lock() {
    let namespace = Namespace::new().await;
    let inside = format!("{}/inside", namespace.paths().root());
    let contender = async || {
        let session = namespace.session().await;
        for _ in 0..8 {
            let mut lock = exclusive(&session);
            soon(lock.wait_granted(&session)).await.unwrap();
            let entered = session
                .zookeeper()
                .create(&inside, b"", CreateMode::Ephemeral)
                .await;
            entered.expect("no other session is inside");
            session.zookeeper().delete(&inside, None).await.unwrap();
            lock.release(&session).await.unwrap();
        }
        session.close().await;
    };
    tokio::join!(contender(), contender(), contender(), contender());
    let last = namespace.session().await;
    let requests = last.paths().revocations();
    assert_eq!(children(&last, &requests).await, Vec::<String>::new());
    assert_eq!(range_nodes(&last).await, Vec::<String>::new());
    namespace.remove().await;
}
