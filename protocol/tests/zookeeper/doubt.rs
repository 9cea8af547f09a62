//! Doubts.

use stitch_common::range::RangeId;
use stitch_protocol::doubt::{self, DoubtCause, DoubtRemoval};
use stitch_protocol::{in_doubt, snapshot};

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{Namespace, RANGE, SESSION, bits, join, range_nodes, server, soon};

#[tokio::test]
async fn a_doubt_outlives_its_session_and_keeps_since_when_it_is_recorded_again() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let (cause, detail) = (DoubtCause::GivenUp, "partition 0, offset 5");
    doubt::record(&session, RANGE, cause, detail).await.unwrap();
    let member = session.member();
    session.close().await;
    let first = doubt::list(&other).await.unwrap().remove(0);
    assert_eq!((first.range, first.cause), (RANGE, cause));
    assert_eq!(
        (first.member.as_ref(), &*first.detail),
        (Some(&member), detail)
    );
    doubt::record(&other, RANGE, cause, "later").await.unwrap();
    let again = doubt::list_range(&other, RANGE).await.unwrap().remove(0);
    assert_eq!((again.since, &*again.detail), (first.since, "later"));
    assert_eq!(again.member, Some(other.member()));
    doubt::record_all(&other, [RangeId(7), RANGE], DoubtCause::Unverified, "")
        .await
        .unwrap();
    assert_eq!(doubt::list(&other).await.unwrap().len(), 3);
    let light = snapshot::light(&other, bits()).await.unwrap();
    let certain: Vec<_> = bits()
        .ranges()
        .filter(|range| !light.uncertainty.is_certain(*range))
        .collect();
    assert_eq!(certain, [RANGE, RangeId(7)]);
    namespace.remove().await;
}

#[tokio::test]
async fn only_a_doubt_that_was_not_recorded_again_is_removed() {
    let namespace = Namespace::new().await;
    let session = namespace.session().await;
    let record = async || {
        let recorded = doubt::record(&session, RANGE, DoubtCause::Takeover, "").await;
        recorded.unwrap();
        doubt::list_range(&session, RANGE).await.unwrap().remove(0)
    };
    let first = record().await;
    let second = record().await;
    let removal = doubt::remove(&session, &first).await.unwrap();
    assert_eq!(removal, DoubtRemoval::Renewed);
    let removal = doubt::remove(&session, &second).await.unwrap();
    assert_eq!(removal, DoubtRemoval::Removed);
    assert_eq!(doubt::list(&session).await.unwrap(), []);
    namespace.remove().await;
}

/// A new node has the version of the one before it: a request that is repeated blindly would remove it.
#[tokio::test]
async fn a_doubt_is_removed_and_recorded_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    join(&session).await;
    for lose in [Fault::Answer, Fault::Request] {
        proxy.lose(lose(RequestKind::Multi));
        soon(doubt::record(&session, RANGE, DoubtCause::InDoubt, ""))
            .await
            .unwrap();
        assert!(proxy.has_lost_it());
        let known = doubt::list(&session).await.unwrap().remove(0);
        proxy.lose(lose(RequestKind::Delete));
        let removal = soon(doubt::remove(&session, &known)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(removal, DoubtRemoval::Removed);
        assert_eq!(doubt::list(&session).await.unwrap(), []);
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_marker_and_the_doubt_that_follows_it_are_changed_together() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    for lose in [Fault::Answer, Fault::Request] {
        let marker = in_doubt::create(&session, RANGE).await.unwrap();
        proxy.lose(lose(RequestKind::Multi));
        soon(in_doubt::delete(&session, &marker)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(range_nodes(&session).await, Vec::<String>::new());
        let doubts = doubt::list(&session).await.unwrap();
        assert_eq!(doubts.len(), 1);
        assert_eq!(doubts[0].cause, DoubtCause::InDoubt);
    }
    namespace.remove().await;
}
