//! Accounting of buffered events: it bounds memory, and the work of a stop.

use std::sync::Arc;

use stitch_common::cell::Key;
use stitch_common::event::Event;
use stitch_common::ports::Record;

use super::Limits;
use super::buffer::CounterRef;
use super::partition::StagedRecords;

/// The size of a contribution, in bytes: 32 in a queue that doubles as it grows.
const CONTRIBUTION_BYTES: usize = 48;

/// The size of a counter with contributions, without its key, in bytes: its entry, its place in a queue, and its own queue.
const COUNTER_BYTES: usize = 192;

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
        self.bytes < limits.window_bytes_max
    }

    /// Buffered events, counted once for each range that they touch.
    pub(super) const fn events(&self) -> usize {
        self.events
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counters with contributions that wait or are in flight.
    pub(super) const fn counters(&self) -> usize {
        self.counters
    }

    pub(super) const fn add_event(&mut self) {
        self.events += 1;
    }

    pub(super) const fn remove_events(&mut self, count: usize) {
        self.events -= count;
    }

    pub(super) fn add_counter(&mut self, counter: &CounterRef) {
        self.counters += 1;
        self.bytes += counter_bytes(&counter.key);
    }

    pub(super) fn remove_counter(&mut self, counter: &CounterRef) {
        self.counters -= 1;
        self.bytes -= counter_bytes(&counter.key);
    }

    pub(super) const fn add_contribution(&mut self) {
        self.bytes += CONTRIBUTION_BYTES;
    }

    pub(super) const fn remove_contributions(&mut self, count: usize) {
        self.bytes -= CONTRIBUTION_BYTES * count;
    }

    pub(super) const fn add_staged(&mut self, records: &StagedRecords) {
        self.bytes += records.bytes;
    }

    pub(super) const fn remove_staged(&mut self, records: &StagedRecords) {
        self.bytes -= records.bytes;
    }
}

fn counter_bytes(key: &Key) -> usize {
    COUNTER_BYTES + key.0.len()
}

/// The estimated size of a range's part of the window, without keys, in bytes.
pub(super) const fn range_bytes(contributions: usize, counters: usize) -> usize {
    contributions * CONTRIBUTION_BYTES + counters * COUNTER_BYTES
}

/// The size of a decoded event, in bytes: that of its contributions if each is the first of its counter.
pub(super) fn event_bytes(event: &Event) -> usize {
    let of_increments = event
        .increments
        .iter()
        .map(|increment| CONTRIBUTION_BYTES + counter_bytes(&increment.counter.key));
    CONTRIBUTION_BYTES + of_increments.sum::<usize>()
}

/// The estimated size of a rejected record that is not copied yet, in bytes. It takes memory however short it is.
pub(super) fn rejected_bytes(record: &Record, reason: &str) -> usize {
    let bytes = |part: &Option<Arc<[u8]>>| part.as_ref().map_or(0, |bytes| bytes.len());
    REJECTED_BYTES + bytes(&record.key) + bytes(&record.value) + reason.len()
}
