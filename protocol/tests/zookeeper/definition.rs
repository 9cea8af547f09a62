//! `/definition`: created once, changed only under the restoration lock.

use stitch_common::clock::SystemClock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Fingerprint, Session, ZooKeeper};
use stitch_protocol::definition_node::{self, NamespaceRecord, UpdateOutcome};
use stitch_protocol::membership::JoinOutcome;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::RestorationLock;
use stitch_protocol::{Error, NamespaceSession, in_doubt, log_node, membership, revocation};
use stitch_zookeeper::ZooKeeperClient;

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{
    Namespace, RANGE, SESSION, TestSession, info, join, record, server, shared, soon,
};

fn next(record: &NamespaceRecord) -> NamespaceRecord {
    NamespaceRecord {
        generation: record.generation + 1,
        ..record.clone()
    }
}

async fn locked(session: &TestSession) -> RestorationLock {
    let mut lock = RestorationLock::new(session, "here", 1);
    soon(lock.wait_granted(session)).await.unwrap();
    lock
}

#[tokio::test]
async fn the_first_definition_is_kept_when_another_is_created() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    assert_eq!(definition_node::read(&session).await.unwrap(), None);
    let made = definition_node::create(&session, &record()).await.unwrap();
    assert_eq!(made.record, record());
    let again = definition_node::create(&session, &next(&record())).await;
    assert_eq!(again.unwrap(), made);
    session.make_directories().await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn without_a_namespace_errors_point_to_init() {
    let session = ZooKeeperClient::new(&server().parse().unwrap(), SESSION)
        .connect()
        .await
        .unwrap();
    let nowhere = NamespaceSession::new(session, SystemClock, Paths::new("never-initialised"));
    assert_eq!(definition_node::read(&nowhere).await.unwrap(), None);
    let errors = [
        definition_node::create(&nowhere, &record()).await.err(),
        membership::list(&nowhere).await.err(),
        revocation::watch(&nowhere).await.err(),
        RestorationLock::new(&nowhere, "here", 1)
            .wait_granted(&nowhere)
            .await
            .err(),
        shared(&nowhere).wait_granted(&nowhere).await.err(),
        in_doubt::create(&nowhere, RANGE).await.err(),
    ];
    for error in errors {
        let text = error.unwrap().to_string();
        assert!(text.contains("stitch-processor init"), "{text}");
    }
    nowhere.close().await;
}

#[tokio::test]
async fn a_definition_changes_under_the_lock_and_members_record_which_one_they_count_by() {
    let namespace = Namespace::new().await;
    let (session, former, latter) = (
        namespace.session().await,
        namespace.session().await,
        namespace.session().await,
    );
    let known = definition_node::create(&session, &record()).await.unwrap();
    let new = next(&record());
    let mut lock = locked(&session).await;
    let member = join(&former).await;

    let update = definition_node::update(&session, &lock, &known, &new).await;
    assert_eq!(update, Ok(UpdateOutcome::Written));
    let update = definition_node::update(&session, &lock, &known, &next(&new)).await;
    assert_eq!(
        update,
        Ok(UpdateOutcome::DefinitionChanged),
        "it was read before the change"
    );
    let late = membership::join(&latter, known.version, &info()).await;
    assert_eq!(
        late,
        Ok(JoinOutcome::DefinitionChanged),
        "the former cannot be joined"
    );
    join(&latter).await;
    let known = definition_node::read(&session).await.unwrap().unwrap();
    assert_eq!(known.record, new);
    let members = membership::list(&session).await.unwrap();
    let others = members.alive_by_other_definitions(known.version);
    assert_eq!(others.map(|one| &one.id).collect::<Vec<_>>(), [&member]);

    lock.release(&session).await.unwrap();
    let update = definition_node::update(&session, &lock, &known, &new).await;
    assert!(
        matches!(update, Err(Error::Lost { .. })),
        "no lock, no change"
    );
    namespace.remove().await;
}

#[tokio::test]
async fn a_definition_does_not_change_once_the_lock_is_gone() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let known = definition_node::create(&session, &record()).await.unwrap();
    let mut lock = locked(&session).await;
    let directory = session.paths().restorations();
    for name in crate::support::children(&session, &directory).await {
        let path = format!("{directory}/{name}");
        session.zookeeper().delete(&path, None).await.unwrap();
    }
    let new = next(&record());
    let update = definition_node::update(&session, &lock, &known, &new).await;
    assert_eq!(update, Ok(UpdateOutcome::LockLost));
    assert_eq!(definition_node::read(&session).await.unwrap(), Some(known));
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_change_happens_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    let mut known = definition_node::create(&session, &record()).await.unwrap();
    let mut lock = locked(&session).await;
    for lose in [Fault::Answer, Fault::Request] {
        let new = next(&known.record);
        proxy.lose(lose(RequestKind::Multi));
        let update = definition_node::update(&session, &lock, &known, &new);
        assert_eq!(soon(update).await, Ok(UpdateOutcome::Written));
        assert!(proxy.has_lost_it());
        let now = definition_node::read(&session).await.unwrap().unwrap();
        assert_eq!((&now.record, now.version), (&new, known.version + 1));
        known = now;
    }
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_damaged_definition_is_named() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    definition_node::create(&session, &record()).await.unwrap();
    let path = session.paths().definition();
    session.zookeeper().set(&path, b"", None).await.unwrap();
    let error = definition_node::read(&session).await.unwrap_err();
    assert!(error.to_string().starts_with(&path), "{error}");
    namespace.remove().await;
}

#[tokio::test]
async fn the_first_record_of_a_partition_is_kept_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    assert!(log_node::read_all(&session).await.unwrap().is_empty());
    let record = |checksum| Fingerprint {
        offset: Offset(0),
        timestamp_ms: None,
        checksum,
    };
    let first = Fault::Answer as fn(RequestKind) -> Fault;
    for (partition, lose) in [(0, first), (1, Fault::Request)] {
        proxy.lose(lose(RequestKind::Create));
        let (partition, one, other) = (Partition(partition), record(1), record(2));
        let kept = soon(log_node::keep(&session, partition, &one)).await;
        kept.unwrap();
        assert!(proxy.has_lost_it());
        log_node::keep(&session, partition, &other).await.unwrap();
    }
    let kept = log_node::read_all(&session).await.unwrap();
    let expected = [(Partition(0), record(1)), (Partition(1), record(1))];
    assert_eq!(kept, expected.into_iter().collect());
    namespace.remove().await;
}
