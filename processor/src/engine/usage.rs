//! Accounting of buffered events: it bounds memory, and the work of a stop.

use std::sync::Arc;

use stitch_common::event::Event;
use stitch_common::ports::Record;

use super::Limits;
use super::buffer::CounterRef;
use super::partition::StagedRecords;

/// The estimated size of a contribution without its key, in bytes.
const CONTRIBUTION_BYTES: usize = 160;

/// The size of a delivery of which no record is counted, in bytes: it waits like the others.
pub(super) const STAGED_BYTES: usize = 128;

/// The estimated size of a rejected record without its bytes, in bytes: as it waits, and as it is being copied.
const REJECTED_BYTES: usize = 512;

/// Events ingested and not acknowledged, and the records staged before them.
#[derive(Debug, Default)]
pub(super) struct BufferUsage {
    events: usize,
    bytes: usize,
    counters: usize,
}

impl BufferUsage {
    /// Whether there is room for more.
    pub(super) const fn is_below(&self, limits: &Limits) -> bool {
        self.has_room(limits) && self.bytes < limits.window_bytes_max
    }

    /// Whether more of the staged records may be ingested, which count in bytes already.
    pub(super) const fn has_room(&self, limits: &Limits) -> bool {
        self.events < limits.window_events_max && self.counters < limits.window_counters_max
    }

    /// Buffered events, counted once for each range that they touch.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counters with contributions that wait or are in flight: at least as many batches are still to be acknowledged.
    pub(super) const fn counters(&self) -> usize {
        self.counters
    }

    pub(super) const fn add_event(&mut self) {
        self.events += 1;
    }

    pub(super) const fn remove_events(&mut self, count: usize) {
        self.events -= count;
    }

    pub(super) const fn add_counter(&mut self) {
        self.counters += 1;
    }

    pub(super) const fn remove_counter(&mut self) {
        self.counters -= 1;
    }

    pub(super) fn add_contribution(&mut self, counter: &CounterRef) {
        self.bytes += contribution_bytes(counter);
    }

    pub(super) fn remove_contributions(&mut self, counter: &CounterRef, count: usize) {
        self.bytes -= contribution_bytes(counter) * count;
    }

    pub(super) const fn add_staged(&mut self, records: &StagedRecords) {
        self.bytes += records.bytes;
    }

    pub(super) const fn remove_staged(&mut self, records: &StagedRecords) {
        self.bytes -= records.bytes;
    }
}

fn contribution_bytes(counter: &CounterRef) -> usize {
    CONTRIBUTION_BYTES + counter.key.0.len()
}

/// The estimated size of a decoded event, in bytes.
pub(super) fn event_bytes(event: &Event) -> usize {
    let of_increments = event
        .increments
        .iter()
        .map(|increment| CONTRIBUTION_BYTES + increment.counter.key.0.len());
    CONTRIBUTION_BYTES + of_increments.sum::<usize>()
}

/// The estimated size of a rejected record that is not copied yet, in bytes. It takes memory however short it is.
pub(super) fn rejected_bytes(record: &Record, reason: &str) -> usize {
    let bytes = |part: &Option<Arc<[u8]>>| part.as_ref().map_or(0, |bytes| bytes.len());
    REJECTED_BYTES + bytes(&record.key) + bytes(&record.value) + reason.len()
}
