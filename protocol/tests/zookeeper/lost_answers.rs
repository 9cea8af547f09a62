//! Locks while answers and requests are lost.

use stitch_protocol::revocation;

use crate::proxy::{Fault, Proxy, RevocationRequest};
use crate::support::{Namespace, SESSION, children, exclusive, range_nodes, server, shared, soon};

const LOSSES: [fn(RevocationRequest) -> Fault; 2] = [Fault::Answer, Fault::RevocationRequest];

#[tokio::test]
async fn a_place_has_one_node_whichever_way_its_creation_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    // The directory is there, so that the next creation is the node's.
    let mut before = shared(&here);
    before.queue(&here).await.unwrap();
    before.release(&here).await.unwrap();
    for lose in LOSSES {
        proxy.lose(lose(RevocationRequest::Create));
        let mut lock = exclusive(&here);
        let ticket = soon(lock.wait_granted(&here)).await.unwrap();
        assert!(proxy.has_lost_it());
        let nodes = range_nodes(&here).await;
        assert_eq!(nodes.len(), 1, "{nodes:?}");
        assert!(ticket.path.ends_with(&nodes[0]));
        assert!(ticket.czxid > 0);
        lock.verify(&here).await.unwrap();
        lock.release(&here).await.unwrap();
        assert_eq!(range_nodes(&here).await, Vec::<String>::new());
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_released_lock_is_gone_whichever_way_its_deletion_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    for lose in LOSSES {
        let mut lock = shared(&here);
        soon(lock.wait_granted(&here)).await.unwrap();
        proxy.lose(lose(RevocationRequest::Delete));
        soon(lock.release(&here)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(range_nodes(&here).await, Vec::<String>::new());
    }
    namespace.remove().await;
}

#[tokio::test]
async fn a_request_stands_once_whichever_way_it_is_lost() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let mut lock = exclusive(&here);
    lock.queue(&here).await.unwrap();
    for lose in LOSSES {
        proxy.lose(lose(RevocationRequest::Create));
        let request = soon(revocation::ask(&here, &lock)).await.unwrap();
        assert!(proxy.has_lost_it());
        assert_eq!(revocation::list(&here).await.unwrap(), [request]);
        proxy.lose(lose(RevocationRequest::Delete));
        soon(revocation::withdraw(&here, request)).await.unwrap();
        let directory = here.paths().revocations();
        assert_eq!(children(&here, &directory).await, Vec::<String>::new());
    }
    lock.release(&here).await.unwrap();
    namespace.remove().await;
}
