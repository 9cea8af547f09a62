use std::cell::{Cell, RefCell};
use std::future::{Pending, pending};
use std::time::Duration;

use futures_util::FutureExt;
use stitch_common::clock::Moment;
use stitch_common::ports::{CreateResult, MultiError, NodeStat, SessionState};

use super::*;
use crate::path::Paths;

#[test]
fn causes_have_stable_names() {
    let names = DoubtCause::EVERY.map(DoubtCause::name);
    let expected = [
        "in-doubt",
        "takeover",
        "given-up",
        "unverified",
        "invariant",
        "log-truncated",
        "log-recreated",
        "sums-differ",
    ];
    assert_eq!(names, expected);
    for cause in DoubtCause::EVERY {
        assert_eq!(DoubtCause::from_name(cause.name()), Some(cause));
        let json = serde_json::to_string(&cause).unwrap();
        assert_eq!(json, format!("\"{cause}\""));
    }
    assert_eq!(DoubtCause::from_name("doubt"), None);
}

/// A server that loses the answer to the first deletion, and lags behind its leader, which a deposed leader hides from
/// `sync`, until it has acknowledged a write of this session. Meanwhile the doubt is recorded again, by another member.
#[derive(Default)]
struct Behind {
    deletions: Cell<u32>,
    is_current: Cell<bool>,
    node: RefCell<Option<Node>>,
}

fn node(czxid: i64) -> Node {
    let stat = NodeStat {
        czxid,
        mzxid: czxid,
        ctime_ms: 0,
        version: 0,
        ephemeral_owner: 0,
    };
    let data = Vec::new();
    Node { data, stat }
}

const READ: i64 = 1;
const RECORDED_AGAIN: i64 = 2;

impl Session for Behind {
    type Watch = Pending<()>;

    fn id(&self) -> i64 {
        1
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn state(&self) -> SessionState {
        SessionState::Connected
    }

    async fn state_other_than(&self, _from: SessionState) -> SessionState {
        pending().await
    }

    async fn create(&self, _: &str, _: &[u8], _: CreateMode) -> Result<CreateResult, ZkError> {
        Err(ZkError::NoNode)
    }

    async fn delete(&self, _path: &str, version: Option<i32>) -> Result<(), ZkError> {
        assert_eq!(version, Some(0), "as it was read");
        self.deletions.set(self.deletions.get() + 1);
        if self.deletions.get() == 1 {
            self.node.replace(Some(node(RECORDED_AGAIN)));
            return Err(ZkError::Ambiguous("lost".to_owned()));
        }
        self.node.replace(None);
        Ok(())
    }

    async fn get(&self, _path: &str) -> Result<Option<Node>, ZkError> {
        let current = self.node.borrow().clone();
        Ok(if self.is_current.get() {
            current
        } else {
            Some(node(READ))
        })
    }

    async fn set(&self, path: &str, _: &[u8], _: Option<i32>) -> Result<NodeStat, ZkError> {
        assert!(path.contains("/alive/"), "{path}");
        self.is_current.set(true);
        Ok(node(3).stat)
    }

    async fn children(&self, _path: &str) -> Result<Option<Vec<String>>, ZkError> {
        Ok(None)
    }

    async fn watch_children(&self, _path: &str) -> Result<(Vec<String>, Self::Watch), ZkError> {
        Err(ZkError::NoNode)
    }

    async fn watch_node(&self, _path: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError> {
        Err(ZkError::NoNode)
    }

    async fn multi(&self, _: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        Err(ZkError::NoNode.into())
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {}
}

#[derive(Clone)]
struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> Moment {
        Moment::new(Duration::ZERO)
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    async fn sleep(&self, _duration: Duration) {}
}

#[test]
fn a_doubt_that_was_recorded_again_behind_a_lost_answer_stays_whatever_a_server_that_lags_shows() {
    let session = NamespaceSession::new(Behind::default(), NoTime, Paths::new("n"));
    let (range, cause) = (RangeId(3), DoubtCause::Takeover);
    let doubt = Doubt::of(range, cause, "", &node(READ));
    let removal = remove(&session, &doubt)
        .now_or_never()
        .expect("nothing waits");
    assert_eq!(removal, Ok(DoubtRemoval::Renewed));
    assert_eq!(session.zookeeper().deletions.get(), 1);
    assert!(session.zookeeper().node.borrow().is_some());
}
