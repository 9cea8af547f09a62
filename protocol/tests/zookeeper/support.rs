//! Shared by the tests: a namespace of their own, sessions in it, and a bound on every wait.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stitch_common::clock::SystemClock;
use stitch_common::definition::{Definitions, EventAttributes};
use stitch_common::member::{MemberId, Role};
use stitch_common::ports::{LogIdentity, Session, TableIdentity, ZooKeeper};
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::NamespaceSession;
use stitch_protocol::contender::Kind;
use stitch_protocol::definition_node::{self, NamespaceRecord};
use stitch_protocol::membership::{self, JoinOutcome, MemberInfo};
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

use crate::proxy::Proxy;

pub(crate) type TestSession = NamespaceSession<ZooKeeperSession, SystemClock>;

/// Sessions of the tests. The servers of the tests grant 1 s to 4 s.
pub(crate) const SESSION: Duration = Duration::from_secs(4);
/// Sessions that are meant to expire.
pub(crate) const SHORT_SESSION: Duration = Duration::from_millis(1500);

pub(crate) fn server() -> String {
    std::env::var("STITCH_TEST_ZOOKEEPER").unwrap_or_else(|_| "127.0.0.1:2181".to_owned())
}

/// A namespace that no other test uses.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates it, with its directories.
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let started = chrono::Utc::now().timestamp_micros();
        let name = format!("test-{}-{started}-{number}", std::process::id());
        let namespace = Self { name };
        let first = namespace.session().await;
        first.make_directories().await.unwrap();
        first.close().await;
        namespace
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::new(&self.name)
    }

    /// A new session in it.
    pub(crate) async fn session(&self) -> TestSession {
        self.session_through(&server(), SESSION).await
    }

    /// A new session in it, through a proxy.
    pub(crate) async fn session_by(&self, proxy: &Proxy, timeout: Duration) -> TestSession {
        self.session_through(&proxy.address.to_string(), timeout)
            .await
    }

    async fn session_through(&self, address: &str, timeout: Duration) -> TestSession {
        let keeper = ZooKeeperClient::new(&address.parse().unwrap(), timeout);
        let session = keeper.connect().await.unwrap_or_else(|error| {
            panic!("{error}: these tests need a ZooKeeper (deploy/local up, STITCH_TEST_ZOOKEEPER)")
        });
        NamespaceSession::new(session, SystemClock, self.paths())
    }

    /// Deletes all of it, so that a server can be used for long.
    pub(crate) async fn remove(self) {
        let last = self.session().await;
        let root = self.paths().root().to_owned();
        let mut left = vec![root];
        while let Some(path) = left.pop() {
            let children = last.zookeeper().children(&path).await.unwrap();
            let children = children.unwrap_or_default();
            let deleted = last.zookeeper().delete(&path, None).await;
            if deleted.is_err() && !children.is_empty() {
                left.push(path.clone());
                left.extend(children.iter().map(|name| format!("{path}/{name}")));
            }
        }
        last.close().await;
    }
}

/// A wait that must end: long enough for a session to expire.
pub(crate) async fn soon<T>(waited_for: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(20);
    tokio::time::timeout(bound, waited_for)
        .await
        .expect("it happens within 20 s")
}

pub(crate) const RANGE: RangeId = RangeId(5);

pub(crate) fn bits() -> RangeBits {
    RangeBits::new(3).unwrap()
}

pub(crate) fn shared(session: &TestSession) -> RangeLock {
    RangeLock::new(session, RANGE, Kind::Shared)
}

pub(crate) fn exclusive(session: &TestSession) -> RangeLock {
    RangeLock::new(session, RANGE, Kind::Exclusive)
}

/// The names of the nodes of [`RANGE`].
pub(crate) async fn range_nodes(session: &TestSession) -> Vec<String> {
    children(session, &session.paths().range(RANGE)).await
}

pub(crate) async fn children(session: &TestSession, path: &str) -> Vec<String> {
    let children = session.zookeeper().children(path).await.unwrap();
    let mut children = children.unwrap_or_default();
    children.sort_unstable();
    children
}

/// Waits until a node is gone, as another session sees it.
pub(crate) async fn until_gone(session: &TestSession, path: &str) {
    soon(async {
        loop {
            let (stat, changed) = session.zookeeper().watch_node(path).await.unwrap();
            if stat.is_none() {
                return;
            }
            changed.await;
        }
    })
    .await;
}

/// Waits until a directory has this many children, as another session sees it.
pub(crate) async fn until_children(session: &TestSession, path: &str, count: usize) {
    soon(async {
        loop {
            let (names, changed) = session.zookeeper().watch_children(path).await.unwrap();
            if names.len() == count {
                return;
            }
            changed.await;
        }
    })
    .await;
}

pub(crate) fn record() -> NamespaceRecord {
    NamespaceRecord {
        generation: 0,
        definitions: Definitions::new(bits(), EventAttributes::default(), Vec::new()),
        log: LogIdentity {
            cluster: "kafka".to_owned(),
            topic: "events".to_owned(),
            cleanup_policy: "delete".to_owned(),
            fingerprints: std::iter::once((
                stitch_common::offset::Partition(0),
                stitch_common::ports::Fingerprint {
                    offset: stitch_common::offset::Offset(0),
                    timestamp_ms: Some(1),
                    checksum: 2,
                },
            ))
            .collect(),
        },
        table: TableIdentity {
            cluster: "cassandra".to_owned(),
            table: uuid::Uuid::nil(),
        },
        write_consistency: stitch_config::WriteConsistency::LocalQuorum,
        raised_from: None,
    }
}

pub(crate) fn info() -> MemberInfo {
    MemberInfo {
        role: Role::Processor,
        host: "here".to_owned(),
        process_id: std::process::id(),
        version: "0.0.0".to_owned(),
        keepalive_interval: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(5),
    }
}

/// Creates `/definition` if need be, and joins.
pub(crate) async fn join(session: &TestSession) -> MemberId {
    let defined = definition_node::create(session, &record()).await.unwrap();
    let joined = membership::join(session, defined.version, &info())
        .await
        .unwrap();
    assert_eq!(joined, JoinOutcome::Member(session.member()));
    session.member()
}
