//! Checkpoints, fenced by their partition's lock.

use futures_util::FutureExt;

use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint, Writer};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_protocol::Error;
use stitch_protocol::checkpoint_node::{self, OwnedCheckpoint, WriteOutcome};
use stitch_protocol::partition_lock::PartitionLock;

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{Namespace, SESSION, SHORT_SESSION, TestSession, bits, server, soon};

const PARTITION: Partition = Partition(3);
/// Above every checkpoint of these tests.
const AT: Ceiling = Ceiling::At(Offset(1000));

fn at(offset: i64) -> Checkpoint {
    let ahead = |range: RangeId| Offset(if range.0 == 2 { offset + 7 } else { offset });
    Checkpoint::from_ranges(bits(), ahead)
}

async fn locked(session: &TestSession) -> PartitionLock {
    let mut lock = PartitionLock::new(session, PARTITION);
    soon(lock.wait_granted(session)).await.unwrap();
    lock
}

async fn opened(session: &TestSession) -> (PartitionLock, OwnedCheckpoint) {
    let lock = locked(session).await;
    let owned = checkpoint_node::open(session, &lock, Offset(0))
        .await
        .unwrap();
    (lock, owned)
}

async fn stored(session: &TestSession) -> StoredCheckpoint {
    checkpoint_node::read(session, PARTITION)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_checkpoint_begins_at_0_and_is_read_as_it_was_written() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    assert_eq!(
        checkpoint_node::read(&session, PARTITION).await.unwrap(),
        None
    );
    let (mut lock, mut owned) = opened(&session).await;
    assert_eq!(owned.checkpoint(), &Checkpoint::default());
    assert_eq!(owned.found_ceiling(), Ceiling::AtCheckpoint);
    for (version, offset) in [(1, 10), (2, 20)] {
        let outcome = checkpoint_node::write(&session, &lock, &mut owned, at(offset), AT).await;
        assert_eq!(outcome, Ok(WriteOutcome::Written { version }));
        let stored = stored(&session).await;
        assert_eq!((stored.progress, stored.ceiling), (at(offset), AT));
        assert_eq!(stored.writer.unwrap().member, session.member());
    }
    lock.release(&session).await.unwrap();
    let (mut lock, owned) = opened(&session).await;
    assert_eq!((owned.checkpoint(), owned.found_ceiling()), (&at(20), AT));
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn no_checkpoint_is_written_once_the_lock_is_gone() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let (mut lock, mut owned) = opened(&session).await;
    let path = lock.entry().unwrap().path.clone();
    session.zookeeper().delete(&path, None).await.unwrap();
    let outcome = checkpoint_node::write(&session, &lock, &mut owned, at(10), AT).await;
    assert_eq!(outcome, Ok(WriteOutcome::LockLost));
    assert_eq!(stored(&session).await.progress, Checkpoint::default());
    lock.release(&session).await.unwrap();
    let given_back = checkpoint_node::write(&session, &lock, &mut owned, at(10), AT).await;
    assert!(matches!(given_back, Err(Error::Lost { .. })));
    namespace.remove().await;
}

#[tokio::test]
async fn a_checkpoint_is_created_only_under_a_held_lock() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let mut waiting = PartitionLock::new(&session, PARTITION);
    let unlocked = checkpoint_node::open(&session, &waiting, Offset(0)).await;
    assert!(matches!(unlocked, Err(Error::Lost { .. })));
    let path = soon(waiting.wait_granted(&session)).await.unwrap().path;
    session.zookeeper().delete(&path, None).await.unwrap();
    let vanished = checkpoint_node::open(&session, &waiting, Offset(0)).await;
    assert!(matches!(vanished, Err(Error::Lost { .. })));
    assert_eq!(
        checkpoint_node::read(&session, PARTITION).await.unwrap(),
        None
    );
    waiting.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_former_owner_writes_nothing_over_its_successor() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let (a, b) = (
        namespace.session_by(&proxy, SHORT_SESSION).await,
        namespace.session().await,
    );
    let (mut lock, mut owned) = opened(&a).await;
    let written = checkpoint_node::write(&a, &lock, &mut owned, at(10), AT).await;
    assert_eq!(written, Ok(WriteOutcome::Written { version: 1 }));
    proxy.fall_silent();
    let (mut next, mut next_owned) = opened(&b).await;
    assert_eq!(
        next_owned.checkpoint(),
        &at(10),
        "it goes on where the other stopped"
    );
    let written = checkpoint_node::write(&b, &next, &mut next_owned, at(30), AT).await;
    assert_eq!(written, Ok(WriteOutcome::Written { version: 2 }));
    let late = soon(checkpoint_node::write(&a, &lock, &mut owned, at(20), AT)).await;
    assert_eq!(late, Err(Error::SessionOver));
    assert_eq!(stored(&b).await.progress, at(30));
    let _over = lock.release(&a).await;
    lock.abandon();
    next.release(&b).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_second_writer_under_one_lock_is_reported_as_foreign() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let (mut lock, mut owned) = opened(&session).await;
    let foreign = StoredCheckpoint {
        progress: at(99),
        ceiling: AT,
        inherited: Ceiling::AtCheckpoint,
        writer: Some(Writer {
            member: other.member(),
            sequence: 1,
        }),
    };
    let path = session.paths().checkpoint(PARTITION);
    let data = foreign.encode();
    other.zookeeper().set(&path, &data, None).await.unwrap();
    let outcome = checkpoint_node::write(&session, &lock, &mut owned, at(10), AT).await;
    let writer = foreign.writer.clone();
    assert_eq!(outcome, Ok(WriteOutcome::Foreign { writer }));
    assert_eq!(stored(&session).await, foreign);
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_write_happens_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    let (mut lock, mut owned) = opened(&session).await;
    for (version, lose) in [
        (1, Fault::Answer as fn(RequestKind) -> Fault),
        (2, Fault::Request),
    ] {
        proxy.lose(lose(RequestKind::Multi));
        let write = checkpoint_node::write(&session, &lock, &mut owned, at(i64::from(version)), AT);
        assert_eq!(soon(write).await, Ok(WriteOutcome::Written { version }));
        assert!(proxy.has_lost_it());
        assert_eq!(stored(&session).await.progress, at(i64::from(version)));
    }
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_checkpoint_is_created_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    let mut lock = locked(&session).await;
    for lose in [Fault::Answer, Fault::Request] {
        proxy.lose(lose(RequestKind::Multi));
        let owned = soon(checkpoint_node::open(&session, &lock, Offset(0)))
            .await
            .unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(owned.checkpoint(), &Checkpoint::default());
        let path = session.paths().checkpoint(PARTITION);
        session.zookeeper().delete(&path, None).await.unwrap();
    }
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_write_whose_future_was_dropped_does_not_stop_the_next() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let (mut lock, mut owned) = opened(&session).await;
    let dropped = checkpoint_node::write(&session, &lock, &mut owned, at(10), AT).now_or_never();
    assert_eq!(dropped, None, "it was sent");
    let outcome = checkpoint_node::write(&session, &lock, &mut owned, at(20), AT).await;
    assert_eq!(outcome, Ok(WriteOutcome::Written { version: 2 }));
    assert_eq!(stored(&session).await.progress, at(20));
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_damaged_or_deleted_checkpoint_is_named_and_left_as_it_is() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let (mut lock, mut owned) = opened(&session).await;
    let path = session.paths().checkpoint(PARTITION);
    session
        .zookeeper()
        .set(&path, b"{\"format\":1}", None)
        .await
        .unwrap();
    let write = checkpoint_node::write(&session, &lock, &mut owned, at(1), AT).await;
    let open = checkpoint_node::open(&session, &lock, Offset(0)).await;
    let read = checkpoint_node::read(&session, PARTITION).await;
    let all = checkpoint_node::read_all(&session).await;
    let errors = [
        write.unwrap_err(),
        open.unwrap_err(),
        read.unwrap_err(),
        all.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&path), "{error}");
    }
    let untouched = session.zookeeper().get(&path).await.unwrap().unwrap();
    assert_eq!(untouched.data, b"{\"format\":1}");
    session.zookeeper().delete(&path, None).await.unwrap();
    let deleted = checkpoint_node::write(&session, &lock, &mut owned, at(1), AT).await;
    assert!(matches!(deleted, Err(Error::Missing { .. })));
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn every_partition_is_listed_with_its_checkpoint_and_holder() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let (mut lock, mut owned) = opened(&session).await;
    let outcome = checkpoint_node::write(&session, &lock, &mut owned, at(4), AT).await;
    assert_eq!(outcome, Ok(WriteOutcome::Written { version: 1 }));
    let mut twelfth = PartitionLock::new(&other, Partition(12));
    soon(twelfth.wait_granted(&other)).await.unwrap();
    let seen: Vec<_> = checkpoint_node::read_all(&other)
        .await
        .unwrap()
        .into_iter()
        .map(|snapshot| {
            let offset = snapshot
                .checkpoint
                .map(|stored| stored.progress.lowest(bits()));
            (snapshot.partition, offset, snapshot.holder)
        })
        .collect();
    let expected = [
        (PARTITION, Some(Offset(4)), Some(session.member())),
        (Partition(12), None, Some(other.member())),
    ];
    assert_eq!(seen, expected);
    lock.release(&session).await.unwrap();
    twelfth.release(&other).await.unwrap();
    namespace.remove().await;
}
