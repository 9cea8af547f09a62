//! Suspension: a partition that cannot be counted now is drained and given back, as if it were handed over, and acquired
//! again after a pause. The others go on.

use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::offset::{Offset, Partition};

use super::partition::PartitionState;
use super::{Command, Engine};

/// What makes it impossible to count a partition, by where an operator looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SuspensionReason {
    /// Its checkpoint does not fit its log or its group, or another member has written it.
    Checkpoint,
    /// Its log cannot be read on.
    Log,
    /// A rejected record cannot be copied to the dead-letter topic.
    DeadLetters,
    /// ZooKeeper refuses its nodes, or its lock is lost.
    ZooKeeper,
}

impl SuspensionReason {
    /// Every reason.
    pub(crate) const EVERY: [Self; 4] = [
        Self::Checkpoint,
        Self::Log,
        Self::DeadLetters,
        Self::ZooKeeper,
    ];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Log => "log",
            Self::DeadLetters => "dead_letters",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// A partition of this process that is suspended, from the first failure until it is counted again.
#[derive(Debug)]
pub(super) struct Suspension {
    pub(super) reason: SuspensionReason,
    /// When it is acquired again; none while it is drained, or tried.
    retry: Option<Moment>,
    pause: Duration,
    /// It is over once records above this offset are ingested, or the log ends there; without one, once the partition is
    /// acquired.
    beyond: Option<Offset>,
}

impl Suspension {
    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(60);

    pub(super) const fn next_wakeup(&self) -> Option<Moment> {
        self.retry
    }

    /// One more failure: the pause after it is twice as long as the one before.
    fn after(previous: Option<Self>, reason: SuspensionReason, beyond: Option<Offset>) -> Self {
        let (pause, before) = previous.map_or((Self::FIRST, None), |previous| {
            ((previous.pause * 2).min(Self::LONGEST), previous.beyond)
        });
        Self {
            reason,
            retry: None,
            pause,
            beyond: beyond.max(before),
        }
    }
}

/// Nothing is given up: nobody waits for the partition.
pub(super) const NEVER: Moment = Moment::new(Duration::MAX);

impl Engine {
    /// The partition cannot be counted now. Returns whether that suspends it: one that goes to another process, or is
    /// suspended already, does so as it is.
    ///
    /// Nothing is given up: nobody waits for the partition.
    pub(crate) fn suspend(
        &mut self,
        partition: Partition,
        reason: SuspensionReason,
        now: Moment,
    ) -> bool {
        let Some(task) = self.partitions.get(&partition) else {
            return false;
        };
        let beyond = match task.state {
            // Its lock is given back already.
            PartitionState::Acquiring => None,
            PartitionState::Counting => Some(task.ingested_end),
            PartitionState::Draining { .. } | PartitionState::Releasing => return false,
        };
        let previous = self.suspensions.remove(&partition);
        let suspension = Suspension::after(previous, reason, beyond);
        self.suspensions.insert(partition, suspension);
        if beyond.is_none() {
            self.on_partition_released(partition, now);
        } else {
            self.begin_draining(partition, NEVER);
        }
        true
    }

    /// The partition's lock is lost, or another member has written its checkpoint. Its events may be another member's, so
    /// nothing of it is begun or checkpointed any more; what is in flight is awaited. Returns whether that suspends it.
    pub(crate) fn forsake(
        &mut self,
        partition: Partition,
        reason: SuspensionReason,
        now: Moment,
    ) -> bool {
        let suspends = self.suspend(partition, reason, now);
        if let Some(task) = self.partitions.get_mut(&partition) {
            task.forsaken = true;
            task.writing = None;
            if task.state.is_draining() {
                task.state = PartitionState::Draining { give_up: now };
            }
        }
        suspends
    }

    /// ZooKeeper refuses the partition's checkpoint. It is suspended, and handed over once a later write succeeds: until
    /// then its lock is kept, so nothing is counted twice. Returns whether that suspends it.
    pub(crate) fn on_checkpoint_refused(
        &mut self,
        partition: Partition,
        reason: SuspensionReason,
        now: Moment,
    ) -> bool {
        if let Some(task) = self.partitions.get_mut(&partition) {
            task.writing = None;
            task.refused_until = Some(now.plus(Suspension::FIRST));
        }
        self.suspend(partition, reason, now)
    }

    /// A suspended partition is given back: it is acquired again after a pause.
    pub(super) fn pause_suspended(&mut self, partition: Partition, now: Moment) {
        if let Some(suspension) = self.suspensions.get_mut(&partition) {
            suspension.retry = Some(now.plus(suspension.pause));
        }
    }

    /// Acquires the suspended partitions whose pause is over.
    pub(super) fn retry_suspended(&mut self, now: Moment) {
        let due = self.suspensions.iter_mut().filter_map(|(partition, one)| {
            one.retry.take_if(|retry| now >= *retry).map(|_| *partition)
        });
        let due: Vec<_> = due.collect();
        for partition in due {
            self.assign(partition, now);
        }
    }

    /// The partition's lock is held again.
    pub(super) fn on_suspended_acquired(&mut self, partition: Partition) {
        if self
            .suspensions
            .get(&partition)
            .is_some_and(|suspension| suspension.beyond.is_none())
        {
            self.end_suspension(partition);
        }
    }

    /// Records up to `ingested_end` are ingested.
    pub(super) fn on_suspended_ingested(&mut self, partition: Partition, ingested_end: Offset) {
        if self
            .suspensions
            .get(&partition)
            .is_some_and(|suspension| suspension.beyond < Some(ingested_end))
        {
            self.end_suspension(partition);
        }
    }

    /// Nothing is left to ingest below the log's end: there need not be a record for the suspension to be over.
    pub(super) fn on_suspended_at_the_end(&mut self, partition: Partition, end_offset: Offset) {
        if self
            .suspensions
            .get(&partition)
            .is_some_and(|suspension| suspension.beyond <= Some(end_offset))
        {
            self.end_suspension(partition);
        }
    }

    /// The partition is counted again, or is another process's concern.
    pub(super) fn end_suspension(&mut self, partition: Partition) {
        if self.suspensions.remove(&partition).is_some() {
            self.commands.push(Command::EndSuspension(partition));
        }
    }
}
