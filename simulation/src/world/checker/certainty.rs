//! Doubt: nothing in ZooKeeper may let readers believe that counts of a range are certain while one of its cells is wrong
//! by a cause that a process could know. What readers believe is decided by the product's own snapshot.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};
use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState, ZkError,
};
use stitch_protocol::NamespaceSession;
use stitch_protocol::path::Paths;
use stitch_protocol::snapshot::{self, LightSnapshot};

use super::{Checker, Finding, Kind, events};
use crate::world::World;
use crate::world::zookeeper::NAMESPACE;

impl World {
    /// Checks that no reader hears of certain counts where one is wrong.
    pub(crate) fn check_certainty(&self) {
        if !self.is_checked.get() {
            return;
        }
        let Some(snapshot) = self.peek() else { return };
        let wrong = self.bits.ranges().find_map(|range| {
            let is_live =
                !snapshot.locked.contains(&range) && snapshot.uncertainty.is_certain(range);
            is_live.then(|| self.wrong_cell(range.0)).flatten()
        });
        if let Some(what) = wrong {
            self.report(Finding::new(Kind::FalselyCertain, what));
        }
    }

    /// What a reader would see, if it saw everything at this moment.
    fn peek(&self) -> Option<LightSnapshot> {
        let session = NamespaceSession::new(Peek(self), Still, Paths::new(NAMESPACE));
        let read = pin!(snapshot::light(&session, self.bits));
        match read.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(snapshot) => snapshot.ok(),
            Poll::Pending => None,
        }
    }

    /// A cell of the range that holds neither what is counted nor that and events in flight.
    fn wrong_cell(&self, range: u16) -> Option<String> {
        let checker = self.checker.borrow();
        if !checker.deprived.is_empty() {
            return None;
        }
        let table = self.cluster.table.borrow();
        let of_range = checker.cells.iter().enumerate();
        let mut of_range = of_range
            .filter(|(_, checked)| checked.range == range && checked.changed_by_hand.is_none());
        of_range.find_map(|(index, checked)| {
            let count = table.count(&checked.cell).0;
            let acknowledged =
                checker.expected(index, |partition| self.checkpoint_of(partition, range));
            let in_flight = count - acknowledged;
            let may_be = checker.in_flight(index, |partition| self.checkpoint_of(partition, range).0);
            (in_flight & !may_be != 0).then(|| {
                format!(
                    "{} holds {count} instead of {acknowledged} and events in flight, and nothing says so",
                    checked.cell
                )
            })
        })
    }
}

impl Checker {
    /// The sum of what events at or above these offsets, which were sent, add to a cell.
    fn in_flight(&self, cell: usize, checkpoint: impl Fn(i32) -> i64) -> i64 {
        let sent = self.events.iter().enumerate().filter(|(_, event)| {
            event.offset >= checkpoint(event.partition)
                && event
                    .contributions
                    .iter()
                    .any(|(of, contribution)| *of == cell && !contribution.attempts.is_empty())
        });
        sent.map(|(index, _)| events::amount(index)).sum()
    }
}

/// A session that sees the tree as it is, and changes nothing.
struct Peek<'a>(&'a World);

impl Peek<'_> {
    fn refused<T, E: From<ZkError>>() -> Result<T, E> {
        Err(ZkError::Refused("a reader changes nothing".to_owned()).into())
    }
}

impl Session for Peek<'_> {
    type Watch = Ready<()>;

    fn id(&self) -> i64 {
        0
    }

    fn nonce(&self) -> u64 {
        0
    }

    fn timeout(&self) -> Duration {
        Duration::MAX
    }

    fn state(&self) -> SessionState {
        SessionState::Connected
    }

    async fn state_other_than(&self, _from: SessionState) -> SessionState {
        std::future::pending().await
    }

    async fn create(
        &self,
        _path: &str,
        _data: &[u8],
        _mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        Self::refused()
    }

    async fn delete(&self, _path: &str, _version: Option<i32>) -> Result<(), ZkError> {
        Self::refused()
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        Ok(self.0.zookeeper.tree.borrow().get(path).cloned())
    }

    async fn set(
        &self,
        _path: &str,
        _data: &[u8],
        _version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        Self::refused()
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let tree = self.0.zookeeper.tree.borrow();
        Ok(tree
            .get(path)
            .map(|_| tree.children(path).map(str::to_owned).collect()))
    }

    async fn watch_children(&self, _path: &str) -> Result<(Vec<String>, Ready<()>), ZkError> {
        Self::refused()
    }

    async fn watch_node(&self, _path: &str) -> Result<(Option<NodeStat>, Ready<()>), ZkError> {
        Self::refused()
    }

    async fn multi(&self, _operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        Self::refused()
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        Ok(())
    }

    async fn close(self) {}
}

/// A clock that stands still: a look takes no time.
#[derive(Clone)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        Moment::new(Duration::ZERO)
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::default()
    }

    async fn sleep(&self, _duration: Duration) {
        let never: Infallible = std::future::pending().await;
        match never {}
    }
}
