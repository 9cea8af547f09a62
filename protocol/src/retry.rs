//! Repeats requests whose answers are lost, with pauses between them and a limit.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{MultiError, Session, SessionState, ZkError};

use crate::error::Error;

/// The attempts that one operation on one node has left. While the connection is down the client queues requests, so
/// an attempt is used up only by a connection that breaks under it.
pub(crate) struct RetryBudget<'a, S, C> {
    session: &'a S,
    clock: &'a C,
    path: &'a str,
    lost: u32,
}

impl<'a, S: Session, C: Clock> RetryBudget<'a, S, C> {
    const MAX: u32 = 12;
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);

    pub(crate) const fn new(session: &'a S, clock: &'a C, path: &'a str) -> Self {
        Self {
            session,
            clock,
            path,
            lost: 0,
        }
    }

    /// Whether an answer has been lost.
    pub(crate) const fn lost_any(&self) -> bool {
        self.lost > 0
    }

    /// Repeats `request` until it is answered. What it returns is ZooKeeper's answer, a refusal too.
    pub(crate) async fn run<T, E: MaybeLost>(
        &mut self,
        request: impl AsyncFn() -> Result<T, E>,
    ) -> Result<Result<T, E>, Error> {
        loop {
            match request().await.map_err(E::lost) {
                Ok(answer) => return Ok(Ok(answer)),
                Err(Ok(why)) => self.pause(why).await?,
                Err(Err(refusal)) => return Ok(Err(refusal)),
            }
        }
    }

    /// Pauses after an answer was lost; fails when the session is over or no attempt is left.
    pub(crate) async fn pause(&mut self, why: String) -> Result<(), Error> {
        if self.session.state() == SessionState::Over {
            return Err(Error::SessionOver);
        }
        self.lost += 1;
        if self.lost >= Self::MAX {
            return Err(Error::Unanswered {
                path: self.path.to_owned(),
                why,
            });
        }
        tracing::debug!(
            path = self.path,
            why,
            lost = self.lost,
            "no answer from zookeeper"
        );
        let pause = Self::FIRST_PAUSE.saturating_mul(1 << self.lost.min(10));
        self.clock.sleep(pause.min(Self::LONGEST_PAUSE)).await;
        Ok(())
    }
}

/// An error that may mean that only the answer was lost.
pub(crate) trait MaybeLost: Sized {
    /// Why the answer was lost, or the refusal that this is.
    fn lost(self) -> Result<String, Self>;
}

impl MaybeLost for ZkError {
    fn lost(self) -> Result<String, Self> {
        match self {
            Self::Ambiguous(why) => Ok(why),
            Self::SessionOver
            | Self::Refused(_)
            | Self::NoNode
            | Self::NodeExists
            | Self::BadVersion
            | Self::NotEmpty => Err(self),
        }
    }
}

impl MaybeLost for MultiError {
    fn lost(self) -> Result<String, Self> {
        match self {
            Self::Whole(ZkError::Ambiguous(why)) => Ok(why),
            Self::Whole(_) | Self::Operation { .. } => Err(self),
        }
    }
}
