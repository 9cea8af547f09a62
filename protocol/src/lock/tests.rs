//! What a real server never does to one session, and the port allows: a request that takes effect late.

use std::cell::{Cell, RefCell};
use std::future::{Pending, pending};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;

use super::*;
use crate::contender::Kind;
use crate::path::Paths;
use crate::range_lock::RangeLock;
use stitch_common::clock::Moment;
use stitch_common::ports::{CreateResult, MultiError, Node, Operation};
use stitch_common::range::RangeId;

/// A server that loses the first creation, and carries it out right before the second.
#[derive(Default)]
struct Late {
    delayed: RefCell<Option<String>>,
    nodes: RefCell<Vec<String>>,
    sequence: Cell<i32>,
}

impl Late {
    fn carry_out(&self, path: &str) -> String {
        let sequence = Sequence::new(self.sequence.replace(self.sequence.get() + 1));
        let path = format!("{path}{sequence}");
        self.nodes.borrow_mut().push(path.clone());
        path
    }
}

const STAT: NodeStat = NodeStat {
    czxid: 1,
    mzxid: 1,
    ctime_ms: 0,
    version: 0,
    ephemeral_owner: 1,
};

impl Session for Late {
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

    async fn create(
        &self,
        path: &str,
        _data: &[u8],
        _mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let Some(delayed) = self.delayed.replace(Some(path.to_owned())) else {
            return Err(ZkError::Ambiguous("lost".to_owned()));
        };
        self.carry_out(&delayed);
        let path = self.carry_out(path);
        Ok(CreateResult { path, stat: STAT })
    }

    async fn delete(&self, path: &str, _version: Option<i32>) -> Result<(), ZkError> {
        self.nodes.borrow_mut().retain(|node| node != path);
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        let exists = self.nodes.borrow().iter().any(|node| node == path);
        Ok(exists.then(|| Node {
            data: Vec::new(),
            stat: STAT,
        }))
    }

    async fn set(
        &self,
        _path: &str,
        _data: &[u8],
        _version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        Err(ZkError::NoNode)
    }

    async fn children(&self, _path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let nodes = self.nodes.borrow();
        let names = nodes.iter().map(|node| name_of(node).to_owned());
        Ok(Some(names.collect()))
    }

    async fn watch_children(&self, _path: &str) -> Result<(Vec<String>, Self::Watch), ZkError> {
        Err(ZkError::NoNode)
    }

    async fn watch_node(&self, _path: &str) -> Result<(Option<NodeStat>, Self::Watch), ZkError> {
        Ok((Some(STAT), pending()))
    }

    async fn multi(&self, _operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        Ok(Vec::new())
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
fn a_creation_that_comes_through_late_is_not_waited_for_and_not_left_behind() {
    let session = NamespaceSession::new(Late::default(), NoTime, Paths::new("late"));
    let mut lock = RangeLock::new(&session, RangeId(0), Kind::Exclusive);
    let granted = lock.wait_granted(&session).now_or_never();
    let entry = granted.expect("it does not wait for itself").unwrap();
    assert_eq!(entry.sequence, Sequence::new(0));
    assert_eq!(session.zookeeper().nodes.borrow().len(), 2);
    let released = lock.release(&session).now_or_never();
    assert_eq!(released, Some(Ok(())));
    assert!(session.zookeeper().nodes.borrow().is_empty());
}
