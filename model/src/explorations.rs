//! The explorations of `deploy/model`, and the models in which the loss of each rule is found.

use crate::bounds::{Bounds, CorrectionMode};
use crate::fault::Fault::{self, *};
use crate::fault::Faults;
use crate::rule::Rule;

#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    /// Partitions, ranges, and the faults.
    pub name: &'static str,
    /// The log; see [`Bounds::new`].
    pub log: &'static str,
    /// The range of each cell.
    pub ranges: &'static str,
    pub faults: &'static [Fault],
    pub mode: CorrectionMode,
    /// The number of steps after which the search stops; without it, it goes to the end.
    pub steps_max: Option<usize>,
}

impl Exploration {
    const fn new(
        name: &'static str,
        log: &'static str,
        ranges: &'static str,
        faults: &'static [Fault],
    ) -> Self {
        Self {
            name,
            log,
            ranges,
            faults,
            mode: CorrectionMode::Locked,
            steps_max: None,
        }
    }

    const fn unlocked(mut self, mode: CorrectionMode) -> Self {
        self.mode = mode;
        self
    }

    const fn up_to(mut self, steps: usize) -> Self {
        self.steps_max = Some(steps);
        self
    }

    pub fn bounds(&self) -> Bounds {
        let faults = Faults::of(self.faults);
        Bounds::new(self.log, self.ranges)
            .with(faults)
            .corrected(self.mode)
    }
}

const MILLION: usize = 1_000_000;

/// What `deploy/model` runs.
pub const EXPLORATIONS: &[Exploration] = &[
    Exploration::new(
        "1x1 unknown",
        "010",
        "00",
        &[Unknown, Unknown, Lost, NotApplied, GiveUp],
    ),
    Exploration::new(
        "1x1 killed",
        "01",
        "00",
        &[Crash, Unknown, Rebalance, CleanUp],
    ),
    Exploration::new(
        "1x1 deposed leader",
        "01",
        "00",
        &[Crash, Unknown, DeposedLeader],
    ),
    Exploration::new("1x1 frozen", "01", "00", &[Freeze, Unknown, SlowWrite]),
    Exploration::new("1x1 two cells", "(01)", "00", &[Freeze]),
    Exploration::new("1x1 cut-off", "01", "00", &[Cut, Unknown]),
    Exploration::new("1x1 stopped", "0", "00", &[Cut, Stop]),
    Exploration::new("1x1 restorator", "01", "00", RESTORATOR),
    Exploration::new(
        "1x1 both",
        "01",
        "00",
        &[Crash, Lost, RestoratorCrash, DeltaUnknown],
    ),
    Exploration::new("2x1 unknown", "0/1", "00", &[Unknown, Lost]),
    Exploration::new("2x1 killed", "0/1", "00", &[Crash]),
    Exploration::new("1x2 unknown", "(01)0", "01", &[Unknown]),
    Exploration::new("1x2 killed", "01", "01", &[Crash]),
    Exploration::new("2x2 unknown", "0/1", "01", &[Unknown]),
    Exploration::new("2x2 killed", "0/1", "01", &[Unknown, Crash]).up_to(8 * MILLION),
    Exploration::new("1x1 no lock, killed", "010", "00", UNLOCKED).unlocked(CorrectionMode::Both),
    Exploration::new("1x1 no lock, frozen", "010", "00", FROZEN).unlocked(CorrectionMode::Both),
    Exploration::new("1x1 no lock, two cells", "(01)1", "00", RESTING)
        .unlocked(CorrectionMode::Both),
    Exploration::new("2x1 no lock", "0/1", "00", &[Lost, Crash, DeltaUnknown])
        .unlocked(CorrectionMode::Unlocked),
];

const RESTORATOR: &[Fault] = &[
    Lost,
    RestoratorCrash,
    RestoratorFreeze,
    DeltaUnknown,
    DeltaLost,
    GiveBack,
    Converge,
];
const UNLOCKED: &[Fault] = &[Lost, Unknown, DeltaUnknown, RestoratorCrash];
const RESTING: &[Fault] = &[Lost, Lost, DeltaUnknown, DeltaLost, GiveBack];
const FROZEN: &[Fault] = &[Lost, Unknown, DeltaUnknown, RestoratorFreeze];

/// A rule, and a model without it.
#[derive(Clone, Copy, Debug)]
pub struct RemovedRule {
    pub rule: Rule,
    pub within: Exploration,
    /// Whether its loss is found.
    pub is_found: bool,
}

impl RemovedRule {
    const fn of(rule: Rule, log: &'static str, faults: &'static [Fault]) -> Self {
        Self {
            rule,
            within: Exploration::new("", log, "00", faults),
            is_found: true,
        }
    }

    const fn unlocked(mut self) -> Self {
        self.within = self.within.unlocked(CorrectionMode::Unlocked);
        self
    }

    pub fn bounds(&self) -> Bounds {
        self.within.bounds().without(self.rule)
    }
}

/// Every rule, with the smallest model in which its loss is found.
pub const REMOVED_RULES: &[RemovedRule] = &[
    RemovedRule::of(Rule::PartitionLock, "0", &[Rebalance]),
    RemovedRule::of(Rule::ReadUnderLock, "0", &[Rebalance]),
    RemovedRule::of(Rule::Fence, "01", &[Freeze, SlowWrite]),
    RemovedRule::of(Rule::SharedLock, "0", &[]),
    RemovedRule::of(Rule::Lease, "0", &[Cut]),
    RemovedRule::of(Rule::NeverResend, "0", &[Unknown]),
    RemovedRule::of(Rule::Acknowledged, "0", &[]),
    RemovedRule::of(Rule::MarkerBeforeAck, "0", &[Unknown]),
    RemovedRule::of(Rule::DrainedFirst, "0", &[]),
    RemovedRule::of(Rule::WrittenFirst, "0", &[]),
    RemovedRule::of(Rule::CheckpointExact, "01", &[]),
    RemovedRule::of(Rule::CheckpointReread, "0", &[Rebalance, Rebalance]),
    RemovedRule::of(Rule::LeaveWithoutDoubt, "0", &[Stop]),
    RemovedRule::of(Rule::BelowCeiling, "0", &[Crash]),
    RemovedRule::of(Rule::MarkersAfterCut, "0", &[Unknown]),
    RemovedRule::of(Rule::QuiescenceBeforeRead, "0", &[Unknown]),
    RemovedRule::of(Rule::QuiescenceInConvergence, "0", &[Unknown, Converge]),
    RemovedRule::of(Rule::ExclusiveLock, "0", &[]),
    RemovedRule::of(Rule::QuiescenceAfterGrant, "0", &[Unknown]),
    RemovedRule::of(Rule::CutUnderLock, "0", &[]),
    RemovedRule::of(Rule::CeilingAfterGrant, "01", &[Crash]),
    RemovedRule::of(Rule::CeilingNotEnd, "0", &[DeposedLeader]),
    RemovedRule::of(Rule::DirtyBeyondCut, "0", &[Crash]),
    RemovedRule::of(Rule::PassedAreRead, "0", &[Lost]),
    RemovedRule::of(Rule::QuiescenceAfterUnknown, "0", &[Lost, DeltaUnknown]),
    RemovedRule::of(Rule::Verify, "0", &[Lost, DeltaLost]),
    RemovedRule::of(Rule::MarkerAtRelease, "0", &[Lost, DeltaUnknown, GiveBack]),
    RemovedRule::of(Rule::QuiescenceConnections, "0", &[Freeze]),
    RemovedRule::of(Rule::QuiescenceFrozenMembers, "0", &[Unknown, Freeze]),
    RemovedRule::of(Rule::DeleteOnlyRead, "01", &[Unknown, Unknown, CleanUp]),
    RemovedRule::of(Rule::CeilingAfterRead, "0", &[Lost]).unlocked(),
    RemovedRule::of(Rule::CorrectAtRest, "0", &[]).unlocked(),
    RemovedRule::of(Rule::MarkerAtRest, "0", &[Lost, DeltaUnknown]).unlocked(),
    RemovedRule::of(Rule::ReadAgain, "0", &[Lost, DeltaLost]).unlocked(),
];
