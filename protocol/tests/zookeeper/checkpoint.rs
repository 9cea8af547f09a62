//! Checkpoint, fenced by the partition's lock.

use futures_util::FutureExt;

use stitch_common::checkpoint::{Checkpoint, StoredCheckpoint, Writer};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Session;
use stitch_common::range::RangeId;
use stitch_protocol::Error;
use stitch_protocol::checkpoint_node::{self, KnownCheckpoint, WriteOutcome};
use stitch_protocol::partition_lock::PartitionLock;

use crate::proxy::{Fault, Proxy, RevocationRequest};
use crate::support::{Here, Namespace, SESSION, SHORT_SESSION, bits, server, soon};

const PARTITION: Partition = Partition(3);

fn at(offset: i64) -> Checkpoint {
    let ahead = |range: RangeId| Offset(if range.0 == 2 { offset + 7 } else { offset });
    Checkpoint::from_ranges(bits(), ahead)
}

async fn locked(here: &Here) -> PartitionLock {
    let mut lock = PartitionLock::new(here, PARTITION);
    soon(lock.wait_granted(here)).await.unwrap();
    lock
}

async fn opened(here: &Here) -> (PartitionLock, KnownCheckpoint) {
    let lock = locked(here).await;
    let known = checkpoint_node::open(here, &lock).await.unwrap();
    (lock, known)
}

async fn stored(here: &Here) -> StoredCheckpoint {
    checkpoint_node::read(here, PARTITION)
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn progress_begins_at_0_and_is_read_as_it_was_written() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    assert_eq!(checkpoint_node::read(&here, PARTITION).await.unwrap(), None);
    let (mut lock, mut known) = opened(&here).await;
    assert_eq!(known.progress(), &Checkpoint::default());
    for (version, offset) in [(1, 10), (2, 20)] {
        let outcome = checkpoint_node::write(&here, &lock, &mut known, at(offset)).await;
        assert_eq!(outcome, Ok(WriteOutcome::Written { version }));
        let stored = stored(&here).await;
        assert_eq!(stored.progress, at(offset));
        assert_eq!(stored.writer.unwrap().member, here.member());
    }
    lock.release(&here).await.unwrap();
    let (mut lock, known) = opened(&here).await;
    assert_eq!(known.progress(), &at(20));
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn nothing_is_written_once_the_lock_is_gone() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let (mut lock, mut known) = opened(&here).await;
    let path = lock.ticket().unwrap().path.clone();
    here.zookeeper().delete(&path, None).await.unwrap();
    let outcome = checkpoint_node::write(&here, &lock, &mut known, at(10)).await;
    assert_eq!(outcome, Ok(WriteOutcome::LockLost));
    assert_eq!(stored(&here).await.progress, Checkpoint::default());
    lock.release(&here).await.unwrap();
    let given_back = checkpoint_node::write(&here, &lock, &mut known, at(10)).await;
    assert!(matches!(given_back, Err(Error::Lost { .. })));
    namespace.remove().await;
}

#[tokio::test]
async fn progress_is_made_only_under_a_lock_that_stands() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let mut waiting = PartitionLock::new(&here, PARTITION);
    let unlocked = checkpoint_node::open(&here, &waiting).await;
    assert!(matches!(unlocked, Err(Error::Lost { .. })));
    let path = soon(waiting.wait_granted(&here)).await.unwrap().path;
    here.zookeeper().delete(&path, None).await.unwrap();
    let vanished = checkpoint_node::open(&here, &waiting).await;
    assert!(matches!(vanished, Err(Error::Lost { .. })));
    assert_eq!(checkpoint_node::read(&here, PARTITION).await.unwrap(), None);
    waiting.release(&here).await.unwrap();
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
    let (mut lock, mut known) = opened(&a).await;
    let written = checkpoint_node::write(&a, &lock, &mut known, at(10)).await;
    assert_eq!(written, Ok(WriteOutcome::Written { version: 1 }));
    proxy.fall_silent();
    let (mut next, mut next_known) = opened(&b).await;
    assert_eq!(
        next_known.progress(),
        &at(10),
        "it goes on where the other stopped"
    );
    let written = checkpoint_node::write(&b, &next, &mut next_known, at(30)).await;
    assert_eq!(written, Ok(WriteOutcome::Written { version: 2 }));
    let late = soon(checkpoint_node::write(&a, &lock, &mut known, at(20))).await;
    assert_eq!(late, Err(Error::SessionOver));
    assert_eq!(stored(&b).await.progress, at(30));
    let _over = lock.release(&a).await;
    lock.abandon();
    next.release(&b).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_second_writer_under_one_lock_is_told_as_foreign() {
    let namespace = Namespace::new().await;
    let (here, other) = (namespace.session().await, namespace.session().await);
    let (mut lock, mut known) = opened(&here).await;
    let foreign = StoredCheckpoint {
        progress: at(99),
        writer: Some(Writer {
            member: other.member(),
            sequence: 1,
        }),
    };
    let path = here.paths().checkpoint(PARTITION);
    let data = foreign.encode();
    other.zookeeper().set(&path, &data, None).await.unwrap();
    let outcome = checkpoint_node::write(&here, &lock, &mut known, at(10)).await;
    let writer = foreign.writer.clone();
    assert_eq!(outcome, Ok(WriteOutcome::Foreign { writer }));
    assert_eq!(stored(&here).await, foreign);
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_write_happens_once_whichever_way_it_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let (mut lock, mut known) = opened(&here).await;
    for (version, lose) in [
        (1, Fault::Answer as fn(RevocationRequest) -> Fault),
        (2, Fault::RevocationRequest),
    ] {
        proxy.lose(lose(RevocationRequest::Multi));
        let write = checkpoint_node::write(&here, &lock, &mut known, at(i64::from(version)));
        assert_eq!(soon(write).await, Ok(WriteOutcome::Written { version }));
        assert!(proxy.has_lost_it());
        assert_eq!(stored(&here).await.progress, at(i64::from(version)));
    }
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn making_progress_happens_once_whichever_way_it_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let mut lock = locked(&here).await;
    for lose in [Fault::Answer, Fault::RevocationRequest] {
        proxy.lose(lose(RevocationRequest::Multi));
        let known = soon(checkpoint_node::open(&here, &lock)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(known.progress(), &Checkpoint::default());
        let path = here.paths().checkpoint(PARTITION);
        here.zookeeper().delete(&path, None).await.unwrap();
    }
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_write_whose_future_was_dropped_does_not_stop_the_next() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let (mut lock, mut known) = opened(&here).await;
    let dropped = checkpoint_node::write(&here, &lock, &mut known, at(10)).now_or_never();
    assert_eq!(dropped, None, "it was sent");
    let outcome = checkpoint_node::write(&here, &lock, &mut known, at(20)).await;
    assert_eq!(outcome, Ok(WriteOutcome::Written { version: 2 }));
    assert_eq!(stored(&here).await.progress, at(20));
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn damaged_or_deleted_progress_is_named_and_nothing_is_counted_on_it() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let (mut lock, mut known) = opened(&here).await;
    let path = here.paths().checkpoint(PARTITION);
    here.zookeeper()
        .set(&path, b"{\"format\":1}", None)
        .await
        .unwrap();
    let write = checkpoint_node::write(&here, &lock, &mut known, at(1)).await;
    let open = checkpoint_node::open(&here, &lock).await;
    let read = checkpoint_node::read(&here, PARTITION).await;
    let all = checkpoint_node::read_all(&here).await;
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
    let untouched = here.zookeeper().get(&path).await.unwrap().unwrap();
    assert_eq!(untouched.data, b"{\"format\":1}");
    here.zookeeper().delete(&path, None).await.unwrap();
    let deleted = checkpoint_node::write(&here, &lock, &mut known, at(1)).await;
    assert!(matches!(deleted, Err(Error::Missing { .. })));
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn every_partition_is_listed_with_its_progress_and_holder() {
    let namespace = Namespace::new().await;
    let (here, other) = (namespace.session().await, namespace.session().await);
    let (mut lock, mut known) = opened(&here).await;
    let outcome = checkpoint_node::write(&here, &lock, &mut known, at(4)).await;
    assert_eq!(outcome, Ok(WriteOutcome::Written { version: 1 }));
    let mut twelfth = PartitionLock::new(&other, Partition(12));
    soon(twelfth.wait_granted(&other)).await.unwrap();
    let seen: Vec<_> = checkpoint_node::read_all(&other)
        .await
        .unwrap()
        .into_iter()
        .map(|state| {
            let offset = state
                .progress
                .map(|written| written.progress.lowest(bits()));
            (state.partition, offset, state.holder)
        })
        .collect();
    let expected = [
        (PARTITION, Some(Offset(4)), Some(here.member())),
        (Partition(12), None, Some(other.member())),
    ];
    assert_eq!(seen, expected);
    lock.release(&here).await.unwrap();
    twelfth.release(&other).await.unwrap();
    namespace.remove().await;
}
