//! One Kafka partition: from its assignment to its hand-over.

use std::collections::{BTreeSet, VecDeque};

use stitch_common::checkpoint::Checkpoint;
use stitch_common::clock::Moment;
use stitch_common::event::Event;
use stitch_common::offset::Offset;
use stitch_common::ports::AssignmentEpoch;

/// What a processor knows of one partition.
#[derive(Debug)]
pub(crate) struct PartitionProgress {
    pub(super) stage: PartitionState,
    /// Assigned again while it is still being handed over.
    pub(super) assigned_again: bool,
    /// Which start of the feed counts; deliveries of others are dropped.
    pub(super) epoch: AssignmentEpoch,
    /// Where each range resumed when the partition was taken: earlier events are answered already.
    pub(super) resumed: Checkpoint,
    /// The place up to which records have been taken in.
    pub(super) taken_in: Offset,
    /// Records that wait until the rejected ones among or before them are copied.
    pub(super) staged: VecDeque<Staged>,
    /// Checkpoint as it stands in ZooKeeper.
    pub(super) written: Checkpoint,
    /// Checkpoint on its way to ZooKeeper.
    pub(super) writing: Option<Checkpoint>,
    /// When progress is written next, if there is any.
    pub(super) write_due: Moment,
}

/// What a partition is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionState {
    /// Its lock is waited for, or its progress is being read.
    Acquiring,
    /// Its events are counted.
    Counting,
    /// What was begun is finished and written; nothing else is begun.
    Draining {
        /// When what could not be applied is given up.
        give_up: Moment,
    },
    /// Its lock is being released.
    Releasing,
}

impl PartitionState {
    /// Whether the partition's lock is held: only then anything is sent for its events (rule P1).
    #[must_use]
    pub const fn holds_lock(self) -> bool {
        matches!(self, Self::Counting | Self::Draining { .. })
    }

    /// Whether it is to be given to another process.
    #[must_use]
    pub const fn is_handing_over(self) -> bool {
        matches!(self, Self::Draining { .. })
    }
}

/// Decoded records in the order of the log.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The events, by offset.
    pub(super) events: Vec<(Offset, Event)>,
    /// Rejected records that are not copied yet.
    pub(super) uncopied: BTreeSet<Offset>,
    /// The place behind them.
    pub(super) end_offset: Offset,
    /// What they weigh.
    pub(super) bytes: usize,
}

impl Staged {
    /// Nothing yet, behind `end_offset`.
    pub(super) const fn behind(end_offset: Offset) -> Self {
        Self {
            events: Vec::new(),
            uncopied: BTreeSet::new(),
            end_offset,
            bytes: 0,
        }
    }
}

impl PartitionProgress {
    /// The place behind all that was delivered.
    pub(super) fn delivered_upto(&self) -> Offset {
        self.staged
            .back()
            .map_or(self.taken_in, |staged| staged.end_offset)
    }

    pub(super) fn taking(now: Moment) -> Self {
        Self {
            stage: PartitionState::Acquiring,
            assigned_again: false,
            epoch: AssignmentEpoch::default(),
            resumed: Checkpoint::default(),
            taken_in: Offset::default(),
            staged: VecDeque::new(),
            written: Checkpoint::default(),
            writing: None,
            write_due: now,
        }
    }

    /// Whether its lock is held.
    pub(super) const fn holds_lock(&self) -> bool {
        self.stage.holds_lock()
    }

    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        match self.stage {
            PartitionState::Counting if self.writing.is_none() => Some(self.write_due),
            PartitionState::Draining { give_up } => Some(give_up),
            PartitionState::Acquiring | PartitionState::Counting | PartitionState::Releasing => {
                None
            }
        }
    }
}
