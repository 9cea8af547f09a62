//! The rules of the protocol that can be removed from the model, to show that it finds what they prevent.

/// A rule, with its number in `docs/architecture.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// P1: nothing is sent without the partition's lock.
    PartitionLock,
    /// P1: the checkpoint is read only under that lock.
    ReadUnderLock,
    /// P1: the checkpoint is written only while that lock is held.
    Fence,
    /// P2: nothing is sent without the range's shared lock.
    SharedLock,
    /// P3: nothing is sent without a valid lease.
    Lease,
    /// P4: an increment of unknown outcome is not sent again.
    NeverResend,
    /// P5: the checkpoint passes only acknowledged events.
    Acknowledged,
    /// P5: an unknown outcome is acknowledged only by an in-doubt marker.
    MarkerBeforeAck,
    /// P6: everything that was begun is drained before a range is released.
    DrainedFirst,
    /// P6: the checkpoint is written before a range is released.
    WrittenFirst,
    /// P6: the checkpoint is right after the last event that was begun, not beyond.
    CheckpointExact,
    /// P7: the checkpoint of a partition that was handed over is read again.
    CheckpointReread,
    /// P8: a member that leaves with a request in doubt stays behind as a dead member.
    LeaveWithoutDoubt,
    /// P9: nothing is begun at or above the ceiling in ZooKeeper.
    BelowCeiling,
    /// R1: in-doubt markers and dead members are read after the base cut, not before.
    MarkersAfterCut,
    /// R1: the barrier is awaited before the scan.
    QuiescenceBeforeRead,
    /// R1: and again when converging.
    QuiescenceInConvergence,
    /// R2: nothing is done before every earlier entry of the queue is deleted.
    ExclusiveLock,
    /// R2: the barrier is awaited after the grant.
    QuiescenceAfterGrant,
    /// R3: the cut is read under the lock.
    CutUnderLock,
    /// R4: the ceilings are read after the grant.
    CeilingAfterGrant,
    /// R1, R4: the log is followed to the ceilings, not to the end that a broker reports.
    CeilingNotEnd,
    /// R4: cells with an event from the cut up to the ceiling are dirty, too.
    DirtyBeyondCut,
    /// R4: cells with an event that the cut has passed since they were judged are read.
    PassedAreRead,
    /// R6: the barrier is awaited after a correction of unknown outcome, before cells are read again.
    QuiescenceAfterUnknown,
    /// R7: corrected cells are read again.
    Verify,
    /// R8: a range with a request in doubt is marked before it is given back.
    MarkerAtRelease,
    /// Quiescence: the barrier waits for the connections of dead members.
    QuiescenceConnections,
    /// Quiescence: the barrier waits for living members that are frozen.
    QuiescenceFrozenMembers,
    /// Quiescence: only markers and dead members that were read before the barrier are deleted after it.
    DeleteOnlyRead,
    /// Correction without a lock: the ceilings are read after the cells.
    CeilingAfterRead,
    /// Correction without a lock: only for cells without an event from the base cut up to the ceilings.
    CorrectAtRest,
    /// Correction without a lock: the range of one in doubt is marked, so that a barrier is awaited.
    MarkerAtRest,
    /// Correction without a lock: corrected cells are read again.
    ReadAgain,
}
