//! Copies of rejected records to the dead-letter topic: a few at a time, in the order of the log. Those that wait are
//! staged with the events around them, and weigh in the window.

use std::collections::VecDeque;

use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Record};

use super::partition::PartitionState;
use super::{Command, Engine};

/// The most copies of one partition in flight.
const IN_FLIGHT_MAX: usize = 64;

/// A rejected record, and why it is.
#[derive(Debug)]
pub(super) struct RejectedRecord {
    pub(super) record: Record,
    pub(super) reason: String,
}

/// The rejected records of one partition that are staged: those that wait, in order, and how many are in flight.
#[derive(Debug, Default)]
pub(super) struct DeadLetterQueue {
    waiting: VecDeque<RejectedRecord>,
    in_flight: usize,
}

impl DeadLetterQueue {
    pub(super) fn push(&mut self, rejected: RejectedRecord) {
        self.waiting.push_back(rejected);
    }

    /// Forgets what waits: it is delivered again.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    fn next(&mut self) -> Option<RejectedRecord> {
        if self.in_flight >= IN_FLIGHT_MAX {
            return None;
        }
        let next = self.waiting.pop_front()?;
        self.in_flight += 1;
        Some(next)
    }
}

impl Engine {
    /// Begins copies of the partition's rejected records, as many as may be in flight.
    pub(super) fn copy_rejected(&mut self, partition: Partition) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        while let Some(RejectedRecord { record, reason }) = task.dead_letters.next() {
            let copy = Command::CopyRejected(partition, task.epoch, record, reason);
            self.commands.push(copy);
        }
    }

    /// A rejected record is in the dead-letter topic.
    pub(crate) fn on_rejected_copied(
        &mut self,
        partition: Partition,
        epoch: AssignmentEpoch,
        offset: Offset,
    ) {
        let Some(task) = self.partitions.get_mut(&partition) else {
            return;
        };
        if task.state != PartitionState::Counting || task.epoch != epoch {
            return;
        }
        task.dead_letters.in_flight -= 1;
        // They are in the order of the log.
        let of_offset = task
            .staged
            .partition_point(|staged| staged.end_offset <= offset);
        if let Some(staged) = task.staged.get_mut(of_offset) {
            staged.uncopied -= 1;
        }
        self.copy_rejected(partition);
        self.ingest_staged(partition);
    }
}
