//! Mutations: rules of the protocol that can be removed, one at a time. The simulation must find the loss of each.
//!
//! They exist only with the feature `mutations`. In every other build no rule can be removed, and [`out`] is a constant.

macro_rules! rules {
    ($($rule:ident $name:literal $loss:literal,)*) => {
        /// A rule, or a part of a rule that the architecture states by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($rule,)* }

        impl Rule {
            /// Every rule that can be removed.
            pub const EVERY: &[Self] = &[$(Self::$rule,)*];

            /// Its number in the architecture.
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// What happens without it.
            #[must_use]
            pub const fn loss(self) -> &'static str {
                match self { $(Self::$rule => $loss,)* }
            }
        }
    };
}

rules! {
    PartitionLock "P1" "a partition's lock is not waited for",
    HandOver "P1" "a partition is handed over before its checkpoint is written",
    Fence "P1" "a checkpoint is written without checking the lock and the version",
    SharedLock "P2" "increments are sent without the range's shared lock",
    Lease "P3" "increments are sent without a valid lease",
    NeverResend "P4" "an increment of unknown outcome is sent again",
    BegunInPart "P4" "a request of several counters that is refused for lack of replicas counts as not applied",
    Acknowledged "P5" "the checkpoint passes events that are not acknowledged",
    SetAside "P5" "the checkpoint passes events that were set aside because their range stands still",
    MarkerBeforeAck "P5" "an unknown outcome counts as acknowledged before its in-doubt marker is written",
    MarkerCoversOwn "P5" "a marker that is being written covers outcomes that become unknown meanwhile",
    Yield "P6" "revocation requests are ignored",
    BeginNothing "P6" "events are begun while the range yields",
    WrittenFirst "P6" "a range is released before the checkpoint is written",
    DrainedFirst "P6" "a range is released before what was begun has drained",
    ResumeAtCheckpoint "P7" "a range resumes below its own checkpoint",
    RandomIds "P7" "members' ids are those of their sessions alone",
    LeaveUnlisted "P8" "the member node is deleted although connections are listed",
    LeaveWithoutDoubt "P8" "the member node is deleted although something is in doubt",
    KeepLockEntries "P8" "lock entries of ranges are deleted before the session ends although something is in doubt",
    DrainAfterFailure "P8" "a member whose work fails ends as if it were killed, although its session lives",
    SuspendDrained "P6" "a suspended partition is given back before its checkpoint is written",
    BelowCeiling "P9" "events are begun above the ceiling that ZooKeeper has acknowledged",
    MarkersAfterCut "R1" "in-doubt markers and dead members are read before the base cut",
    QuiescenceBeforeRead "R1" "cells are read although there are in-doubt markers or dead members",
    CeilingAfterRead "R1" "the ceilings are not read after the cells",
    WaitGranted "R2" "the exclusive lock is not waited for",
    QuiescenceAfterGrant "R2" "quiescence is not awaited after the grant",
    PauseGivesBack "R2" "a range stays locked while an operator has the restoration wait",
    CutUnderLock "R3" "the cut is not read under the lock",
    CeilingAfterGrant "R4" "the log is not followed to the ceilings that are read after the grant",
    DirtyBeyondCut "R4" "cells with events beyond the cut are not dirty",
    ReadAll "R5" "cells are read at a quorum",
    ReadWrong "R5" "cells that were judged wrong are not read under the lock",
    CorrectOnce "R6" "a correction of unknown outcome is sent again",
    QuiescenceAfterUnknown "R6" "quiescence is not awaited after a correction of unknown outcome",
    CorrectAtRest "R6" "cells are corrected without the lock although they do not rest",
    MarkerAtRest "R6" "corrections in doubt without the lock have no marker",
    BeginWithinBound "R6" "corrections are begun after the bound, or after another one is unknown",
    ReadAgain "R7" "corrected cells are not read again",
    MarkerFirst "R8" "an exclusive lock is released without a marker for what is in doubt",
    DoubtReplacesMarker "doubt" "an in-doubt marker is removed without a doubt of its range",
    DoubtBeforeTakeover "doubt" "events that a former owner may have applied are begun without a doubt of their range",
    DoubtBeforeGivenUp "doubt" "a checkpoint passes increments that were given up without a doubt of their range",
    NarrowScopeKeepsDoubt "doubt" "a restoration of some cells of a range removes the doubts of the range",
    SendersKeepalive "quiescence" "the barrier takes the observer's keepalive for that of every member",
    QuiescencePeriod "quiescence" "the barrier needs no quiet period",
    QuiescenceConnections "quiescence" "the barrier ignores connections",
    QuiescenceSilence "quiescence" "the barrier ignores silent nodes",
    ProbeIncrements "quiescence" "the barrier probes nodes by reads alone",
    KnownNodes "quiescence" "the barrier asks the nodes of the ring alone",
    QuiescenceEpoch "quiescence" "the barrier ignores a new epoch of ZooKeeper",
    SegmentIfAbsent "archive" "the object store puts a segment over one that is there",
    CompleteIsPut "archive" "an archiver goes on behind a segment whose put has an unknown outcome",
    GapRefused "archive" "records that are in neither the archive nor the log are passed over",
    SameNamespace "totals" "totals of an earlier namespace of the same name are taken as base",
    CutBelowCheckpoints "totals" "totals are taken as base although their cut lies above a checkpoint",
    LateCounterRefused "totals" "totals that count a counter late are taken as base",
    BatchLock "batch" "batch counts are loaded without waiting for the lock",
    ReadBack "batch" "a generation is published whatever is read back",
    WithdrawNewer "batch" "older totals are loaded while newer ones stay published",
    EveryDifference "batch" "a load leaves out cells that are held with another value",
    LaterWrites "batch" "a load may have an earlier time than the loads before it",
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static OUT: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Removes this rule for everything that runs on this thread; `None` restores every rule.
#[cfg(feature = "mutations")]
pub fn take_out(rule: Option<Rule>) {
    OUT.set(rule);
}

/// Whether this rule is removed.
#[cfg(feature = "mutations")]
#[must_use]
pub fn out(rule: Rule) -> bool {
    OUT.get() == Some(rule)
}

/// Whether this rule is removed: never in this build.
#[cfg(not(feature = "mutations"))]
#[must_use]
pub const fn out(_rule: Rule) -> bool {
    false
}
