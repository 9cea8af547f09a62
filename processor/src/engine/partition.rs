//! One Kafka partition of this process, from its assignment to its hand-over.

use std::collections::{BTreeSet, VecDeque};

use stitch_common::checkpoint::{Ceiling, Checkpoint};
use stitch_common::clock::Moment;
use stitch_common::event::Event;
use stitch_common::offset::Offset;
use stitch_common::ports::AssignmentEpoch;
use stitch_common::range::RangeId;

use super::dead_letters::DeadLetterQueue;
use super::{rule, usage};

/// The work on one partition: its state, its staged records and its checkpoint.
#[derive(Debug)]
pub(super) struct PartitionTask {
    pub(super) state: PartitionState,
    /// Assigned again while it is still being handed over.
    pub(super) assigned_again: bool,
    /// The start of the feed that counts; deliveries of others are dropped.
    pub(super) epoch: AssignmentEpoch,
    /// Where each range resumed when the partition was locked: earlier events are acknowledged already.
    pub(super) resumed: Checkpoint,
    /// The offset up to which records are ingested.
    pub(super) ingested_end: Offset,
    /// Records that wait until the rejected ones among or before them are copied, and until the ceiling is above their
    /// events.
    pub(super) staged: VecDeque<StagedRecords>,
    /// The rejected ones among them.
    pub(super) dead_letters: DeadLetterQueue,
    /// The checkpoint in ZooKeeper.
    pub(super) checkpoint: Checkpoint,
    /// The ceiling in ZooKeeper: nothing at or above it is begun (rule P9).
    pub(super) ceiling: Ceiling,
    /// The ceiling in ZooKeeper when the partition was locked: a former owner may have begun events below it.
    pub(super) found_ceiling: Ceiling,
    /// Ranges with a doubt of the events below that ceiling.
    pub(super) doubted: BTreeSet<RangeId>,
    /// The checkpoint and the ceiling that are being written to ZooKeeper.
    pub(super) writing: Option<(Checkpoint, Ceiling)>,
    /// When the next checkpoint is written, if it differs.
    pub(super) write_due: Moment,
    /// When the ceiling may be raised, if events wait for it.
    pub(super) raise_due: Moment,
    /// No checkpoint is written before this moment, because ZooKeeper refused the last one.
    pub(super) refused_until: Option<Moment>,
    /// Its lock is lost, or another member has written its checkpoint: nothing of it is sent or written any more.
    pub(super) forsaken: bool,
}

/// The state of one partition in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartitionState {
    /// Waits for its lock, or reads its checkpoint.
    Acquiring,
    /// Counts its events.
    Counting,
    /// Finishes and checkpoints what was begun, and begins nothing else.
    Draining {
        /// When increments that could not be applied are given up.
        give_up: Moment,
    },
    /// Releases its lock.
    Releasing,
}

impl PartitionState {
    /// Whether the partition's lock is held: only then is anything sent for its events (rule P1).
    #[must_use]
    pub const fn holds_lock(self) -> bool {
        matches!(self, Self::Counting | Self::Draining { .. })
    }

    /// Whether it is to be handed over to another process.
    #[must_use]
    pub const fn is_draining(self) -> bool {
        matches!(self, Self::Draining { .. })
    }
}

/// Decoded records in the order of the log.
#[derive(Debug)]
pub(super) struct StagedRecords {
    /// The events, by offset.
    pub(super) events: Vec<(Offset, Event)>,
    /// How many rejected records are not in the dead-letter topic yet.
    pub(super) uncopied: usize,
    /// The offset behind the last record.
    pub(super) end_offset: Offset,
    /// Their estimated size.
    pub(super) bytes: usize,
}

impl StagedRecords {
    /// No records, up to `end_offset`.
    pub(super) const fn up_to(end_offset: Offset) -> Self {
        Self {
            events: Vec::new(),
            uncopied: 0,
            end_offset,
            bytes: usage::STAGED_BYTES,
        }
    }

    /// Whether its events may be begun with this ceiling in ZooKeeper.
    pub(super) fn is_below(&self, ceiling: Ceiling) -> bool {
        let last = self.events.last();
        last.is_none_or(|(offset, _)| rule::is_below_ceiling(*offset, ceiling))
    }
}

impl PartitionTask {
    /// A partition whose lock is not held yet.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            state: PartitionState::Acquiring,
            assigned_again: false,
            epoch: AssignmentEpoch::default(),
            resumed: Checkpoint::default(),
            ingested_end: Offset::default(),
            staged: VecDeque::new(),
            dead_letters: DeadLetterQueue::default(),
            checkpoint: Checkpoint::default(),
            ceiling: Ceiling::AtCheckpoint,
            found_ceiling: Ceiling::AtCheckpoint,
            doubted: BTreeSet::new(),
            writing: None,
            write_due: now,
            raise_due: now,
            refused_until: None,
            forsaken: false,
        }
    }

    pub(super) const fn holds_lock(&self) -> bool {
        self.state.holds_lock() && !self.forsaken
    }

    /// Its state, as far as sending is concerned.
    pub(super) fn sending_state(&self) -> Option<PartitionState> {
        (!self.forsaken).then_some(self.state)
    }

    /// Whether ZooKeeper refused its last checkpoint a moment ago.
    pub(super) fn is_refused(&self, now: Moment) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// The offset behind the last delivered record.
    pub(super) fn delivered_end(&self) -> Offset {
        self.staged
            .back()
            .map_or(self.ingested_end, |records| records.end_offset)
    }

    /// Whether events wait for a higher ceiling.
    pub(super) fn wants_higher_ceiling(&self) -> bool {
        !self
            .staged
            .iter()
            .all(|records| records.is_below(self.ceiling))
    }

    /// The ceiling for a partition that is counted on: above all that has been delivered.
    pub(super) fn raised_ceiling(&self, highest_checkpoint: Offset) -> Ceiling {
        let delivered = self.delivered_end().max(highest_checkpoint);
        Ceiling::At(self.ceiling.acknowledged().max(delivered))
    }

    pub(super) fn next_wakeup(&self) -> Option<Moment> {
        match self.state {
            PartitionState::Counting if self.writing.is_some() => None,
            PartitionState::Counting if self.wants_higher_ceiling() => {
                Some(self.write_due.min(self.raise_due))
            }
            PartitionState::Counting => Some(self.write_due),
            PartitionState::Draining { give_up } => Some(
                self.refused_until
                    .map_or(give_up, |until| until.min(give_up)),
            ),
            PartitionState::Acquiring | PartitionState::Releasing => None,
        }
    }
}
