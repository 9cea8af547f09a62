//! Repeats requests whose answers are lost, with pauses between them and a limit.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{MultiError, Operation, Session, SessionState, ZkError};

use crate::error::Error;

/// The attempts that one operation on one node has left. While the connection is down the client queues requests, so
/// an attempt is used up only by a connection that breaks under it.
pub struct RetryBudget<'a, S, C> {
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

    /// Repeats `request` until it is answered: the outer error means that it never was.
    pub async fn run<T>(
        &mut self,
        request: impl AsyncFn() -> Result<T, ZkError>,
    ) -> Result<Result<T, ZkError>, Error> {
        loop {
            match request().await {
                Err(ZkError::Ambiguous(why)) => self.pause(why).await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Repeats a transaction until it is answered.
    pub async fn transact(
        &mut self,
        operations: &[Operation],
    ) -> Result<Result<(), TransactionError>, Error> {
        loop {
            match transact(self.session, operations).await {
                Err((None, ZkError::Ambiguous(why))) => self.pause(why).await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Pauses after an answer was lost; fails when the session is over or no attempt is left.
    pub async fn pause(&mut self, why: String) -> Result<(), Error> {
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

/// Why a transaction failed, and the index of the operation that was refused; none if the whole failed.
pub type TransactionError = (Option<usize>, ZkError);

/// Sends a transaction once.
pub(crate) async fn transact<S: Session>(
    session: &S,
    operations: &[Operation],
) -> Result<(), TransactionError> {
    match session.multi(operations.to_vec()).await {
        Ok(_) => Ok(()),
        Err(MultiError::Operation { index, error }) => Err((Some(index), error)),
        Err(MultiError::Whole(error)) => Err((None, error)),
    }
}
