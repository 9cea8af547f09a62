//! Rules of the protocol that can be taken out, one at a time, to see whether anybody notices: the simulation must find
//! what is lost with each. They exist only with the feature `mutations`; in every other build nothing can be taken out,
//! and the question whether a rule is out costs nothing.

macro_rules! rules {
    ($($rule:ident $name:literal $loss:literal,)*) => {
        /// A rule, or the part of a rule that design and architecture state by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]

        pub enum Rule { $($rule,)* }

        impl Rule {
            /// Every rule that can be taken out.
            pub const EVERY: &[Self] = &[$(Self::$rule,)*];

            /// Its number in the design.
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
    HandOver "P1" "a partition is given back before progress is written",
    Fence "P1" "progress is written without looking at the lock and the version",
    SharedLock "P2" "increments are sent without the range's shared lock",
    Lease "P3" "increments are sent without a valid lease",
    NeverAgain "P4" "an increment of unknown outcome is sent again",
    Answered "P5" "progress passes events that are not answered",
    Marked "P5" "an unknown outcome counts as answered before it is marked",
    MarkedAfter "P5" "a mark on its way answers what becomes unknown meanwhile",
    Yield "P6" "nobody yields",
    BeginNothing "P6" "events are begun while the range yields",
    WrittenFirst "P6" "a range is let go before progress is written",
    SettledFirst "P6" "a range is let go before what was begun is settled",
    ResumeThere "P7" "a range resumes below its own progress",
    LeaveUnlisted "P8" "the member node goes although connections are listed",
    LeaveSettled "P8" "the member node goes although something is unsettled",
    KeepPlaces "P8" "places in the queues of ranges go before the session although something is unsettled",
    MarksAfterCut "R1" "marks and tombstones are read before the base cut",
    CalmBeforeRead "R1" "cells are read although marks or tombstones are there",
    EndAfterRead "R1" "the log's end is not asked after the cells were read",
    WaitGranted "R2" "the exclusive lock is not waited for",
    CalmAfterGrant "R2" "no calm is awaited after the grant",
    CutUnderLock "R3" "the cut is not read under the lock",
    EndAfterGrant "R4" "the log's end is not asked after the grant",
    TouchedBeyond "R4" "cells with events beyond the cut are not touched",
    ReadAll "R5" "cells are read at a quorum",
    ReadWrong "R5" "cells that were judged wrong are not read under the lock",
    CorrectOnce "R6" "a correction of unknown outcome is sent again",
    CalmAfterUnknown "R6" "no calm is awaited after a correction of unknown outcome",
    ReadAgain "R7" "corrected cells are not read again",
    MarkFirst "R8" "an exclusive lock goes without a mark for what is unsettled",
    CalmStretch "calm" "a calm needs no stretch of time",
    CalmListed "calm" "a calm does not look at connections",
    CalmSilence "calm" "a calm does not mind silent nodes",
    CalmEpoch "calm" "a calm does not mind a new epoch of ZooKeeper",
}

#[cfg(feature = "mutations")]
std::thread_local! {
    static OUT: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

/// Takes this rule out for everything that runs on this thread; none for the product as it is.
#[cfg(feature = "mutations")]
pub fn take_out(rule: Option<Rule>) {
    OUT.set(rule);
}

/// Whether this rule is out.
#[cfg(feature = "mutations")]
#[must_use]
pub fn out(rule: Rule) -> bool {
    OUT.get() == Some(rule)
}

/// Whether this rule is out: never in this build.
#[cfg(not(feature = "mutations"))]
#[must_use]
pub const fn out(_rule: Rule) -> bool {
    false
}
