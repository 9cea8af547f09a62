//! The port to ZooKeeper, as a process has it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use stitch_common::ports::{
    CreateMode, CreateResult, MultiError, Node, NodeStat, Operation, Session, SessionState,
    ZkError, ZooKeeper,
};

use super::TIMEOUT;
use super::line::Line;
use super::request::{Answer, Ask, Request, Told};
use crate::slot::{Fired, Signal, Slot, either};
use crate::world::{Handle, World};

/// A session of one process.
pub(crate) struct SimSession {
    world: Rc<World>,
    line: Rc<Line>,
}

impl ZooKeeper for Handle {
    type Session = SimSession;

    async fn connect(&self) -> Result<SimSession, ZkError> {
        let world = &self.world;
        world.executor.until(world.now() + 2 * world.net()).await;
        Ok(SimSession {
            world: Rc::clone(world),
            line: world.open_session(&self.process),
        })
    }
}

impl SimSession {
    async fn ask(&self, ask: Ask) -> Answer {
        let request = Rc::new(Request {
            ask,
            answer: Slot::default(),
            done: Cell::new(false),
        });
        self.world.submit(&self.line, &request);
        request.answer.taken().await
    }

    async fn one(&self, ask: Ask) -> Result<Told, ZkError> {
        self.ask(ask).await.map_err(|error| match error {
            MultiError::Whole(error) | MultiError::Operation { error, .. } => error,
        })
    }

    fn signal(&self) -> Rc<Signal> {
        let signal = Rc::new(Signal::default());
        self.line.watched(&signal);
        signal
    }
}

/// The servers answer what they were asked.
fn mismatch<E: From<ZkError>>() -> E {
    ZkError::Refused("answered something else".to_owned()).into()
}

impl Session for SimSession {
    type Watch = Fired;

    fn id(&self) -> i64 {
        self.line.id
    }

    fn timeout(&self) -> Duration {
        Duration::from_micros(TIMEOUT)
    }

    fn state(&self) -> SessionState {
        self.line.state()
    }

    async fn state_other_than(&self, from: SessionState) -> SessionState {
        self.line.state_other_than(from).await
    }

    async fn create(
        &self,
        path: &str,
        data: &[u8],
        mode: CreateMode,
    ) -> Result<CreateResult, ZkError> {
        let ask = Ask::Create(path.to_owned(), data.to_vec(), mode);
        let Told::Created(created) = self.one(ask).await? else {
            return Err(mismatch());
        };
        Ok(created)
    }

    async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), ZkError> {
        self.one(Ask::Delete(path.to_owned(), version)).await?;
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Option<Node>, ZkError> {
        let Told::Node(node) = self.one(Ask::Get(path.to_owned())).await? else {
            return Err(mismatch());
        };
        Ok(node)
    }

    async fn set(
        &self,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<NodeStat, ZkError> {
        let ask = Ask::Set(path.to_owned(), data.to_vec(), version);
        let Told::Stat(Some(stat)) = self.one(ask).await? else {
            return Err(mismatch());
        };
        Ok(stat)
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, ZkError> {
        let Told::Names(names) = self.one(Ask::Children(path.to_owned())).await? else {
            return Err(mismatch());
        };
        Ok(names)
    }

    async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Fired), ZkError> {
        let signal = self.signal();
        let ask = Ask::WatchChildren(path.to_owned(), Rc::clone(&signal));
        let Told::Names(Some(names)) = self.one(ask).await? else {
            return Err(mismatch());
        };
        Ok((names, Fired(signal)))
    }

    async fn watch_node(&self, path: &str) -> Result<(Option<NodeStat>, Fired), ZkError> {
        let signal = self.signal();
        let ask = Ask::WatchNode(path.to_owned(), Rc::clone(&signal));
        let Told::Stat(stat) = self.one(ask).await? else {
            return Err(mismatch());
        };
        Ok((stat, Fired(signal)))
    }

    async fn multi(&self, operations: Vec<Operation>) -> Result<Vec<CreateResult>, MultiError> {
        let Told::Many(created) = self.ask(Ask::Multi(operations)).await? else {
            return Err(mismatch());
        };
        Ok(created)
    }

    async fn sync(&self, _path: &str) -> Result<(), ZkError> {
        self.one(Ask::Sync).await?;
        Ok(())
    }

    /// Waits for the servers' word for half a session, as the real one does.
    async fn close(self) {
        let bound = self.world.executor.until(self.world.now() + TIMEOUT / 2);
        either(self.ask(Ask::Close), bound).await;
    }
}

impl Drop for SimSession {
    /// As the client does: the servers are told in the background. A process that was killed tells nobody.
    fn drop(&mut self) {
        if !self.line.process.is_dead() && self.line.state() == SessionState::Connected {
            let request = Rc::new(Request {
                ask: Ask::Close,
                answer: Slot::default(),
                done: Cell::new(false),
            });
            self.world.submit(&self.line, &request);
        }
    }
}
