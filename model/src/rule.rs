//! The rules of the protocol that can be taken out of the model, to see that it finds what they are for.

/// A rule, named as in `docs/architecture.md` and the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// P1: nothing is sent without the partition's lock.
    PartitionLock,
    /// P1: progress is read only under that lock.
    ReadUnderLock,
    /// P1: progress is written only while that lock stands.
    Fence,
    /// P2: nothing is sent without the range's shared lock.
    SharedLock,
    /// P3: nothing is sent without a valid lease.
    Lease,
    /// P4: what is unknown is not sent again.
    NoRetry,
    /// P5: progress passes only what is answered.
    AnswerFirst,
    /// P5: what is unknown is answered only by a mark.
    MarkFirst,
    /// P6: what was begun is finished before a range is given back.
    FinishFirst,
    /// P6: progress is written before a range is given back.
    TellFirst,
    /// P6: progress stands exactly behind what was begun, not beyond.
    ExactlyBehind,
    /// P7: what is remembered of progress is void once the partition was given back.
    ReadAgain,
    /// P8: who leaves with something unsettled stays behind as a tombstone.
    DeadMember,
    /// R1: marks and tombstones are read after the base cut, not before.
    MarksAfterCut,
    /// R1: what may be on its way is waited out before the scan.
    FirstCalm,
    /// R1: and again when closing in.
    ClosingCalm,
    /// R2: nothing is done before every earlier node of the queue is gone.
    ExclusiveLock,
    /// R2: what may be on its way is waited out after the grant.
    GrantedCalm,
    /// R3: the cut is read under the lock.
    CutUnderLock,
    /// R4: the log's end is asked after the grant.
    EndAfterGrant,
    /// R4: cells with an event beyond the cut are touched, too.
    TouchedBeyondCut,
    /// R4: cells with an event that the cut has passed since they were judged are read.
    PassedAreRead,
    /// R6: a correction of unknown outcome is waited out before everything is read again.
    DeltaCalm,
    /// R7: corrected cells are read again.
    Verify,
    /// R8: who gives a range back with something unsettled marks it first.
    MarkAtRelease,
    /// Calm: a dead member's connections are waited for.
    DeadConnections,
    /// Calm: a living member that is frozen is waited for.
    FrozenMembers,
    /// Calm: only marks and tombstones that were read before it are deleted after it.
    DeleteByName,
    /// Correction without a lock: the log's end is asked after the cells were read.
    EndAfterRead,
    /// Portions: what the cut passes under the lock of a portion is judged again.
    PassedStayNoted,
    /// Portions: only the lock for all that is left proves the range.
    LastLockProves,
}

impl Rule {
    /// Every rule.
    pub const EVERY: [Self; 31] = [
        Self::PartitionLock,
        Self::ReadUnderLock,
        Self::Fence,
        Self::SharedLock,
        Self::Lease,
        Self::NoRetry,
        Self::AnswerFirst,
        Self::MarkFirst,
        Self::FinishFirst,
        Self::TellFirst,
        Self::ExactlyBehind,
        Self::ReadAgain,
        Self::DeadMember,
        Self::MarksAfterCut,
        Self::FirstCalm,
        Self::ClosingCalm,
        Self::ExclusiveLock,
        Self::GrantedCalm,
        Self::CutUnderLock,
        Self::EndAfterGrant,
        Self::TouchedBeyondCut,
        Self::PassedAreRead,
        Self::DeltaCalm,
        Self::Verify,
        Self::MarkAtRelease,
        Self::DeadConnections,
        Self::FrozenMembers,
        Self::DeleteByName,
        Self::EndAfterRead,
        Self::PassedStayNoted,
        Self::LastLockProves,
    ];
}
