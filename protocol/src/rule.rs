//! The rules of this crate that the simulation can remove one at a time, each as a question. Nothing else in the crate
//! knows of removed rules; in the product every rule holds.

use std::time::Duration;

use stitch_common::mutation::{Rule, out};

use crate::contender::Kind;

/// The random half of a member's id, of the number that was drawn for its session (P7).
pub(crate) fn nonce_of(drawn: u64) -> u64 {
    if out(Rule::RandomIds) { 0 } else { drawn }
}

/// Whether a partition's lock is waited for (P1).
pub(crate) fn waits_for_partition_lock() -> bool {
    !out(Rule::PartitionLock)
}

/// Whether a range's lock is waited for (R2).
pub(crate) fn waits_for_range_lock(kind: Kind) -> bool {
    kind == Kind::Shared || !out(Rule::WaitGranted)
}

/// Whether a transaction passes only with the lock and the version that it was prepared with (P1).
pub(crate) fn fences() -> bool {
    !out(Rule::Fence)
}

/// Whether a member with something in doubt keeps its node (P8).
pub(crate) fn in_doubt_keeps_member() -> bool {
    !out(Rule::LeaveWithoutDoubt)
}

/// Whether a member with connections that are, or may be, open keeps its node (P8).
pub(crate) fn connection_keeps_member() -> bool {
    !out(Rule::LeaveUnlisted)
}

/// Whether an in-doubt marker is removed in one transaction with a doubt of its range.
pub(crate) fn doubt_replaces_marker() -> bool {
    !out(Rule::DoubtReplacesMarker)
}

/// Whether the connection of a dead member holds up the barrier.
pub(crate) fn connection_blocks() -> bool {
    !out(Rule::QuiescenceConnections)
}

/// Whether a node has to apply an increment to count as answering, and not only to answer reads.
pub(crate) fn probe_is_an_increment() -> bool {
    !out(Rule::ProbeIncrements)
}

/// Whether nodes that members have recorded are asked, whatever the ring says.
pub(crate) fn known_nodes_are_asked() -> bool {
    !out(Rule::KnownNodes)
}

/// Whether a silent node holds up the barrier.
pub(crate) fn silence_blocks() -> bool {
    !out(Rule::QuiescenceSilence)
}

/// Whether a new epoch of the ensemble restarts the quiet period.
pub(crate) fn new_epoch_restarts() -> bool {
    !out(Rule::QuiescenceEpoch)
}

/// Whether the keepalive of every member counts, not the observer's own alone.
pub(crate) fn senders_keepalive_counts() -> bool {
    !out(Rule::SendersKeepalive)
}

/// Whether a quiet period that has lasted for `passed` is long enough.
pub(crate) fn is_quiet_for_long_enough(passed: Duration, needed: Duration) -> bool {
    passed >= needed || out(Rule::QuiescencePeriod)
}
