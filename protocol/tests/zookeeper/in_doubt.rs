//! Marks.

use stitch_common::range::RangeId;
use stitch_protocol::in_doubt;

use crate::proxy::{Fault, Proxy, RevocationRequest};
use crate::support::{Namespace, RANGE, SESSION, bits, range_nodes, server, shared, soon};

#[tokio::test]
async fn marks_outlive_their_session_and_are_deleted_by_name() {
    let namespace = Namespace::new().await;
    let (here, other) = (namespace.session().await, namespace.session().await);
    let first = in_doubt::create(&here, RANGE).await.unwrap();
    let second = in_doubt::create(&here, RANGE).await.unwrap();
    let elsewhere = in_doubt::create(&here, RangeId(7)).await.unwrap();
    assert!(first.number < second.number, "no number is used twice");
    let mut lock = shared(&here);
    soon(lock.wait_granted(&here)).await.unwrap();
    lock.abandon();
    here.close().await;

    let found = in_doubt::of_range(&other, RANGE).await.unwrap();
    assert_eq!(found, [first.clone(), second.clone()]);
    let all = in_doubt::of_all_ranges(&other, bits()).await.unwrap();
    assert_eq!(all, [first.clone(), second.clone(), elsewhere]);
    for _ in 0..2 {
        in_doubt::delete(&other, &first).await.unwrap();
    }
    let left = in_doubt::of_range(&other, RANGE).await.unwrap();
    assert_eq!(left, [second]);
    namespace.remove().await;
}

#[tokio::test]
async fn a_mark_is_made_once_whichever_way_it_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    for lose in [Fault::Answer, Fault::RevocationRequest] {
        proxy.lose(lose(RevocationRequest::Create));
        let marker = soon(in_doubt::create(&here, RANGE)).await.unwrap();
        assert!(proxy.has_lost_it());
        let found = in_doubt::of_range(&here, RANGE).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&marker));
        proxy.lose(lose(RevocationRequest::Delete));
        soon(in_doubt::delete(&here, &marker)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(range_nodes(&here).await, Vec::<String>::new());
    }
    namespace.remove().await;
}
