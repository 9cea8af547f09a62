//! Commands of operators on their way to ZooKeeper: requests put them into a queue, and one loop beside the server carries
//! them out, each in a session of its own, as the commands of `stitch-restorator` do.

use std::convert::Infallible;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::{ZkError, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_protocol::path::Paths;
use stitch_protocol::{Error, NamespaceSession};
use tokio::sync::{mpsc, oneshot};

use crate::control_node::{self, ControlError};
use crate::control_record::{ControlCommand, ControlRecord, ControlRequest};

/// Operators are few.
const WAITING_MAX: usize = 8;

/// A command, and who waits for its result.
#[derive(Debug)]
pub struct CommandEntry {
    /// The command.
    pub command: ControlCommand,
    /// By whom, and why.
    pub request: ControlRequest,
    /// Only if this restoration runs.
    pub restoration: Option<String>,
    /// To whoever waits; gone if nobody does any more.
    pub reply: oneshot::Sender<Result<ControlRecord, CommandFailure>>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandFailure {
    /// Nothing was changed.
    Refused(UserError),
    /// ZooKeeper did not answer: it may have been carried out.
    Unanswered(UserError),
    /// Too many others wait.
    Overload,
}

impl From<ControlError> for CommandFailure {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Coordination(
                error @ (Error::Unanswered { .. } | Error::SessionOver | Error::Lost { .. }),
            ) => Self::Unanswered(error.into()),
            error @ (ControlError::Coordination(_)
            | ControlError::Refused(_)
            | ControlError::Overtaken) => Self::Refused(error.into()),
        }
    }
}

impl From<ZkError> for CommandFailure {
    fn from(error: ZkError) -> Self {
        match error {
            error @ (ZkError::Denied(_) | ZkError::Refused(_)) => Self::Refused(error.into()),
            error @ (ZkError::NoNode
            | ZkError::NodeExists
            | ZkError::BadVersion
            | ZkError::NotEmpty
            | ZkError::SessionOver
            | ZkError::Ambiguous(_)) => Self::Unanswered(error.into()),
        }
    }
}

/// Where requests put commands.
#[derive(Clone, Debug)]
pub struct CommandQueue(mpsc::Sender<CommandEntry>);

impl CommandQueue {
    /// A queue, and its other end.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<CommandEntry>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Has a command carried out, for the restoration that runs; or only if that is `restoration`.
    ///
    /// # Errors
    /// It was not carried out, or it is not known whether it was.
    ///
    /// # Cancellation
    /// A command that has not begun is not carried out; one that has may be.
    pub async fn issue(
        &self,
        command: ControlCommand,
        request: ControlRequest,
        restoration: Option<String>,
    ) -> Result<ControlRecord, CommandFailure> {
        let (reply, result) = oneshot::channel();
        let waiting = CommandEntry {
            command,
            request,
            restoration,
            reply,
        };
        // Also once the loop has ended, which it does with the server.
        let queued = self.0.try_send(waiting);
        queued.map_err(|_| CommandFailure::Overload)?;
        result.await.unwrap_or(Err(CommandFailure::Overload))
    }
}

/// Carries commands out.
pub struct CommandLoop<K, C> {
    zookeeper: K,
    /// How `zookeeper.connect` names the servers.
    servers: String,
    clock: C,
    paths: Paths,
    timeout: Duration,
}

impl<K: ZooKeeper, C: Clock> CommandLoop<K, C> {
    /// For the namespace at these paths; no command may take longer than `timeout`.
    pub fn new(
        (zookeeper, servers): (K, String),
        clock: C,
        paths: Paths,
        timeout: Duration,
    ) -> Self {
        Self {
            zookeeper,
            servers,
            clock,
            paths,
            timeout,
        }
    }

    /// Carries out one after the other, until it is dropped.
    pub async fn run(self, mut commands: mpsc::Receiver<CommandEntry>) -> Infallible {
        while let Some(waiting) = commands.recv().await {
            // Nobody would learn of its result.
            if waiting.reply.is_closed() {
                continue;
            }
            let wanted = waiting.restoration.as_deref();
            let result = self.issue_in_time(waiting.command, waiting.request, wanted);
            let result = result.await;
            waiting.reply.send(result).ok();
        }
        std::future::pending().await
    }

    async fn issue_in_time(
        &self,
        command: ControlCommand,
        request: ControlRequest,
        wanted: Option<&str>,
    ) -> Result<ControlRecord, CommandFailure> {
        tokio::select! {
            biased;
            // Both futures belong to this call alone.
            result = self.issue(command, request, wanted) => result,
            () = self.clock.sleep(self.timeout) => {
                let (servers, ms) = (&self.servers, self.timeout.as_millis());
                let message = format!("ZooKeeper ({servers}) did not answer within {ms} ms");
                let help = "see whether it is up: `stitch-api check`";
                Err(CommandFailure::Unanswered(UserError::new(message, help)))
            }
        }
    }

    async fn issue(
        &self,
        command: ControlCommand,
        request: ControlRequest,
        wanted: Option<&str>,
    ) -> Result<ControlRecord, CommandFailure> {
        let session = self.zookeeper.connect().await?;
        let session = NamespaceSession::new(session, self.clock.clone(), self.paths.clone());
        let issued = control_node::issue(&session, command, request, wanted).await;
        session.close().await;
        Ok(issued?)
    }
}
