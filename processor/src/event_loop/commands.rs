//! The engine's commands, and the completions that are handed back to it.

use std::collections::BTreeMap;
use std::future::ready;

use stitch_common::cell::Counter;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{EventLog, Feed, Fingerprint, Group, Session, Store};
use stitch_protocol::checkpoint_node::OwnedCheckpoint;
use stitch_protocol::partition_lock::PartitionLock;
use tokio_util::sync::CancellationToken;

use super::{EventLoop, Watch};
use crate::effects::{self, Completion};
use crate::engine::Command;
use crate::error::Error;

impl<S: Session, C: Clock, Q: Store, L: EventLog> EventLoop<'_, S, C, Q, L> {
    /// Starts the effect of a command.
    pub(super) fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        let connections = self.connections;
        match command {
            Command::AcquireRange(range) => {
                let cancel = self.locks.ranges.wait(range);
                self.spawn(connections.acquire_range(range, cancel));
            }
            Command::ReleaseRange(range) => {
                let lock = self.locks.ranges.take_or_cancel(range);
                let lock = lock.expect("only a range that is held is released");
                self.spawn(connections.release_range(lock));
            }
            Command::CreateMarker(range) => self.spawn(connections.create_marker(range)),
            Command::RecordDoubt(range, cause, detail) => {
                self.spawn(connections.record_doubt(range, cause, detail));
            }
            Command::Send(id, permit, batch, request) => {
                let replicas = |counter: &Counter| connections.store.replicas(counter);
                self.requests.add(id, permit, batch, request, replicas);
            }
            Command::AcquirePartition(partition) => {
                let cancel = self.locks.partitions.wait(partition);
                if self.fingerprints.is_recreated(partition) {
                    let error = Error::Recreated { partition };
                    self.spawn(ready(Completion::PartitionRefused(partition, error)));
                } else {
                    self.spawn(connections.acquire_partition(partition, cancel));
                }
            }
            Command::WriteCheckpoint(partition, checkpoint, ceiling) => {
                let held = self.locks.partitions.take_or_cancel(partition);
                let (lock, known) = held.expect("one write at a time, under the lock");
                self.spawn(connections.write_checkpoint(lock, known, checkpoint, ceiling));
            }
            Command::ReleasePartition(partition) => {
                if let Some((lock, _)) = self.locks.partitions.take_or_cancel(partition) {
                    self.spawn(connections.release_partition(lock));
                }
            }
            Command::StartFeed(partition, from, epoch) => {
                self.copies.insert(partition, CancellationToken::new());
                if let Err(error) = self.feed.start(partition, from, epoch) {
                    self.fail(error.into())?;
                }
            }
            Command::StopFeed(partition) => {
                if let Some(copies) = self.copies.remove(&partition) {
                    copies.cancel();
                }
                if let Err(error) = self.feed.stop(partition) {
                    self.fail(error.into())?;
                }
            }
            Command::CopyRejected(partition, epoch, record, reason) => {
                let cancel = self.copies.entry(partition).or_default().clone();
                let rejected = (record, reason);
                self.spawn(connections.copy_rejected(partition, epoch, rejected, cancel));
            }
            Command::EndSuspension(partition) => self.end_suspension(partition),
            Command::Commit(offsets) => self.next_commit = Some(offsets),
        }
        Ok(())
    }

    /// Sends what was added to requests.
    pub(super) fn send_requests(&mut self) {
        for request in self.requests.take() {
            self.spawn(self.connections.send(request));
        }
    }

    /// One commit at a time; of those that come meanwhile the last one counts.
    pub(super) fn commit(&mut self, group: &L::Group) {
        if !self.committing
            && let Some(offsets) = self.next_commit.take()
        {
            self.committing = true;
            let commit = group.commit(&offsets);
            self.spawn(effects::commit(commit, &self.connections.clock));
        }
    }

    /// Handles the completion of an effect.
    pub(super) fn on_completion(&mut self, completion: Completion<Watch<S>>) -> Result<(), Error> {
        let now = self.connections.clock.now();
        match completion {
            Completion::RangeAcquired(lock) => {
                let range = lock.range();
                self.locks.ranges.end_wait(range);
                self.locks.ranges.hold(range, lock);
                self.engine.on_range_acquired(range);
                self.yield_ranges(now);
            }
            Completion::AcquisitionCancelled(range) => {
                self.locks.ranges.end_wait(range);
            }
            Completion::RangeReleased(range) => self.engine.on_range_released(range),
            Completion::MarkerCreated(range) => self.engine.on_marker_created(range),
            Completion::DoubtRecorded(range, cause) => self.engine.on_doubt_recorded(range, cause),
            Completion::RequestOutcome(ids, outcome) => {
                for id in ids {
                    self.engine.on_batch_outcome(id, outcome.clone(), now);
                }
            }
            Completion::PartitionAcquired(lock, checkpoint, from) => {
                self.on_partition_acquired(lock, checkpoint, from);
            }
            Completion::PartitionReleased(partition) => self.on_partition_released(partition),
            Completion::PartitionRefused(partition, error) => {
                self.on_partition_refused(partition, error)?;
            }
            Completion::CheckpointWritten(lock, checkpoint) => {
                let partition = self.hold(lock, checkpoint);
                self.engine.on_checkpoint_written(partition);
            }
            Completion::CheckpointRefused(lock, checkpoint, error) => {
                let partition = self.hold(lock, checkpoint);
                self.on_checkpoint_refused(partition, &error);
            }
            Completion::PartitionLost(lock, checkpoint, error) => {
                let partition = self.hold(lock, checkpoint);
                self.forsake(partition, &error);
            }
            Completion::RejectedCopied(partition, epoch, offset) => {
                self.engine.on_rejected_copied(partition, epoch, offset);
            }
            Completion::RejectedNotCopied(partition, epoch, error) => {
                if self.engine.is_current(partition, epoch) {
                    self.suspend(partition, error)?;
                }
            }
            Completion::Nothing => {}
            Completion::Committed => self.committing = false,
            Completion::CommitFailed => {
                self.committing = false;
                self.engine.on_commit_failed();
            }
            Completion::Heartbeat(sent) => {
                self.lease.renew(sent);
                self.heartbeat_due = Some(sent.plus(self.lease.heartbeat_interval()));
            }
            Completion::HeartbeatMissed => {
                self.heartbeat_due = Some(now.plus(self.lease.heartbeat_interval() / 4));
            }
            Completion::RevocationRequests(requests, watch) => {
                self.revocation_requests = requests;
                self.yield_ranges(now);
                self.spawn(self.connections.revocation_requests(Some(watch)));
            }
            Completion::LogBounds(bounds) => self.log_bounds.extend(bounds),
            Completion::FirstRecords(first_records) => self.on_first_records(&first_records)?,
            Completion::Failed(error) => self.fail(error)?,
        }
        Ok(())
    }

    fn on_partition_acquired(
        &mut self,
        lock: PartitionLock,
        checkpoint: OwnedCheckpoint,
        from: Offset,
    ) {
        if self.locks.partitions.end_wait(lock.partition()) {
            let (resumed, found) = (checkpoint.checkpoint().clone(), checkpoint.found_ceiling());
            let partition = self.hold(lock, checkpoint);
            self.engine
                .on_partition_acquired(partition, resumed, found, from);
        } else {
            self.spawn(self.connections.release_partition(lock));
        }
    }

    fn on_first_records(
        &mut self,
        first_records: &BTreeMap<Partition, Fingerprint>,
    ) -> Result<(), Error> {
        for partition in self.fingerprints.compare(first_records) {
            self.suspend(partition, Error::Recreated { partition })?;
        }
        Ok(())
    }

    fn on_partition_refused(&mut self, partition: Partition, error: Error) -> Result<(), Error> {
        if self.locks.partitions.end_wait(partition) {
            self.suspend(partition, error)
        } else {
            self.on_partition_released(partition);
            Ok(())
        }
    }

    fn on_partition_released(&mut self, partition: Partition) {
        self.locks.partitions.end_wait(partition);
        let now = self.connections.clock.now();
        self.engine.on_partition_released(partition, now);
        self.acknowledge_revocations();
    }

    fn hold(&mut self, lock: PartitionLock, checkpoint: OwnedCheckpoint) -> Partition {
        let partition = lock.partition();
        self.locks.partitions.hold(partition, (lock, checkpoint));
        partition
    }

    fn yield_ranges(&mut self, now: Moment) {
        for range in self.locks.revoked(&self.revocation_requests) {
            self.engine.on_revocation_request(range, now);
        }
    }
}
