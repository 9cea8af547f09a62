//! In-doubt markers.

use stitch_common::range::RangeId;
use stitch_protocol::in_doubt;

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{Namespace, RANGE, SESSION, bits, range_nodes, server, shared, soon};

#[tokio::test]
async fn markers_outlive_their_session_and_are_deleted_by_name() {
    let namespace = Namespace::new().await;
    let (session, other) = (namespace.session().await, namespace.session().await);
    let first = in_doubt::create(&session, RANGE).await.unwrap();
    let second = in_doubt::create(&session, RANGE).await.unwrap();
    let elsewhere = in_doubt::create(&session, RangeId(7)).await.unwrap();
    assert!(first.number < second.number, "no number is used twice");
    let mut lock = shared(&session);
    soon(lock.wait_granted(&session)).await.unwrap();
    lock.abandon();
    session.close().await;

    let found = in_doubt::list(&other, RANGE).await.unwrap();
    assert_eq!(found, [first.clone(), second.clone()]);
    let all = in_doubt::list_all(&other, bits()).await.unwrap();
    assert_eq!(all, [first.clone(), second.clone(), elsewhere]);
    for _ in 0..2 {
        in_doubt::delete(&other, &first).await.unwrap();
    }
    let left = in_doubt::list(&other, RANGE).await.unwrap();
    assert_eq!(left, [second]);
    namespace.remove().await;
}

#[tokio::test]
async fn a_marker_is_created_once_whether_the_request_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    for lose in [Fault::Answer, Fault::Request] {
        proxy.lose(lose(RequestKind::Create));
        let marker = soon(in_doubt::create(&session, RANGE)).await.unwrap();
        assert!(proxy.has_lost_it());
        let found = in_doubt::list(&session, RANGE).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&marker));
        proxy.lose(lose(RequestKind::Multi));
        soon(in_doubt::delete(&session, &marker)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(range_nodes(&session).await, Vec::<String>::new());
    }
    namespace.remove().await;
}
