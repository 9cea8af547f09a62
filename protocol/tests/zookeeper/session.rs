//! The adapter itself.

use std::time::Duration;

use stitch_common::ports::{
    CreateMode, MultiError, Operation, Session, SessionState, ZkError, ZooKeeper,
};
use stitch_zookeeper::ZooKeeperClient;

use crate::proxy::Proxy;
use crate::support::{Namespace, SESSION, SHORT_SESSION, server, soon, until_gone};

#[tokio::test]
async fn a_closed_session_takes_its_ephemeral_nodes_with_it_at_once() {
    let namespace = Namespace::new().await;
    let other = namespace.session().await;
    let paths = namespace.paths();
    let path = format!("{}/mine", paths.root());
    let (mine, root) = (path.clone(), paths.root().to_owned());
    let process = std::thread::spawn(move || {
        // Its runtime ends with it, as that of a process does: what was not sent by then never is.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let session = ZooKeeperClient::new(&server().parse().unwrap(), SESSION)
                .connect()
                .await
                .unwrap();
            let created = session.create(&mine, b"x", CreateMode::Ephemeral).await;
            assert_eq!(created.unwrap().stat.ephemeral_owner, session.id());
            let (_, watch) = session.watch_node(&root).await.unwrap();
            session.close().await;
            drop(watch);
        });
    });
    tokio::task::spawn_blocking(|| process.join())
        .await
        .unwrap()
        .unwrap();
    other.zookeeper().sync(&path).await.unwrap();
    assert_eq!(other.zookeeper().get(&path).await.unwrap(), None);
    other.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn a_request_that_meets_silence_is_ambiguous_and_the_session_goes_on() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let session = here.zookeeper();
    let root = namespace.paths().root().to_owned();
    proxy.fall_silent();
    let answer = soon(session.set(&root, b"", None)).await;
    assert!(matches!(answer, Err(ZkError::Ambiguous(_))), "{answer:?}");
    proxy.speak();
    soon(session.get(&root)).await.unwrap();
    assert_eq!(session.state(), SessionState::Connected);
    here.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_for_a_moment_is_reported_even_if_it_was_not_watched() {
    let namespace = Namespace::new().await;
    let proxy = Proxy::before(server()).await;
    let here = namespace.session_by(&proxy, SESSION).await;
    let session = here.zookeeper();
    let (_, watched) = session.watch_node(namespace.paths().root()).await.unwrap();
    proxy.break_connections();
    soon(watched).await;
    // Requests wait for the next connection: an answer means that it is connected again.
    soon(session.get(namespace.paths().root())).await.unwrap();
    assert_eq!(session.state(), SessionState::Connected);
    let lost = soon(session.state_other_than(SessionState::Connected)).await;
    assert_eq!(lost, SessionState::Disconnected);
    let back = soon(session.state_other_than(SessionState::Disconnected)).await;
    assert_eq!(back, SessionState::Connected);
    here.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn a_session_without_a_server_disconnects_first_and_is_over_later() {
    let namespace = Namespace::new().await;
    let (proxy, other) = (Proxy::before(server()).await, namespace.session().await);
    let here = namespace.session_by(&proxy, SHORT_SESSION).await;
    let path = format!("{}/mine", namespace.paths().root());
    let session = here.zookeeper();
    session
        .create(&path, b"", CreateMode::Ephemeral)
        .await
        .unwrap();
    proxy.fall_silent();
    let lost = soon(session.state_other_than(SessionState::Connected)).await;
    assert_eq!(lost, SessionState::Disconnected);
    until_gone(&other, &path).await;
    let over = soon(session.state_other_than(SessionState::Disconnected)).await;
    assert_eq!(over, SessionState::Over);
    let refused = session.get(&path).await;
    assert_eq!(refused, Err(ZkError::SessionOver));
    soon(here.close()).await;
    other.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn a_transaction_does_all_or_nothing_and_names_what_was_refused() {
    let namespace = Namespace::new().await;
    let here = namespace.session().await;
    let path = |name: &str| format!("{}/{name}", namespace.paths().root());
    let create = |name: &str| Operation::Create {
        path: path(name),
        data: Vec::new(),
        mode: CreateMode::Persistent,
    };
    let check = Operation::Check {
        path: path("missing"),
        version: None,
    };
    let refused = here
        .zookeeper()
        .multi(vec![create("a"), check, create("b")])
        .await;
    let expected = MultiError::Operation {
        index: 1,
        error: ZkError::NoNode,
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(here.zookeeper().get(&path("a")).await.unwrap(), None);
    let created = here
        .zookeeper()
        .multi(vec![create("a"), create("b")])
        .await
        .unwrap();
    assert_eq!(created.len(), 2);
    here.close().await;
    namespace.remove().await;
}

#[tokio::test]
async fn servers_that_cannot_be_reached_are_named() {
    // A port that was free a moment ago, and that nothing listens on.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let keeper = ZooKeeperClient::new(&address.parse().unwrap(), Duration::from_millis(500));
    let error = soon(keeper.connect()).await.unwrap_err();
    assert!(matches!(error, ZkError::Ambiguous(_)));
    assert!(error.to_string().contains(&address), "{error}");
}
