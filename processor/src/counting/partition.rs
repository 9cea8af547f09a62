//! One Kafka partition: from its assignment to its hand-over.

use std::collections::{BTreeSet, VecDeque};

use stitch_common::clock::Moment;
use stitch_common::event::Event;
use stitch_common::offset::Offset;
use stitch_common::ports::Run;
use stitch_common::progress::Progress;

/// What a processor knows of one partition.
#[derive(Debug)]
pub(crate) struct PartitionCounting {
    pub(super) stage: Stage,
    /// Assigned again while it is still being handed over.
    pub(super) assigned_again: bool,
    /// Which start of the feed counts; deliveries of others are dropped.
    pub(super) run: Run,
    /// Where each range resumed when the partition was taken: earlier events are answered already.
    pub(super) resumed: Progress,
    /// The place up to which records have been taken in.
    pub(super) taken_in: Offset,
    /// Records that wait until the rejected ones among or before them are copied.
    pub(super) staged: VecDeque<Staged>,
    /// Progress as it stands in ZooKeeper.
    pub(super) written: Progress,
    /// Progress on its way to ZooKeeper.
    pub(super) writing: Option<Progress>,
    /// When progress is written next, if there is any.
    pub(super) write_due: Moment,
}

/// What a partition is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its lock is waited for, or its progress is being read.
    Taking,
    /// Its events are counted.
    Counting,
    /// What was begun is finished and written; nothing else is begun.
    HandingOver {
        /// When what could not be applied is given up.
        give_up: Moment,
    },
    /// Its lock is being released.
    GivingBack,
}

impl Stage {
    /// Whether the partition's lock is held: only then anything is sent for its events (rule P1).
    #[must_use]
    pub const fn holds_lock(self) -> bool {
        matches!(self, Self::Counting | Self::HandingOver { .. })
    }

    /// Whether it is to be given to another process.
    #[must_use]
    pub const fn is_handing_over(self) -> bool {
        matches!(self, Self::HandingOver { .. })
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
    pub(super) upto: Offset,
    /// What they weigh.
    pub(super) bytes: usize,
}

impl Staged {
    /// Nothing yet, behind `upto`.
    pub(super) const fn behind(upto: Offset) -> Self {
        Self {
            events: Vec::new(),
            uncopied: BTreeSet::new(),
            upto,
            bytes: 0,
        }
    }
}

impl PartitionCounting {
    /// The place behind all that was delivered.
    pub(super) fn delivered_upto(&self) -> Offset {
        self.staged
            .back()
            .map_or(self.taken_in, |staged| staged.upto)
    }

    pub(super) fn taking(now: Moment) -> Self {
        Self {
            stage: Stage::Taking,
            assigned_again: false,
            run: Run::default(),
            resumed: Progress::default(),
            taken_in: Offset::default(),
            staged: VecDeque::new(),
            written: Progress::default(),
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
            Stage::Counting if self.writing.is_none() => Some(self.write_due),
            Stage::HandingOver { give_up } => Some(give_up),
            Stage::Taking | Stage::Counting | Stage::GivingBack => None,
        }
    }
}
