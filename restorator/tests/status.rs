//! `status`, with the real binary on a real ZooKeeper (`STITCH_TEST_ZOOKEEPER`, else 127.0.0.1:2181).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use stitch_common::clock::SystemClock;
use stitch_common::member::{MemberId, Role};
use stitch_common::offset::Partition;
use stitch_common::ports::{LogIdentity, TableIdentity, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_config::{Config, Environment};
use stitch_protocol::contender::Kind;
use stitch_protocol::definition_node::{self, NamespaceRecord};
use stitch_protocol::membership::{self, JoinOutcome, MemberInfo};
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::restoration::RestorationLock;
use stitch_protocol::suspension::{self, SuspensionRecord};
use stitch_protocol::{NamespaceSession, in_doubt};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

type Session = NamespaceSession<ZooKeeperSession, SystemClock>;

/// A namespace of its own, only in ZooKeeper.
struct Namespace {
    config: Config,
    file: tempfile::NamedTempFile,
}

impl Namespace {
    fn new() -> Self {
        let server = std::env::var("STITCH_TEST_ZOOKEEPER");
        let server = server.unwrap_or_else(|_| "127.0.0.1:2181".to_owned());
        let name = format!("status-{}", uuid::Uuid::new_v4());
        let text = include_str!("../../deploy/stitch.toml")
            .replace("namespace = \"plays\"", &format!("namespace = \"{name}\""))
            .replace("session_timeout_ms = 10000", "session_timeout_ms = 2000")
            .replace("127.0.0.1:2181", &server);
        let config = Config::parse("stitch.toml", &text, &Environment::default()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Self { config, file }
    }

    async fn session(&self) -> Session {
        let zookeeper = &self.config.zookeeper;
        let keeper = ZooKeeperClient::of(zookeeper);
        let session = keeper
            .connect()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        NamespaceSession::new(session, SystemClock, Paths::new(&self.config.namespace))
    }

    async fn make(&self, session: &Session) -> i32 {
        let record = NamespaceRecord {
            generation: 1,
            definitions: self.config.definitions.clone(),
            log: LogIdentity {
                cluster: "kafka".to_owned(),
                topic: "events".to_owned(),
                cleanup_policy: "delete".to_owned(),
                fingerprints: std::collections::BTreeMap::new(),
            },
            table: TableIdentity {
                cluster: "cassandra".to_owned(),
                table: uuid::Uuid::nil(),
            },
            write_consistency: stitch_config::WriteConsistency::LocalQuorum,
            raised_from: None,
        };
        session.make_directories().await.unwrap();
        definition_node::create(session, &record)
            .await
            .unwrap()
            .version
    }

    /// Exit code and standard output of `status`.
    fn status(&self, output: &str) -> (i32, String) {
        let program = env!("CARGO_BIN_EXE_stitch-restorator");
        let mut command = Command::new(program);
        command.arg("status").args(["--output", output, "--config"]);
        let finished = command.arg(self.file.path()).output().unwrap();
        (
            finished.status.code().unwrap(),
            String::from_utf8(finished.stdout).unwrap(),
        )
    }

    fn object(&self) -> (i32, Value) {
        let (code, text) = self.status("json");
        (
            code,
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
        )
    }
}

async fn join(session: &Session, version: i32, role: Role) {
    let info = MemberInfo {
        role,
        host: "somewhere".to_owned(),
        process_id: 7,
        version: "0".to_owned(),
        keepalive_interval: Duration::from_secs(5),
        keepalive_timeout: Duration::from_secs(5),
    };
    let joined = membership::join(session, version, &info).await.unwrap();
    assert!(matches!(joined, JoinOutcome::Member(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_is_reported_with_help() {
    let (code, object) = Namespace::new().object();
    assert_eq!((code, &object["outcome"]), (2, &Value::from("error")));
    assert!(
        object["error"]["help"].as_str().unwrap().contains("init"),
        "{object}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_dead_members_locks_in_doubt_markers_and_restorations_are_shown() {
    let namespace = Namespace::new();
    let (counting, dead, restoring) = (
        namespace.session().await,
        namespace.session().await,
        namespace.session().await,
    );
    let version = namespace.make(&counting).await;
    join(&counting, version, Role::Processor).await;
    join(&dead, version, Role::Processor).await;
    join(&restoring, version, Role::Restorator).await;
    let mut shared = RangeLock::new(&counting, RangeId(3), Kind::Shared);
    shared.wait_granted(&counting).await.unwrap();
    let mut exclusive = RangeLock::new(&restoring, RangeId(5), Kind::Exclusive);
    exclusive.wait_granted(&restoring).await.unwrap();
    let mut waiting = RangeLock::new(&restoring, RangeId(3), Kind::Exclusive);
    waiting.enqueue(&restoring).await.unwrap();
    in_doubt::create(&dead, RangeId(9)).await.unwrap();
    let record = SuspensionRecord {
        member: counting.member(),
        host: "somewhere".to_owned(),
        since: chrono::DateTime::UNIX_EPOCH,
        message: "its log is gone".to_owned(),
        help: "bring it back".to_owned(),
    };
    for _ in 0..2 {
        suspension::record(&counting, Partition(4), &record)
            .await
            .unwrap();
    }
    let dead_member = dead.member();
    dead.close().await;
    let mut lock = RestorationLock::new(&restoring, "somewhere", 7);
    assert_eq!(lock.try_granted(&restoring).await.unwrap(), None);

    check_object(&namespace, &counting, &restoring, &dead_member);
    let (code, text) = namespace.status("text");
    assert_eq!(code, 0);
    for part in [
        "dead members (",
        "range 5     exclusive, held by",
        "1 ranges shared, held by",
        "restoration running: ",
        "SUSPENDED since 1970-01-01 00:00:00Z by",
        "its log is gone",
        "help: bring it back",
    ] {
        assert!(text.contains(part), "\"{part}\" is not in {text}");
    }
    assert!(text.contains(&restoring.member().to_string()), "{text}");
    for (mut range_lock, session) in [
        (shared, &counting),
        (exclusive, &restoring),
        (waiting, &restoring),
    ] {
        range_lock.release(session).await.unwrap();
    }
    lock.release(&restoring).await.unwrap();
    let bound = Duration::from_secs(20);
    tokio::time::timeout(bound, async {
        tokio::join!(counting.close(), restoring.close())
    })
    .await
    .unwrap();
}

fn check_object(
    namespace: &Namespace,
    counting: &Session,
    restoring: &Session,
    dead_member: &MemberId,
) {
    let (code, object) = namespace.object();
    assert_eq!(
        (code, &object["outcome"]),
        (0, &Value::from("read")),
        "{object}"
    );
    let ids = |list: &str| -> Vec<String> {
        let list = object[list].as_array().unwrap().iter();
        list.map(|entry| entry["member"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids("dead_members"), [dead_member.to_string()]);
    assert_eq!(ids("members").len(), 2);
    let partition = &object["partitions"][0];
    assert_eq!(partition["partition"], 4);
    assert_eq!(partition["suspended"]["message"], "its log is gone");
    assert_eq!(ids("in_doubt_markers"), [dead_member.to_string()]);
    let locks: Vec<_> = object["locks"].as_array().unwrap().iter().collect();
    let read = |lock: &Value| {
        let text = |name: &str| lock[name].as_str().unwrap().to_owned();
        assert!(!lock["since"].is_null(), "{lock}");
        (
            lock["range"].as_i64().unwrap(),
            text("kind"),
            text("state"),
            text("member"),
        )
    };
    let line = |range, kind: &str, state: &str, session: &Session| {
        (
            range,
            kind.to_owned(),
            state.to_owned(),
            session.member().to_string(),
        )
    };
    let expected = [
        line(3, "shared", "held", counting),
        line(3, "exclusive", "waiting", restoring),
        line(5, "exclusive", "held", restoring),
    ];
    assert_eq!(locks.into_iter().map(read).collect::<Vec<_>>(), expected);
    assert_eq!(
        object["restoring"]["member"],
        restoring.member().to_string()
    );
}
