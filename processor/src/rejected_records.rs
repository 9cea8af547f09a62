//! Copies of rejected records in the dead-letter topic.

use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{
    AssignmentEpoch, DeadLetters, EventLog, LogError, Record, Session, Store,
};
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

use crate::effects::{Completion, Connections, RETRY_PAUSE};
use crate::error::Error;

/// How long a copy of a rejected record is tried before its partition is suspended.
const COPY_PATIENCE: Duration = Duration::from_secs(60);

impl<S: Session, C: Clock, Q: Store, L: EventLog> Connections<'_, S, C, Q, L> {
    /// Copies a rejected record to the dead-letter topic: no event above it is begun before. It is tried for a while; then the
    /// partition is suspended, because what waits behind the record would take the room of all others. Cancelled, the record may
    /// be copied or not.
    pub(crate) async fn copy_rejected(
        &self,
        partition: Partition,
        epoch: AssignmentEpoch,
        (record, reason): (Record, String),
        cancel: CancellationToken,
    ) -> Completion<S::Watch> {
        let copied = async {
            let offset = record.offset;
            let until = self.clock.now().plus(COPY_PATIENCE);
            loop {
                let cause = match self.dead_letters.put(partition, &record, &reason).await {
                    Ok(()) => return Completion::RejectedCopied(partition, epoch, offset),
                    Err(LogError::Unavailable(cause)) if self.clock.now() < until => {
                        if self.uncopied_said.is_due(self.clock.now()) {
                            tracing::warn!(%partition, %offset, %cause, "rejected records not copied yet, retrying");
                        }
                        self.clock.sleep(RETRY_PAUSE).await;
                        continue;
                    }
                    Err(
                        LogError::Unavailable(cause)
                        | LogError::Refused(cause)
                        | LogError::Denied(UserError { message: cause, .. }),
                    ) => cause,
                };
                let error = Error::DeadLetter {
                    partition,
                    offset,
                    cause,
                };
                return Completion::RejectedNotCopied(partition, epoch, error);
            }
        };
        tokio::select! {
            biased;
            completion = copied => completion,
            () = cancel.cancelled() => Completion::Nothing,
        }
    }
}
