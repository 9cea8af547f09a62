//! The lock of the loads: one process at a time does its work.

use stitch_batch::batch_lock::{self, BatchLock};
use stitch_common::clock::Clock;
use stitch_common::ports::Session;
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use stitch_protocol::{Error, NamespaceSession};

/// Does `work` under the lock of the loads, as this process of this host. Waits for another process that has it, and says
/// which.
///
/// # Errors
/// Those of `work`, and ZooKeeper's.
pub async fn exclusively<Z: Session, C: Clock, T>(
    session: &NamespaceSession<Z, C>,
    (host, process_id): (&str, u32),
    progress: &dyn Progress,
    work: impl AsyncFnOnce(&BatchLock) -> Result<T, UserError>,
) -> Result<T, UserError> {
    let mut lock = batch_lock::new(session, host, process_id);
    let result = match granted(&mut lock, session, progress).await {
        Ok(()) => work(&lock).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = lock.release(session).await {
        tracing::warn!(%error, "the lock of the loads ends with the session");
        lock.abandon();
    }
    result
}

async fn granted<Z: Session, C: Clock>(
    lock: &mut BatchLock,
    session: &NamespaceSession<Z, C>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    if let Some(holder) = batch_lock::try_granted(lock, session).await? {
        progress.note(&format!(
            "another process loads batch counts (process {} on {}, since {}): waiting for it",
            holder.process_id,
            holder.host,
            holder.started.format("%Y-%m-%dT%H:%M:%SZ")
        ));
        lock.wait_granted(session).await?;
    }
    Ok(())
}
