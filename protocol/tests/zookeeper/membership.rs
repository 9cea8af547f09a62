//! Members and tombstones.

use stitch_common::ports::Session;
use stitch_protocol::membership::{self, Epoch, Joined, RemoveOutcome};
use stitch_protocol::{Error, definition_node};

use crate::proxy::{Fault, Proxy, RevocationRequest};
use crate::support::{
    Here, Namespace, SESSION, SHORT_SESSION, children, info, join, record, server, soon, until_gone,
};

async fn stands(here: &Here) -> Vec<(String, bool)> {
    let members = membership::list(here).await.unwrap().members;
    members
        .into_iter()
        .map(|member| (member.id.to_string(), member.alive))
        .collect()
}

#[tokio::test]
async fn a_member_is_listed_with_what_it_said_and_leaves_nothing_when_it_leaves() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let before = membership::list(&here).await.unwrap();
    let member = join(&here).await;
    let now = membership::list(&here).await.unwrap();
    assert_eq!(now.version, before.version + 1, "joining raises it");
    assert_eq!(now.alive().count(), 1);
    assert_eq!(now.members[0].id, member);
    let said = &now.members[0].record;
    assert_eq!((said.role, &said.host), (info().role, &info().host));
    assert_eq!(u128::from(said.session_timeout_ms), SESSION.as_millis());
    membership::leave(&here).await.unwrap();
    membership::leave(&here).await.unwrap();
    assert_eq!(stands(&here).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn nobody_joins_a_definition_that_has_changed_or_a_namespace_that_is_not_there() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let missing = membership::join(&here, 0, &info()).await;
    assert!(matches!(missing, Err(Error::NotInitialised { .. })));
    let defined = definition_node::create(&here, &record()).await.unwrap();
    let path = here.paths().definition();
    here.zookeeper().set(&path, b"other", None).await.unwrap();
    let joined = membership::join(&here, defined.version, &info()).await;
    assert_eq!(joined, Ok(Joined::DefinitionChanged));
    assert_eq!(stands(&here).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn a_member_whose_session_expired_is_a_tombstone_until_it_is_forgotten() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let other = namespace.session().await;
    let here = namespace.session_by(&proxy, SHORT_SESSION).await;
    let member = join(&here).await;
    let alive = membership::remove(&other, &member).await;
    assert_eq!(
        alive,
        Ok(RemoveOutcome::Alive),
        "a living member is not forgotten"
    );
    assert_eq!(stands(&other).await, [(member.to_string(), true)]);

    proxy.fall_silent();
    until_gone(&other, &other.paths().alive(&member)).await;
    assert_eq!(stands(&other).await, [(member.to_string(), false)]);
    let beat = soon(membership::heartbeat(&here)).await;
    assert!(beat.is_err(), "{beat:?}");

    for _ in 0..2 {
        let gone = membership::remove(&other, &member).await;
        assert_eq!(gone, Ok(RemoveOutcome::Gone));
    }
    assert_eq!(stands(&other).await, []);
    namespace.remove().await;
}

#[tokio::test]
async fn a_session_that_is_closed_without_leaving_leaves_a_tombstone() {
    let namespace = Namespace::new().await;
    let (here, other) = (namespace.session().await, namespace.session().await);
    let member = join(&here).await;
    here.close().await;
    until_gone(&other, &other.paths().alive(&member)).await;
    assert_eq!(stands(&other).await, [(member.to_string(), false)]);
    namespace.remove().await;
}

#[tokio::test]
async fn a_heartbeat_is_a_write_and_tells_the_epoch() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let lost = membership::heartbeat(&here).await;
    assert!(matches!(lost, Err(Error::Lost { .. })), "no member yet");
    let member = join(&here).await;
    let first = membership::heartbeat(&here).await.unwrap();
    let second = membership::heartbeat(&here).await.unwrap();
    assert!(second.mzxid > first.mzxid);
    assert_eq!(Epoch::of_last_write(&first), Epoch::of_last_write(&second));
    let alive = here.paths().alive(&member);
    here.zookeeper().delete(&alive, None).await.unwrap();
    let lost = membership::heartbeat(&here).await;
    assert_eq!(lost, Err(Error::Lost { path: alive }));
    namespace.remove().await;
}

#[tokio::test]
async fn joining_and_leaving_happen_once_whichever_way_they_are_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let defined = definition_node::create(&here, &record()).await.unwrap();
    for lose in [Fault::Answer, Fault::RevocationRequest] {
        let before = membership::list(&here).await.unwrap().version;
        proxy.lose(lose(RevocationRequest::Multi));
        let joined = soon(membership::join(&here, defined.version, &info())).await;
        assert_eq!(joined, Ok(Joined::Member(here.member())));
        assert!(proxy.has_lost_it());
        let after = membership::list(&here).await.unwrap();
        assert_eq!(after.version, before + 1);
        assert_eq!(after.alive().count(), 1);
        proxy.lose(lose(RevocationRequest::Multi));
        soon(membership::leave(&here)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(stands(&here).await, []);
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_heartbeat_whose_answer_is_lost_is_no_heartbeat() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    join(&here).await;
    proxy.lose(Fault::Answer(RevocationRequest::SetData));
    let lost = soon(membership::heartbeat(&here)).await;
    assert!(matches!(lost, Err(Error::Unanswered { .. })), "{lost:?}");
    soon(membership::heartbeat(&here)).await.unwrap();
    namespace.remove().await;
}

#[tokio::test]
async fn a_member_that_cannot_be_read_is_named_with_a_way_out() {
    let namespace = Namespace::new().await;
    let (here, other) = (namespace.session().await, namespace.session().await);
    let member = join(&here).await;
    let path = here.paths().member(&member);
    here.zookeeper().set(&path, b"{}", None).await.unwrap();
    let error = membership::list(&other).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }));
    assert!(error.to_string().starts_with(&path), "{error}");
    assert_eq!(children(&other, &other.paths().members()).await.len(), 1);
    namespace.remove().await;
}
