//! Every metric of the processor, and nothing else: names, units, labels. Described in `docs/operations/metrics.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use stitch_common::invariant;
use stitch_common::offset::{Offset, Partition};
use stitch_common::outcome::Outcome;

use crate::engine::{Gauges, SuspensionReason};

const EVENTS: &str = "stitch_events_total";
const CELLS: &str = "stitch_cells_applied_total";
const REQUESTS: &str = "stitch_requests_total";
const SUSPECTS: &str = "stitch_suspect_cells_total";
const BUFFERED_EVENTS: &str = "stitch_buffered_events";
const BUFFERED_BYTES: &str = "stitch_buffered_bytes";
const BUFFERED_COUNTERS: &str = "stitch_buffered_counters";
const BLOCKED_EVENTS: &str = "stitch_blocked_events";
const IN_FLIGHT: &str = "stitch_requests_in_flight";
const RANGE_LOCKS: &str = "stitch_range_locks_held";
const REFUSED_RANGES: &str = "stitch_refused_ranges";
const SUSPENDED_PARTITIONS: &str = "stitch_suspended_partitions";
const PARTITIONS: &str = "stitch_partitions_held";
const LEASE_REMAINING: &str = "stitch_lease_remaining_seconds";
const CHECKPOINT: &str = "stitch_checkpoint_offset";
const LAG: &str = "stitch_lag_events";
const SESSIONS: &str = "stitch_sessions_total";

/// The verdicts on the records of one delivery.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) counted: u64,
    pub(crate) ignored: u64,
    pub(crate) rejected: u64,
}

impl Verdicts {
    pub(crate) fn report(&self) {
        counter!(EVENTS, "verdict" => "counted").increment(self.counted);
        counter!(EVENTS, "verdict" => "ignored").increment(self.ignored);
        counter!(EVENTS, "verdict" => "rejected").increment(self.rejected);
    }
}

/// Counts a counter batch by its outcome.
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
        Outcome::Unauthorized(_) => "unauthorized",
        Outcome::Unknown(_) => "unknown",
    }
}

/// Counts cells that only a restoration can verify.
pub(crate) fn suspects(cells: usize) {
    counter!(SUSPECTS).increment(cells as u64);
}

/// Counts a session: the process has become a new member.
pub(crate) fn membership() {
    counter!(SESSIONS).increment(1);
}

/// The gauges of a member: they end with it, so that nothing is shown as held or counted while there is none.
#[derive(Debug, Default)]
pub(crate) struct MemberGauges {
    /// The partitions whose position is shown.
    partitions: BTreeSet<Partition>,
}

impl MemberGauges {
    /// Shows the positions of these partitions, with checkpoint and end of the log, and of no other.
    pub(crate) fn show_positions(
        &mut self,
        positions: impl IntoIterator<Item = (Partition, Offset, Offset)>,
    ) {
        let before = std::mem::take(&mut self.partitions);
        for (partition, checkpoint, end) in positions {
            position(partition, checkpoint, end);
            self.partitions.insert(partition);
        }
        for partition in before.difference(&self.partitions) {
            // Another process shows it, or none.
            position(*partition, Offset(0), Offset(0));
        }
    }
}

impl Drop for MemberGauges {
    fn drop(&mut self) {
        self.show_positions([]);
        show(Gauges::default(), Duration::ZERO);
        for reason in SuspensionReason::EVERY {
            suspended(reason, 0);
        }
    }
}

/// Sets the gauges.
pub(crate) fn show(gauges: Gauges, lease_remaining: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let set = |name: &'static str, value: usize| gauge!(name).set(value as f64);
    set(BUFFERED_EVENTS, gauges.buffered_events);
    set(BUFFERED_BYTES, gauges.buffered_bytes);
    set(BUFFERED_COUNTERS, gauges.buffered_counters);
    set(BLOCKED_EVENTS, gauges.blocked_events);
    set(IN_FLIGHT, gauges.requests_in_flight);
    set(RANGE_LOCKS, gauges.range_locks);
    set(REFUSED_RANGES, gauges.refused_ranges);
    set(PARTITIONS, gauges.partitions);
    gauge!(LEASE_REMAINING).set(lease_remaining.as_secs_f64());
}

/// Sets how many partitions are suspended for this reason.
pub(crate) fn suspended(reason: SuspensionReason, partitions: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    gauge!(SUSPENDED_PARTITIONS, "reason" => reason.name()).set(partitions as f64);
}

/// Sets a partition's checkpoint and lag; `end` is the log's last known end.
fn position(partition: Partition, checkpoint: Offset, end: Offset) {
    let label = partition.to_string();
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a double")]
    let (offset, lag) = (
        checkpoint.0 as f64,
        end.0.saturating_sub(checkpoint.0).max(0) as f64,
    );
    gauge!(CHECKPOINT, "partition" => label.clone()).set(offset);
    gauge!(LAG, "partition" => label).set(lag);
}

/// Registers every metric at the start, so that zeros show.
pub fn register() {
    describe_counter!(EVENTS, "records of the event topic by verdict");
    describe_counter!(CELLS, "cells incremented");
    describe_counter!(REQUESTS, "counter batches by outcome");
    describe_counter!(
        SUSPECTS,
        "cells that may be wrong until a restoration verifies them"
    );
    describe_gauge!(
        BUFFERED_EVENTS,
        "buffered events not yet acknowledged, counted once per range"
    );
    describe_gauge!(BUFFERED_BYTES, "memory that buffered events take, in bytes");
    describe_gauge!(BUFFERED_COUNTERS, "counters that buffered events increment");
    describe_gauge!(
        BLOCKED_EVENTS,
        "buffered events whose range is not locked, or has refused increments"
    );
    describe_gauge!(IN_FLIGHT, "counter batches in flight");
    describe_gauge!(RANGE_LOCKS, "shared range locks held");
    describe_gauge!(
        REFUSED_RANGES,
        "ranges with increments that Cassandra refuses; they are tried again"
    );
    describe_gauge!(
        SUSPENDED_PARTITIONS,
        "partitions of this process that cannot be counted now, by reason"
    );
    describe_gauge!(PARTITIONS, "Kafka partitions whose lock is held");
    describe_gauge!(
        LEASE_REMAINING,
        "how long this process may go on sending without ZooKeeper"
    );
    describe_gauge!(
        CHECKPOINT,
        "offset below which every event is acknowledged, by partition"
    );
    describe_gauge!(
        LAG,
        "records between the checkpoint and the log's end, by partition"
    );
    describe_counter!(
        SESSIONS,
        "ZooKeeper sessions with which this process has counted"
    );
    show_zeros();
}

fn show_zeros() {
    Verdicts::default().report();
    counter!(CELLS).increment(0);
    counter!(SUSPECTS).increment(0);
    counter!(SESSIONS).increment(0);
    for outcome in [
        "applied",
        "not_applied",
        "refused",
        "unauthorized",
        "unknown",
    ] {
        counter!(REQUESTS, "outcome" => outcome).increment(0);
    }
    drop(MemberGauges::default());
    invariant::show_zeros();
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use stitch_common::invariant::Invariant;

    use super::*;

    /// What the metrics say of these series.
    fn shown(work: impl FnOnce(&dyn Fn(&str) -> Vec<String>)) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        let lines = |name: &str| {
            let text = handle.render();
            let lines = text.lines().filter(|line| line.starts_with(name));
            let mut lines: Vec<_> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        metrics::with_local_recorder(&recorder, || work(&lines));
    }

    /// An alert that asks how much a counter has risen sees nothing of one that begins with 1.
    #[test]
    fn every_invariant_is_shown_before_it_is_broken() {
        shown(|lines| {
            show_zeros();
            let shown = lines("stitch_invariants_broken_total");
            let expected = Invariant::EVERY.map(|invariant| {
                format!("stitch_invariants_broken_total{{invariant=\"{invariant}\"}} 0")
            });
            assert_eq!(shown, expected);
        });
    }

    #[test]
    fn a_partition_that_moves_to_another_process_has_no_lag_here() {
        shown(|lines| {
            let mut gauges = MemberGauges::default();
            let of = |partition, checkpoint, end| {
                (Partition(partition), Offset(checkpoint), Offset(end))
            };
            gauges.show_positions([of(0, 10, 12), of(3, 5, 50_005)]);
            assert_eq!(
                lines(LAG),
                [
                    "stitch_lag_events{partition=\"0\"} 2",
                    "stitch_lag_events{partition=\"3\"} 50000"
                ]
            );
            gauges.show_positions([of(0, 10, 13)]);
            assert_eq!(
                lines(LAG),
                [
                    "stitch_lag_events{partition=\"0\"} 3",
                    "stitch_lag_events{partition=\"3\"} 0"
                ]
            );
        });
    }

    #[test]
    fn nothing_is_held_and_nothing_lags_once_the_member_has_ended() {
        shown(|lines| {
            let mut gauges = MemberGauges::default();
            gauges.show_positions([(Partition(0), Offset(10), Offset(12))]);
            suspended(SuspensionReason::Log, 1);
            let held = Gauges {
                partitions: 12,
                range_locks: 64,
                ..Gauges::default()
            };
            show(held, Duration::from_secs(4));
            assert_eq!(lines(PARTITIONS), ["stitch_partitions_held 12"]);
            drop(gauges);
            assert_eq!(lines(PARTITIONS), ["stitch_partitions_held 0"]);
            assert_eq!(lines(RANGE_LOCKS), ["stitch_range_locks_held 0"]);
            assert_eq!(lines(LEASE_REMAINING), ["stitch_lease_remaining_seconds 0"]);
            assert_eq!(lines(LAG), ["stitch_lag_events{partition=\"0\"} 0"]);
            let suspended = lines(SUSPENDED_PARTITIONS);
            assert_eq!(suspended.len(), SuspensionReason::EVERY.len());
            assert!(
                suspended.iter().all(|line| line.ends_with(" 0")),
                "{suspended:?}"
            );
        });
    }
}
