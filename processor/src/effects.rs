//! Errands: what the counting machine commands, carried out through the ports. One future each; all of a member's are
//! driven by its one loop, so a process that is frozen stands still as a whole.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::{Clock, Moment};
use stitch_common::lease::Permit;
use stitch_common::offset::{Offset, Partition};
use stitch_common::outcome::Outcome;
use stitch_common::ports::{
    AssignmentEpoch, Bounds, CounterBatch, DeadLetters, EventLog, LogError, Record, Session, Store,
};
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::checkpoint_node::{self, KnownCheckpoint, WriteOutcome};
use stitch_protocol::contender::Kind;
use stitch_protocol::partition_lock::PartitionLock;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::{self, RevocationRequest};
use stitch_protocol::{NamespaceSession, in_doubt, membership};
use tokio_util::sync::CancellationToken;

use crate::engine::BatchId;
use crate::error::Error;
use crate::start_offset;

/// The rest before a commit to the group that failed is made again.
const COMMIT_PAUSE: Duration = Duration::from_millis(300);

/// An errand under way.
pub(crate) type Effect<'a, Watch> = Pin<Box<dyn Future<Output = Completion<Watch>> + 'a>>;

/// What came of an errand.
pub(crate) enum Completion<Watch> {
    Granted(RangeLock),
    /// The wait for a range's lock was given up.
    NotWanted(RangeId),
    Released(RangeId),
    Marked(RangeId),
    Answered(BatchId, Outcome),
    /// A partition may be counted, from this offset.
    Taken {
        lock: PartitionLock,
        known: KnownCheckpoint,
        from: Offset,
    },
    GivenBack(Partition),
    Written(PartitionLock, KnownCheckpoint),
    Copied(Partition, AssignmentEpoch, Offset),
    Committed,
    /// A commit failed, and a pause has passed.
    NotCommitted,
    /// A heartbeat that was begun at this moment is acknowledged.
    Heartbeat(Moment),
    /// A heartbeat was not answered: the lease runs on.
    Unheard,
    /// Every request to yield that stands, and a watch on them.
    Requests(Vec<RevocationRequest>, Watch),
    /// Where the log begins and ends.
    Measured(BTreeMap<Partition, Bounds>),
    /// The errand failed, and the member's work ends with it.
    Failed(Error),
}

/// How long an errand pauses before it repeats what is repeated for as long as it takes.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// The servers as one member sees them.
pub(crate) struct Servers<'a, S, C, Q, L: EventLog> {
    pub(crate) session: NamespaceSession<S, C>,
    pub(crate) store: Q,
    pub(crate) log: &'a L,
    pub(crate) dead_letters: L::DeadLetters,
    pub(crate) clock: C,
    pub(crate) bits: RangeBits,
}

impl<S: Session, C: Clock, Q: Store, L: EventLog> Servers<'_, S, C, Q, L> {
    /// Queues for the range's shared lock, until it is granted or `not_wanted`.
    pub(crate) async fn acquire(
        &self,
        range: RangeId,
        not_wanted: CancellationToken,
    ) -> Completion<S::Watch> {
        let mut lock = RangeLock::new(&self.session, range, Kind::Shared);
        let granted = tokio::select! {
            biased;
            // Cancel-safe: the place is kept, and given up below.
            granted = lock.wait_granted(&self.session) => Some(granted),
            () = not_wanted.cancelled() => None,
        };
        match granted {
            Some(Ok(_)) => Completion::Granted(lock),
            Some(Err(error)) => {
                lock.abandon();
                failed(error)
            }
            None => match lock.release(&self.session).await {
                Ok(()) => Completion::NotWanted(range),
                Err(error) => {
                    lock.abandon();
                    failed(error)
                }
            },
        }
    }

    pub(crate) async fn release(&self, mut lock: RangeLock) -> Completion<S::Watch> {
        match lock.release(&self.session).await {
            Ok(()) => Completion::Released(lock.range()),
            Err(error) => {
                lock.abandon();
                failed(error)
            }
        }
    }

    pub(crate) async fn marker(&self, range: RangeId) -> Completion<S::Watch> {
        match in_doubt::create(&self.session, range).await {
            Ok(_) => Completion::Marked(range),
            Err(error) => failed(error),
        }
    }

    pub(crate) async fn send(
        &self,
        id: BatchId,
        permit: Permit,
        batch: CounterBatch,
    ) -> Completion<S::Watch> {
        Completion::Answered(id, self.store.increment(permit, &batch).await)
    }

    /// Waits for the partition's lock, until it is `not_wanted`; reads progress under it and asks whether it may be
    /// counted on (rule P1 and the refusals).
    pub(crate) async fn take(
        &self,
        partition: Partition,
        not_wanted: CancellationToken,
    ) -> Completion<S::Watch> {
        let mut lock = PartitionLock::new(&self.session, partition);
        let granted = tokio::select! {
            biased;
            // Cancel-safe: the place is kept, and given up below.
            granted = lock.wait_granted(&self.session) => Some(granted),
            () = not_wanted.cancelled() => None,
        };
        match granted {
            None => self.give_back(lock).await,
            Some(Err(error)) => {
                lock.abandon();
                failed(error)
            }
            Some(Ok(_)) => match self.open(&lock).await {
                Ok((known, from)) => Completion::Taken { lock, known, from },
                Err(error) => {
                    lock.abandon();
                    Completion::Failed(error)
                }
            },
        }
    }

    async fn open(&self, lock: &PartitionLock) -> Result<(KnownCheckpoint, Offset), Error> {
        let partition = lock.partition();
        // In this order: commits are made behind progress, so what is committed now was written before.
        let written = checkpoint_node::read(&self.session, partition).await?;
        let committed = self.asked(async || self.log.committed().await).await?;
        let bounds = self
            .asked(async || self.log.bounds(&[partition]).await)
            .await?;
        let bounds = bounds.get(&partition).copied().ok_or_else(|| {
            LogError::Refused(format!("the topic has no partition {partition} any more"))
        })?;
        let committed = committed.get(&partition).copied();
        let progress = written.as_ref().map(|written| &written.progress);
        let from = start_offset::point(partition, progress, committed, bounds, self.bits)?;
        let known = checkpoint_node::open(&self.session, lock).await?;
        Ok((known, from))
    }

    /// Asks Kafka for as long as it takes: what it does not tell must not be guessed, and nothing is counted meanwhile.
    async fn asked<T>(&self, ask: impl AsyncFn() -> Result<T, LogError>) -> Result<T, Error> {
        loop {
            match ask().await {
                Ok(answer) => return Ok(answer),
                Err(LogError::Unavailable(cause)) => {
                    tracing::warn!(%cause, "kafka does not answer, asked again");
                    self.clock.sleep(PAUSE).await;
                }
                Err(error @ LogError::Refused(_)) => return Err(error.into()),
            }
        }
    }

    pub(crate) async fn give_back(&self, mut lock: PartitionLock) -> Completion<S::Watch> {
        match lock.release(&self.session).await {
            Ok(()) => Completion::GivenBack(lock.partition()),
            Err(error) => {
                lock.abandon();
                failed(error)
            }
        }
    }

    pub(crate) async fn write(
        &self,
        lock: PartitionLock,
        mut known: KnownCheckpoint,
        progress: Checkpoint,
    ) -> Completion<S::Watch> {
        let partition = lock.partition();
        let written = checkpoint_node::write(&self.session, &lock, &mut known, progress).await;
        match written {
            Ok(WriteOutcome::Written { .. }) => Completion::Written(lock, known),
            Ok(WriteOutcome::LockLost) => {
                lock.abandon();
                Completion::Failed(Error::Over)
            }
            Ok(WriteOutcome::Foreign { writer }) => {
                lock.abandon();
                Completion::Failed(Error::ForeignProgress {
                    partition,
                    writer: writer.map(|writer| writer.member),
                })
            }
            Err(error) => {
                lock.abandon();
                failed(error)
            }
        }
    }

    /// Copies a rejected record, again and again until the brokers have it: no event above it is begun before.
    pub(crate) async fn copy(
        &self,
        partition: Partition,
        epoch: AssignmentEpoch,
        record: Record,
        reason: String,
    ) -> Completion<S::Watch> {
        loop {
            match self.dead_letters.put(partition, &record, &reason).await {
                Ok(()) => return Completion::Copied(partition, epoch, record.offset),
                Err(LogError::Unavailable(cause)) => {
                    tracing::warn!(%partition, offset = %record.offset, %cause, "rejected record not copied yet, tried again");
                    self.clock.sleep(PAUSE).await;
                }
                Err(error @ LogError::Refused(_)) => return Completion::Failed(error.into()),
            }
        }
    }

    /// One heartbeat. The lease is counted from the moment before it was sent (rule P3).
    pub(crate) async fn heartbeat(&self) -> Completion<S::Watch> {
        let sent = self.clock.now();
        match membership::heartbeat(&self.session).await {
            Ok(_) => Completion::Heartbeat(sent),
            Err(stitch_protocol::Error::Unanswered { .. }) => Completion::Unheard,
            Err(error) => failed(error),
        }
    }

    /// Every request to yield that stands, after `changed`.
    pub(crate) async fn requests(&self, changed: Option<S::Watch>) -> Completion<S::Watch> {
        if let Some(changed) = changed {
            changed.await;
        }
        loop {
            match revocation::watch(&self.session).await {
                Ok((requests, watch)) => return Completion::Requests(requests, watch),
                Err(stitch_protocol::Error::Unanswered { .. }) => self.clock.sleep(PAUSE).await,
                Err(error) => return failed(error),
            }
        }
    }

    /// Where the log of these partitions begins and ends; nothing if Kafka does not answer.
    pub(crate) async fn measure(&self, partitions: Vec<Partition>) -> Completion<S::Watch> {
        Completion::Measured(self.log.bounds(&partitions).await.unwrap_or_default())
    }
}

/// Tells the group how far the log is answered. It fails while the group deals out its partitions, and there need not
/// be another: then it is made again after a pause, so that lag tools learn that everything is counted.
pub(crate) async fn commit<Watch>(
    commit: impl Future<Output = Result<(), LogError>>,
    clock: &impl Clock,
) -> Completion<Watch> {
    match commit.await {
        Ok(()) => Completion::Committed,
        Err(error) => {
            tracing::debug!(%error, "progress not committed to the group, tried again soon");
            clock.sleep(COMMIT_PAUSE).await;
            Completion::NotCommitted
        }
    }
}

fn failed<Watch>(error: stitch_protocol::Error) -> Completion<Watch> {
    Completion::Failed(error.into())
}
