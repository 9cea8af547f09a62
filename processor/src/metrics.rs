//! Every metric of the processor, and nothing else: names, units, labels. Described in `docs/operations.md`.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use stitch_common::offset::{Offset, Partition};
use stitch_common::outcome::Outcome;

use crate::engine::Gauges;

const EVENTS: &str = "stitch_events_total";
const CELLS: &str = "stitch_cells_applied_total";
const REQUESTS: &str = "stitch_requests_total";
const SUSPECTS: &str = "stitch_suspect_cells_total";
const HELD_EVENTS: &str = "stitch_buffered_events";
const HELD_BYTES: &str = "stitch_buffered_bytes";
const HELD_COUNTERS: &str = "stitch_buffered_counters";
const PARKED_EVENTS: &str = "stitch_blocked_events";
const IN_FLIGHT: &str = "stitch_requests_in_flight";
const RANGE_LOCKS: &str = "stitch_range_locks_held";
const RANGES_STOPPED: &str = "stitch_ranges_stopped";
const PARTITIONS: &str = "stitch_partitions_held";
const LEASE_LEFT: &str = "stitch_lease_remaining_seconds";
const PROGRESS: &str = "stitch_checkpoint_offset";
const LAG: &str = "stitch_lag_events";
const MEMBERSHIPS: &str = "stitch_sessions_total";

/// What became of the records of one delivery.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) counted: u64,
    pub(crate) ignored: u64,
    pub(crate) rejected: u64,
}

impl Decoded {
    pub(crate) fn report(&self) {
        counter!(EVENTS, "verdict" => "counted").increment(self.counted);
        counter!(EVENTS, "verdict" => "ignored").increment(self.ignored);
        counter!(EVENTS, "verdict" => "rejected").increment(self.rejected);
    }
}

/// A request has been answered, or will not be.
pub(crate) fn request(outcome: &Outcome, cells: usize) {
    counter!(REQUESTS, "outcome" => label(outcome)).increment(1);
    if *outcome == Outcome::Applied {
        counter!(CELLS).increment(cells as u64);
    }
}

const fn label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied => "applied",
        Outcome::NotApplied(_) => "not_applied",
        Outcome::Refused(_) => "refused",
        Outcome::Unknown(_) => "unknown",
    }
}

/// Cells that only a restoration can prove right again.
pub(crate) fn suspects(cells: usize) {
    counter!(SUSPECTS).increment(cells as u64);
}

/// The process has become a new member.
pub(crate) fn membership() {
    counter!(MEMBERSHIPS).increment(1);
}

/// What is held now.
pub(crate) fn show(gauges: Gauges, lease_left: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    set(HELD_EVENTS, gauges.held_events);
    set(HELD_BYTES, gauges.held_bytes);
    set(HELD_COUNTERS, gauges.held_counters);
    set(PARKED_EVENTS, gauges.parked_events);
    set(IN_FLIGHT, gauges.requests_in_flight);
    set(RANGE_LOCKS, gauges.range_locks);
    set(RANGES_STOPPED, gauges.ranges_stopped);
    set(PARTITIONS, gauges.partitions);
    gauge!(LEASE_LEFT).set(lease_left.as_secs_f64());
}

/// Where a partition stands; `end` is the log's, as far as it was seen.
pub(crate) fn position(partition: Partition, progress: Offset, end: Offset) {
    let label = partition.to_string();
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let (progress_value, lag) = (
        progress.0 as f64,
        end.0.saturating_sub(progress.0).max(0) as f64,
    );
    gauge!(PROGRESS, "partition" => label.clone()).set(progress_value);
    gauge!(LAG, "partition" => label).set(lag);
}

/// Names every metric at the start, so that zeros show.
pub fn register() {
    describe_counter!(EVENTS, "records of the event topic by verdict");
    describe_counter!(CELLS, "cells incremented");
    describe_counter!(REQUESTS, "counter batches by outcome");
    describe_counter!(
        SUSPECTS,
        "cells that may be wrong until a restoration proves them right"
    );
    describe_gauge!(
        HELD_EVENTS,
        "events taken in and not answered, once for each range they touch"
    );
    describe_gauge!(HELD_BYTES, "memory that these take, in bytes");
    describe_gauge!(HELD_COUNTERS, "counters to which they add");
    describe_gauge!(
        PARKED_EVENTS,
        "those of them whose range is not locked, or stopped"
    );
    describe_gauge!(IN_FLIGHT, "counter batches on their way");
    describe_gauge!(RANGE_LOCKS, "shared range locks held");
    describe_gauge!(
        RANGES_STOPPED,
        "ranges whose increments Cassandra refuses for good"
    );
    describe_gauge!(PARTITIONS, "Kafka partitions whose lock is held");
    describe_gauge!(
        LEASE_LEFT,
        "how long this process may go on sending without ZooKeeper"
    );
    describe_gauge!(
        PROGRESS,
        "offset below which every event is answered, by partition"
    );
    describe_gauge!(
        LAG,
        "records between progress and the log's end, by partition"
    );
    describe_counter!(
        MEMBERSHIPS,
        "ZooKeeper sessions with which this process has counted"
    );
    Decoded::default().report();
    counter!(CELLS).increment(0);
    counter!(SUSPECTS).increment(0);
    counter!(MEMBERSHIPS).increment(0);
    for outcome in ["applied", "not_applied", "refused", "unknown"] {
        counter!(REQUESTS, "outcome" => outcome).increment(0);
    }
    for name in [
        HELD_EVENTS,
        HELD_BYTES,
        HELD_COUNTERS,
        PARKED_EVENTS,
        IN_FLIGHT,
        RANGE_LOCKS,
        RANGES_STOPPED,
        PARTITIONS,
        LEASE_LEFT,
    ] {
        gauge!(name).set(0.0);
    }
}
