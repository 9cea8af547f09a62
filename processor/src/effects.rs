//! Effects: carry out the engine's commands through the ports. One future each; all of a member's are driven by its
//! one event loop, so a process that is frozen is frozen as a whole.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Partition};
use stitch_common::outcome::Outcome;
use stitch_common::ports::{
    AssignmentEpoch, Bounds, EventLog, Fingerprint, LogError, Session, Store, TableIdentity,
};
use stitch_common::range::{RangeBits, RangeId};
use stitch_common::rate_limit::RateLimit;
use stitch_protocol::checkpoint_node::{self, OwnedCheckpoint, WriteOutcome};
use stitch_protocol::contender::Kind;
use stitch_protocol::doubt::{self, DoubtCause};
use stitch_protocol::lock::Lock;
use stitch_protocol::partition_lock::PartitionLock;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};
use stitch_protocol::suspension::{self, SuspensionRecord};
use stitch_protocol::{
    Error as ProtocolError, NamespaceSession, in_doubt, membership, origin_node, start_offset,
};
use tokio_util::sync::CancellationToken;

use crate::engine::BatchId;
use crate::error::Error;
use crate::request::Request;

/// How long an effect pauses before it retries.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long a commit to the group pauses after it failed.
const COMMIT_PAUSE: Duration = Duration::from_millis(300);

/// An effect under way.
pub(crate) type Effect<'a, Watch> = Pin<Box<dyn Future<Output = Completion<Watch>> + 'a>>;

/// The result of an effect.
pub(crate) enum Completion<Watch> {
    RangeAcquired(RangeLock),
    /// The wait for a range's lock was cancelled.
    AcquisitionCancelled(RangeId),
    RangeReleased(RangeId),
    MarkerCreated(RangeId),
    DoubtRecorded(RangeId, DoubtCause),
    /// The outcome of a request, which is that of each of its batches.
    RequestOutcome(Vec<BatchId>, Outcome),
    /// A partition may be counted, from this offset.
    PartitionAcquired(PartitionLock, OwnedCheckpoint, Offset),
    PartitionReleased(Partition),
    CheckpointWritten(PartitionLock, OwnedCheckpoint),
    RejectedCopied(Partition, AssignmentEpoch, Offset),
    /// The dead-letter topic refuses a rejected record.
    RejectedNotCopied(Partition, AssignmentEpoch, Error),
    /// The partition cannot be counted; its lock is given back.
    PartitionRefused(Partition, Error),
    /// ZooKeeper refuses a checkpoint, which was not written.
    CheckpointRefused(PartitionLock, OwnedCheckpoint, Error),
    /// The lock is lost, or another member has written the checkpoint.
    PartitionLost(PartitionLock, OwnedCheckpoint, Error),
    /// Nothing follows: what was asked for is done, or is not needed any more.
    Nothing,
    Committed,
    /// A commit failed, and a pause has passed.
    CommitFailed,
    /// A heartbeat that was sent at this moment is acknowledged.
    Heartbeat(Moment),
    /// A heartbeat was not acknowledged: the lease runs on.
    HeartbeatMissed,
    /// The present revocation requests, and a watch on them.
    RevocationRequests(Vec<RevocationRequest>, Watch),
    /// Where the log begins and ends.
    LogBounds(BTreeMap<Partition, Bounds>),
    /// The first record that each partition has now.
    FirstRecords(BTreeMap<Partition, Fingerprint>),
    /// The effect failed, and the member's work ends with it: at once if its session is over, drained otherwise.
    Failed(Error),
}

impl<Watch> Completion<Watch> {
    /// Abandons the lock that came with it, if any: it ends with the session.
    pub(crate) fn abandon(self) {
        if let Self::RangeAcquired(lock) = self {
            lock.abandon();
        } else if let Self::PartitionAcquired(lock, ..)
        | Self::CheckpointWritten(lock, _)
        | Self::CheckpointRefused(lock, ..)
        | Self::PartitionLost(lock, ..) = self
        {
            lock.abandon();
        }
    }

    fn failed(error: ProtocolError) -> Self {
        Self::Failed(error.into())
    }
}

/// One member's connections to the servers.
pub(crate) struct Connections<'a, S, C, Q, L: EventLog> {
    pub(crate) session: NamespaceSession<S, C>,
    pub(crate) store: Q,
    /// The table of the namespace, which is counted in.
    pub(crate) table: TableIdentity,
    pub(crate) log: &'a L,
    pub(crate) dead_letters: L::DeadLetters,
    pub(crate) clock: C,
    pub(crate) bits: RangeBits,
    /// When it was last said that rejected records are not copied.
    pub(crate) uncopied_said: RateLimit,
}

impl<S: Session, C: Clock, Q: Store, L: EventLog> Connections<'_, S, C, Q, L> {
    /// Waits for the range's shared lock until it is granted or the wait is cancelled.
    pub(crate) async fn acquire_range(
        &self,
        range: RangeId,
        cancel: CancellationToken,
    ) -> Completion<S::Watch> {
        loop {
            let mut lock = RangeLock::new(&self.session, range, Kind::Shared);
            match self.wait_granted(&mut lock, &cancel).await {
                Some(Ok(())) => return Completion::RangeAcquired(lock),
                // Somebody has deleted its entry: another one is behind the present holders, too.
                Some(Err(ProtocolError::Lost { .. })) => lock.abandon(),
                Some(Err(error)) => {
                    lock.abandon();
                    return Completion::failed(error);
                }
                None => {
                    return self
                        .release(lock, Completion::AcquisitionCancelled(range))
                        .await;
                }
            }
        }
    }

    pub(crate) async fn release_range(&self, lock: RangeLock) -> Completion<S::Watch> {
        let range = lock.range();
        self.release(lock, Completion::RangeReleased(range)).await
    }

    pub(crate) async fn create_marker(&self, range: RangeId) -> Completion<S::Watch> {
        let create = async || in_doubt::create(&self.session, range).await;
        match self.answered(create).await {
            Ok(_) => Completion::MarkerCreated(range),
            Err(error) => Completion::failed(error),
        }
    }

    pub(crate) async fn record_doubt(
        &self,
        range: RangeId,
        cause: DoubtCause,
        detail: String,
    ) -> Completion<S::Watch> {
        let record = async || doubt::record(&self.session, range, cause, &detail).await;
        match self.answered(record).await {
            Ok(()) => Completion::DoubtRecorded(range, cause),
            Err(error) => Completion::failed(error),
        }
    }

    /// Records the same doubt of every range. Nothing waits for it.
    pub(crate) async fn record_doubts(
        &self,
        cause: DoubtCause,
        detail: String,
    ) -> Completion<S::Watch> {
        let ranges = || self.bits.ranges();
        let record = async || doubt::record_all(&self.session, ranges(), cause, &detail).await;
        if let Err(error) = self.answered(record).await {
            tracing::error!(%cause, detail, %error, "counts may be wrong, and this could not be recorded");
        }
        Completion::Nothing
    }

    pub(crate) async fn send(&self, request: Request) -> Completion<S::Watch> {
        let Request {
            ids,
            permit,
            batches,
        } = request;
        let outcome = self.store.increment(permit, &batches).await;
        Completion::RequestOutcome(ids, outcome.of_each(batches.len()))
    }

    /// Waits for the partition's lock, reads its checkpoint under it and decides where to start, or refuses (rule P1).
    pub(crate) async fn acquire_partition(
        &self,
        partition: Partition,
        cancel: CancellationToken,
    ) -> Completion<S::Watch> {
        loop {
            let mut lock = PartitionLock::new(&self.session, partition);
            let error = match self.wait_granted(&mut lock, &cancel).await {
                None => return self.release_partition(lock).await,
                Some(Err(ProtocolError::Lost { .. })) => {
                    lock.abandon();
                    continue;
                }
                Some(Err(error)) => error.into(),
                Some(Ok(())) => {
                    let opened = tokio::select! {
                        biased;
                        // Cancel-safe: it only reads, or creates a checkpoint at 0.
                        opened = self.open(&lock) => opened,
                        () = cancel.cancelled() => return self.release_partition(lock).await,
                    };
                    match opened {
                        Ok((checkpoint, from)) => {
                            return Completion::PartitionAcquired(lock, checkpoint, from);
                        }
                        Err(error) => error,
                    }
                }
            };
            return self.give_back(lock, error).await;
        }
    }

    /// Releases the lock of a partition that cannot be counted.
    async fn give_back(&self, lock: PartitionLock, error: Error) -> Completion<S::Watch> {
        if error.ends_at_once() {
            lock.abandon();
            return Completion::Failed(error);
        }
        let refused = Completion::PartitionRefused(lock.partition(), error);
        self.release(lock, refused).await
    }

    async fn open(&self, lock: &PartitionLock) -> Result<(OwnedCheckpoint, Offset), Error> {
        let partition = lock.partition();
        // In this order: commits follow checkpoints, so what is committed now was written before.
        let read = async || checkpoint_node::read(&self.session, partition).await;
        let stored = self.answered(read).await?;
        let committed = self
            .retry(async || self.log.committed(&[partition]).await)
            .await?;
        let bounds = self
            .retry(async || self.log.bounds(&[partition]).await)
            .await?;
        let bounds = bounds.get(&partition).copied().ok_or_else(|| {
            LogError::Refused(format!("the topic has no partition {partition} any more"))
        })?;
        // Opened before, and its checkpoint lost: it was counted from its origin on.
        let read = async || origin_node::read(&self.session, partition).await;
        let origin = self.answered(read).await?;
        let checkpoint = stored
            .map(|stored| stored.progress)
            .or_else(|| origin.map(Checkpoint::everywhere));
        let checkpoint = checkpoint.as_ref();
        let committed = committed.get(&partition).copied();
        let from = start_offset::start_offset(partition, checkpoint, committed, bounds, self.bits)?;
        let open = async || checkpoint_node::open(&self.session, lock, bounds.begin).await;
        Ok((self.answered(open).await?, from))
    }

    /// Asks ZooKeeper until it answers: only the end of the session ends a member at once.
    async fn answered<T>(
        &self,
        mut ask: impl AsyncFnMut() -> Result<T, ProtocolError>,
    ) -> Result<T, ProtocolError> {
        loop {
            match ask().await {
                Err(error @ ProtocolError::Unanswered { .. }) => {
                    tracing::warn!(%error, "zookeeper does not answer, retrying");
                    self.clock.sleep(RETRY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// Asks Kafka until it answers: its answer must not be guessed, and nothing is counted meanwhile.
    async fn retry<T>(&self, ask: impl AsyncFn() -> Result<T, LogError>) -> Result<T, Error> {
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(LogError::Unavailable(cause)) => {
                    tracing::warn!(%cause, "kafka does not answer, retrying");
                    self.clock.sleep(RETRY_PAUSE).await;
                }
                Err(error @ (LogError::Refused(_) | LogError::Denied(_))) => {
                    return Err(error.into());
                }
            }
        }
    }

    pub(crate) async fn release_partition(&self, lock: PartitionLock) -> Completion<S::Watch> {
        let partition = lock.partition();
        self.release(lock, Completion::PartitionReleased(partition))
            .await
    }

    pub(crate) async fn write_checkpoint(
        &self,
        lock: PartitionLock,
        mut known: OwnedCheckpoint,
        checkpoint: Checkpoint,
        ceiling: Ceiling,
    ) -> Completion<S::Watch> {
        let partition = lock.partition();
        let write = async || {
            checkpoint_node::write(
                &self.session,
                &lock,
                &mut known,
                checkpoint.clone(),
                ceiling,
            )
            .await
        };
        let error = match self.answered(write).await {
            Ok(WriteOutcome::Written { .. }) => return Completion::CheckpointWritten(lock, known),
            Ok(WriteOutcome::LockLost) => Error::LockLost { partition },
            Ok(WriteOutcome::Foreign { writer }) => Error::ForeignCheckpoint {
                partition,
                writer: writer.map(|writer| writer.member),
            },
            Err(error) => {
                let error = Error::from(error);
                if error.ends_at_once() {
                    lock.abandon();
                    return Completion::Failed(error);
                }
                return Completion::CheckpointRefused(lock, known, error);
            }
        };
        Completion::PartitionLost(lock, known, error)
    }

    /// Records that a partition is suspended, for operators.
    pub(crate) async fn record_suspension(
        &self,
        partition: Partition,
        record: SuspensionRecord,
    ) -> Completion<S::Watch> {
        let recorded = suspension::record(&self.session, partition, &record).await;
        if let Err(error) = recorded {
            tracing::warn!(%partition, %error, "the suspension is not shown by status");
        }
        Completion::Nothing
    }

    /// Deletes the record of a suspension.
    pub(crate) async fn clear_suspension(&self, partition: Partition) -> Completion<S::Watch> {
        let clear = async || suspension::clear(&self.session, partition).await;
        if let Err(error) = self.answered(clear).await {
            tracing::warn!(%partition, %error, "status still shows the suspension");
        }
        Completion::Nothing
    }

    /// Sends a heartbeat. The lease counts from the moment before it was sent (rule P3).
    pub(crate) async fn heartbeat(&self) -> Completion<S::Watch> {
        let sent = self.clock.now();
        match membership::heartbeat(&self.session).await {
            Ok(_) => Completion::Heartbeat(sent),
            Err(ProtocolError::Unanswered { .. }) => Completion::HeartbeatMissed,
            Err(error) => Completion::failed(error),
        }
    }

    /// Reads the revocation requests, after `changed`.
    pub(crate) async fn revocation_requests(
        &self,
        changed: Option<S::Watch>,
    ) -> Completion<S::Watch> {
        if let Some(changed) = changed {
            changed.await;
        }
        loop {
            match revocation::watch(&self.session).await {
                Ok((requests, watch)) => return Completion::RevocationRequests(requests, watch),
                Err(ProtocolError::Unanswered { .. }) => {
                    self.clock.sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Completion::failed(error),
            }
        }
    }

    /// Reads where the log of these partitions begins and ends; empty if Kafka does not answer.
    pub(crate) async fn log_bounds(&self, partitions: Vec<Partition>) -> Completion<S::Watch> {
        Completion::LogBounds(self.log.bounds(&partitions).await.unwrap_or_default())
    }

    /// Reads the first record of each of these partitions; empty if Kafka does not answer.
    pub(crate) async fn first_records(&self, partitions: Vec<Partition>) -> Completion<S::Watch> {
        let first_records = self.log.first_records(&partitions).await;
        Completion::FirstRecords(first_records.unwrap_or_default())
    }

    /// Asks which table has the name of the one that is counted in: if it is another one, the member's work fails. Nothing
    /// follows if Cassandra does not say, or if there is none: increments are refused then.
    pub(crate) async fn table_of_counts(&self) -> Completion<S::Watch> {
        match self.store.current_table().await {
            Ok(Some(now)) if now != self.table => {
                Completion::Failed(Error::other_table(&self.table, &now))
            }
            Ok(_) | Err(_) => Completion::Nothing,
        }
    }

    /// Waits for a lock; `None` if the wait is cancelled.
    async fn wait_granted<Of>(
        &self,
        lock: &mut Lock<Of>,
        cancel: &CancellationToken,
    ) -> Option<Result<(), ProtocolError>> {
        let granted = async || lock.wait_granted(&self.session).await.map(drop);
        tokio::select! {
            biased;
            // Cancel-safe: the lock keeps its entry in the queue, and the caller releases it.
            granted = self.answered(granted) => Some(granted),
            () = cancel.cancelled() => None,
        }
    }

    async fn release<Of>(
        &self,
        mut lock: Lock<Of>,
        released: Completion<S::Watch>,
    ) -> Completion<S::Watch> {
        match self
            .answered(async || lock.release(&self.session).await)
            .await
        {
            Ok(()) => released,
            Err(error) => {
                lock.abandon();
                Completion::failed(error)
            }
        }
    }
}

/// Commits the checkpoints to the group. A commit fails during a rebalance, and need not be followed by another: it is
/// repeated after a pause, so that lag tools learn that everything is counted.
pub(crate) async fn commit<Watch>(
    commit: impl Future<Output = Result<(), LogError>>,
    clock: &impl Clock,
) -> Completion<Watch> {
    match commit.await {
        Ok(()) => Completion::Committed,
        Err(error) => {
            tracing::debug!(%error, "checkpoints not committed to the group, retrying");
            clock.sleep(COMMIT_PAUSE).await;
            Completion::CommitFailed
        }
    }
}
