//! Living and dead members.

use stitch_common::ports::Session;
use stitch_protocol::membership::{self, Epoch, JoinOutcome, RemoveOutcome};
use stitch_protocol::{Error, definition_node};

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{
    Namespace, SESSION, SHORT_SESSION, TestSession, children, info, join, record, server, soon,
    until_gone,
};

async fn members(session: &TestSession) -> Vec<(String, bool)> {
    let listed = membership::list(session).await.unwrap().members;
    listed
        .into_iter()
        .map(|member| (member.id.to_string(), member.alive))
        .collect()
}

#[tokio::test]
async fn a_member_is_listed_with_its_record_and_leaves_nothing_when_it_leaves() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let before = membership::list(&session).await.unwrap();
    let member = join(&session).await;
    let now = membership::list(&session).await.unwrap();
    assert_eq!(now.version, before.version + 1, "joining raises it");
    assert_eq!(now.alive().count(), 1);
    assert_eq!(now.members[0].id, member);
    let record = &now.members[0].record;
    assert_eq!((record.role, &record.host), (info().role, &info().host));
    assert_eq!(u128::from(record.session_timeout_ms), SESSION.as_millis());
    membership::leave(&session).await.unwrap();
    membership::leave(&session).await.unwrap();
    assert_eq!(members(&session).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn joining_fails_for_a_changed_definition_and_without_a_namespace() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let missing = membership::join(&session, 0, &info()).await;
    assert!(matches!(missing, Err(Error::NotInitialised { .. })));
    let defined = definition_node::create(&session, &record()).await.unwrap();
    let path = session.paths().definition();
    session
        .zookeeper()
        .set(&path, b"other", None)
        .await
        .unwrap();
    let joined = membership::join(&session, defined.version, &info()).await;
    assert_eq!(joined, Ok(JoinOutcome::DefinitionChanged));
    assert_eq!(members(&session).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn a_member_whose_session_expired_is_a_dead_member_until_it_is_removed() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let other = namespace.session().await;
    let session = namespace.session_by(&proxy, SHORT_SESSION).await;
    let member = join(&session).await;
    let alive = membership::remove(&other, &member).await;
    assert_eq!(
        alive,
        Ok(RemoveOutcome::Alive),
        "a living member is not removed"
    );
    assert_eq!(members(&other).await, [(member.to_string(), true)]);

    proxy.fall_silent();
    until_gone(&other, &other.paths().alive(&member)).await;
    assert_eq!(members(&other).await, [(member.to_string(), false)]);
    let beat = soon(membership::heartbeat(&session)).await;
    assert!(beat.is_err(), "{beat:?}");

    for _ in 0..2 {
        let gone = membership::remove(&other, &member).await;
        assert_eq!(gone, Ok(RemoveOutcome::Gone));
    }
    assert_eq!(members(&other).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn a_session_that_is_closed_without_leaving_leaves_a_dead_member() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let member = join(&session).await;
    session.close().await;
    until_gone(&other, &other.paths().alive(&member)).await;
    assert_eq!(members(&other).await, [(member.to_string(), false)]);
    namespace.remove().await;
}

#[tokio::test]
async fn a_heartbeat_is_a_write_and_carries_the_epoch() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let lost = membership::heartbeat(&session).await;
    assert!(matches!(lost, Err(Error::Lost { .. })), "no member yet");
    let member = join(&session).await;
    let first = membership::heartbeat(&session).await.unwrap();
    let second = membership::heartbeat(&session).await.unwrap();
    assert!(second.mzxid > first.mzxid);
    assert_eq!(Epoch::of_last_write(&first), Epoch::of_last_write(&second));
    let alive = session.paths().alive(&member);
    session.zookeeper().delete(&alive, None).await.unwrap();
    let lost = membership::heartbeat(&session).await;
    assert_eq!(lost, Err(Error::Lost { path: alive }));
    namespace.remove().await;
}

#[tokio::test]
async fn joining_and_leaving_happen_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    let defined = definition_node::create(&session, &record()).await.unwrap();
    for lose in [Fault::Answer, Fault::Request] {
        let before = membership::list(&session).await.unwrap().version;
        proxy.lose(lose(RequestKind::Multi));
        let joined = soon(membership::join(&session, defined.version, &info())).await;
        assert_eq!(joined, Ok(JoinOutcome::Member(session.member())));
        assert!(proxy.has_lost_it());
        let after = membership::list(&session).await.unwrap();
        assert_eq!(after.version, before + 1);
        assert_eq!(after.alive().count(), 1);
        proxy.lose(lose(RequestKind::Multi));
        soon(membership::leave(&session)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(members(&session).await, []);
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_heartbeat_whose_answer_is_lost_is_no_heartbeat() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    join(&session).await;
    proxy.lose(Fault::Answer(RequestKind::SetData));
    let lost = soon(membership::heartbeat(&session)).await;
    assert!(matches!(lost, Err(Error::Unanswered { .. })), "{lost:?}");
    soon(membership::heartbeat(&session)).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_member_that_cannot_be_read_is_named_with_help() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let member = join(&session).await;
    let path = session.paths().member(&member);
    session.zookeeper().set(&path, b"{}", None).await.unwrap();
    let error = membership::list(&other).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }));
    assert!(error.to_string().starts_with(&path), "{error}");
    assert_eq!(children(&other, &other.paths().members()).await.len(), 1);
    namespace.remove().await;
}
