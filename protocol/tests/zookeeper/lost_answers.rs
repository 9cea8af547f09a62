//! Locks while answers and requests are lost.

use stitch_protocol::revocation;

use crate::proxy::{Fault, Proxy, RequestKind};
use crate::support::{Namespace, SESSION, children, exclusive, range_nodes, server, shared, soon};

const LOSSES: [fn(RequestKind) -> Fault; 2] = [Fault::Answer, Fault::Request];

#[tokio::test]
async fn an_entry_has_one_node_whether_its_creation_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    // The directory exists, so that the next creation is the node's.
    let mut before = shared(&session);
    before.enqueue(&session).await.unwrap();
    before.release(&session).await.unwrap();
    for lose in LOSSES {
        proxy.lose(lose(RequestKind::Create));
        let mut lock = exclusive(&session);
        let entry = soon(lock.wait_granted(&session)).await.unwrap();
        assert!(proxy.has_lost_it());
        let nodes = range_nodes(&session).await;
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert!(entry.path.ends_with(&nodes[0]));
        assert!(entry.czxid > 0);
        lock.verify(&session).await.unwrap();
        lock.release(&session).await.unwrap();
        assert_eq!(range_nodes(&session).await, Vec::<String>::new());
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_released_lock_is_gone_whether_its_deletion_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    for lose in LOSSES {
        let mut lock = shared(&session);
        soon(lock.wait_granted(&session)).await.unwrap();
        proxy.lose(lose(RequestKind::Delete));
        soon(lock.release(&session)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(range_nodes(&session).await, Vec::<String>::new());
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_revocation_request_exists_once_whether_it_or_the_answer_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let session = namespace.session_by(&proxy, SESSION).await;
    let mut lock = exclusive(&session);
    lock.enqueue(&session).await.unwrap();
    for lose in LOSSES {
        proxy.lose(lose(RequestKind::Create));
        let request = soon(revocation::ask(&session, &lock)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(revocation::list(&session).await.unwrap(), [request]);
        proxy.lose(lose(RequestKind::Delete));
        soon(revocation::withdraw(&session, request)).await.unwrap();
        let directory = session.paths().revocations();
        assert_eq!(children(&session, &directory).await, Vec::<String>::new());
    }
    lock.release(&session).await.unwrap();
    namespace.remove().await;
}
