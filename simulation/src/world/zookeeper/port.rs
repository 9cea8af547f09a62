//! The port to ZooKeeper of one process.

use std::rc::Rc;
use std::time::Duration;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZkError, ZooKeeper,
};
use stitch_testkit::wait::{Fired, Signal, either};

use super::client_session::ClientSession;
use super::given_id;
use super::request::{Answer, Op, Reply, Request};
use crate::world::{Handle, World};

pub(crate) struct SimSession {
    world: Rc<World>,
    client: Rc<ClientSession>,
}

impl ZooKeeper for Handle {
    type Session = SimSession;

    async fn connect(&self) -> Result<SimSession, ZkError> {
        let world = &self.world;
        world.executor.until(world.now() + 2 * world.net()).await;
        Ok(SimSession {
            world: Rc::clone(world),
            client: world.open_session(&self.process),
        })
    }
}

impl SimSession {
    async fn request(&self, op: Op) -> Answer {
        let request = Rc::new(Request::new(op));
        self.world.submit(&self.client, &request);
        request.answer.recv().await
    }

    async fn single(&self, op: Op) -> Result<Reply, ZkError> {
        self.request(op).await.map_err(|error| match error {
            MultiError::Whole(error) | MultiError::Operation { error, .. } => error,
        })
    }

    fn signal(&self) -> Rc<Signal> {
        let signal = Rc::new(Signal::default());
        self.client.add_watch(&signal);
        signal
    }
}

/// The error for a reply of another kind than the request.
fn mismatch<E: From<ZkError>>() -> E {
    ZkError::Refused("answered something else".to_owned()).into()
}

/// A node's state with its owner's id as the servers gave it.
fn as_given(stat: NodeStat) -> NodeStat {
    NodeStat {
        ephemeral_owner: given_id(stat.ephemeral_owner),
        ..stat
    }
}

impl Session for SimSession {
    type Watch = Fired;

    fn id(&self) -> i64 {
        given_id(self.client.id)
    }

    fn nonce(&self) -> u64 {
        self.client.nonce
    }

    fn timeout(&self) -> Duration {
        Duration::from_micros(self.world.zookeeper.timeout())
    }

    fn state(&self) -> SessionState {
        self.client.state()
    }

    async fn state_other_than(&self, from: SessionState) -> SessionState {
        self.client.state_other_than(from).await
    }

    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let (path, data) = (path.to_owned(), data.to_vec());
        let operation = Operation::Create { path, data, mode };
        let Reply::Many(mut created) = self.single(Op::Multi(vec![operation])).await? else {
            return Err(mismatch());
        };
        let created = created.pop().ok_or_else(mismatch)?;
        let stat = as_given(created.stat);
        Ok(CreateResult { stat, ..created })
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        let path = path.to_owned();
        let operation = Operation::Delete { path, version };
        self.single(Op::Multi(vec![operation])).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        let Reply::Node(node) = self.single(Op::Get(path.to_owned())).await? else {
            return Err(mismatch());
        };
        Ok(node.map(|node| Node {
            stat: as_given(node.stat),
            ..node
        }))
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        let op = Op::Set(path.to_owned(), data.to_vec(), version);
        let Reply::Stat(Some(stat)) = self.single(op).await? else {
            return Err(mismatch());
        };
        Ok(as_given(stat))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let Reply::Names(names) = self.single(Op::Children(path.to_owned())).await? else {
            return Err(mismatch());
        };
        Ok(names)
    }

    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Fired), ZkError> {
        let signal = self.signal();
        let op = Op::WatchChildren(path.to_owned(), Rc::clone(&signal));
        let Reply::Names(Some(names)) = self.single(op).await? else {
            return Err(mismatch());
        };
        Ok((names, Fired(signal)))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Fired), ZkError> {
        let signal = self.signal();
        let op = Op::WatchNode(path.to_owned(), Rc::clone(&signal));
        let Reply::Stat(stat) = self.single(op).await? else {
            return Err(mismatch());
        };
        Ok((stat.map(as_given), Fired(signal)))
    }

    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        let Reply::Many(created) = self.request(Op::Multi(operations)).await? else {
            return Err(mismatch());
        };
        Ok(created)
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        self.single(Op::Sync).await?;
        Ok(())
    }

    /// Waits for the servers' answer for half the session timeout, as the real client does.
    async fn close(self) {
        let bound = self.world.now() + self.world.zookeeper.timeout() / 2;
        let bound = self.world.executor.until(bound);
        either(self.request(Op::Close), bound).await;
    }
}

impl Drop for SimSession {
    /// Closes the session in the background, as the real client does; unless the process was killed.
    fn drop(&mut self) {
        if !self.client.process.is_dead() && self.client.state() == SessionState::Connected {
            let request = Rc::new(Request::new(Op::Close));
            self.world.submit(&self.client, &request);
        }
    }
}
