//! `/control`: reads the record, and changes it by compare-and-set, so that of two commands at once the later one is
//! refused.

use stitch_common::clock::Clock;
use stitch_common::ports::{CreateMode, Session, ZkError};
use stitch_common::user_error::UserError;
use stitch_protocol::{Error, NamespaceSession, envelope};

use crate::control_record::{ControlCommand, ControlRecord, ControlRefusal, ControlRequest};
use crate::restoration_record;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// ZooKeeper did not answer, or its record cannot be used.
    #[error(transparent)]
    Coordination(#[from] Error),
    /// The command changes nothing.
    #[error(transparent)]
    Refused(#[from] ControlRefusal),
    /// Another command was given at the same time.
    #[error("another command changed the control of restorations at the same moment")]
    Overtaken,
}

impl From<ControlError> for UserError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Coordination(error) => error.into(),
            ControlError::Refused(refusal) => refusal.into(),
            ControlError::Overtaken => Self::new(
                error,
                "nothing was changed by this one; `stitch-restorator status` shows the other; repeat it if it is still wanted",
            ),
        }
    }
}

/// The record; the default if there is none.
///
/// # Errors
/// [`Error::Corrupt`].
pub async fn read<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
) -> Result<ControlRecord, Error> {
    let record = session.record(&session.paths().control()).await?;
    Ok(record.unwrap_or_default())
}

/// Carries out a command, for the restoration that runs; or only if that is the `wanted` one. Returns the record that is in
/// force now. Cancelled, it may have been carried out.
///
/// # Errors
/// Nothing was changed; if ZooKeeper did not answer, it may have been.
pub async fn issue<S: Session, C: Clock>(
    session: &NamespaceSession<S, C>,
    command: ControlCommand,
    request: ControlRequest,
    wanted: Option<&str>,
) -> Result<ControlRecord, ControlError> {
    let path = session.paths().control();
    session.sync().await?;
    let running = restoration_record::running(session).await?;
    let node = session.get(&path).await?;
    let (record, version) = match node {
        None => (ControlRecord::default(), None),
        Some(node) => (envelope::open(&path, &node.data)?, Some(node.stat.version)),
    };
    let next = record.after(command, request, running.as_ref(), wanted)?;
    let data = envelope::seal(&next);
    let mut retries = session.retry_budget(&path);
    let zookeeper = session.zookeeper();
    let write = async || match version {
        Some(_) => zookeeper.set(&path, &data, version).await.map(drop),
        None => {
            let created = zookeeper.create(&path, &data, CreateMode::Persistent);
            created.await.map(drop)
        }
    };
    match retries.run(write).await? {
        Ok(()) => Ok(next),
        Err(ZkError::BadVersion | ZkError::NodeExists) => {
            // An earlier attempt, whose answer was lost, may have done it.
            let now = session.get(&path).await?;
            match now.is_some_and(|node| node.data == data) {
                true => Ok(next),
                false => Err(ControlError::Overtaken),
            }
        }
        Err(ZkError::NoNode) if version.is_some() => Err(ControlError::Overtaken),
        Err(ZkError::NoNode) => Err(Error::NotInitialised { path }.into()),
        Err(refusal) => Err(Error::unexpected(&path, refusal).into()),
    }
}
