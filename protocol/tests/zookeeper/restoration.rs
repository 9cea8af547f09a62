//! The restoration lock.

use stitch_protocol::restoration::{self, RestorationLock};

use crate::support::{Namespace, soon};

#[tokio::test]
async fn a_second_restoration_learns_the_holder_and_goes_on_when_that_one_ends() {
    let namespace = Namespace::new().await;
    let (a, b) = (namespace.session().await, namespace.session().await);
    let mut first = RestorationLock::new(&a, "first.example", 41);
    let mut second = RestorationLock::new(&b, "second.example", 42);
    assert_eq!(restoration::holder(&b).await.unwrap(), None);
    assert_eq!(first.try_granted(&a).await.unwrap(), None);
    let holder = second.try_granted(&b).await.unwrap().unwrap();
    assert_eq!(holder.member, a.member());
    assert_eq!(
        (holder.host.as_str(), holder.process_id),
        ("first.example", 41)
    );
    assert!(!second.is_held());
    // It dies: no release, and the lock goes with the session.
    first.abandon();
    a.close().await;
    soon(second.wait_granted(&b)).await.unwrap();
    let holder = restoration::holder(&b).await.unwrap().unwrap();
    assert_eq!(holder.host, "second.example");
    second.release(&b).await.unwrap();
    assert_eq!(restoration::holder(&b).await.unwrap(), None);
    namespace.remove().await;
}
