//! What is explored, and the rules without which something is found.

use crate::bounds::{Bounds, Way};
use crate::fault::Fault::{self, *};
use crate::fault::Faults;
use crate::rule::Rule;

/// One exploration.
#[derive(Clone, Copy, Debug)]
pub struct Exploration {
    /// Its name: partitions, ranges, and what may go wrong.
    pub name: &'static str,
    /// The log; see [`Bounds::new`].
    pub log: &'static str,
    /// The range of each cell.
    pub ranges: &'static str,
    /// What may go wrong.
    pub faults: &'static [Fault],
    /// How the restorator corrects.
    pub way: Way,
    /// After how many steps it stops; never, where it goes to the end.
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
            way: Way::Locked,
            steps_max: None,
        }
    }

    const fn unlocked(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    const fn up_to(mut self, steps: usize) -> Self {
        self.steps_max = Some(steps);
        self
    }

    /// Its model.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let faults = Faults::of(self.faults);
        Bounds::new(self.log, self.ranges)
            .with(faults)
            .corrected(self.way)
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
        &[Crash, Unknown, Rebalance, Sweep],
    ),
    Exploration::new("1x1 frozen", "01", "00", &[Freeze, Unknown, SlowWrite]),
    Exploration::new("1x1 parted", "(01)", "00", &[Freeze]),
    Exploration::new("1x1 cut-off", "01", "00", &[Cut, Unknown]),
    Exploration::new("1x1 stopped", "0", "00", &[Cut, Stop]),
    Exploration::new("1x1 restorator", "01", "00", RESTORATOR),
    Exploration::new(
        "1x1 both",
        "01",
        "00",
        &[Crash, Lost, RestoratorCrash, DeltaUnknown],
    ),
    Exploration::new("1x1 portions", "(01)2", "000", PORTIONS),
    Exploration::new("2x1 unknown", "0/1", "00", &[Unknown, Lost]),
    Exploration::new("2x1 killed", "0/1", "00", &[Crash]),
    Exploration::new("1x2 unknown", "(01)0", "01", &[Unknown]),
    Exploration::new("1x2 killed", "01", "01", &[Crash]),
    Exploration::new("2x2 unknown", "0/1", "01", &[Unknown]),
    Exploration::new("2x2 killed", "0/1", "01", &[Unknown, Crash]).up_to(8 * MILLION),
    Exploration::new("1x1 no lock, killed", "010", "00", UNLOCKED).unlocked(Way::Both),
    Exploration::new("1x1 no lock, frozen", "010", "00", FROZEN).unlocked(Way::Both),
    Exploration::new("2x1 no lock", "0/1", "00", &[Lost, Crash, DeltaUnknown])
        .unlocked(Way::Unlocked),
];

const RESTORATOR: &[Fault] = &[
    Lost,
    RestoratorCrash,
    RestoratorFreeze,
    DeltaUnknown,
    DeltaLost,
    GiveBack,
    CloseIn,
];
const PORTIONS: &[Fault] = &[Lost, Lost, Chunk, DeltaUnknown, RestoratorCrash];
const UNLOCKED: &[Fault] = &[Lost, Unknown, DeltaUnknown, RestoratorCrash];
const FROZEN: &[Fault] = &[Lost, Unknown, DeltaUnknown, RestoratorFreeze];

/// A model without a rule.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// The rule that is taken out.
    pub rule: Rule,
    /// Where that is seen.
    pub within: Exploration,
    /// Whether it is seen at all.
    pub is_found: bool,
}

impl Loss {
    const fn of(rule: Rule, log: &'static str, faults: &'static [Fault]) -> Self {
        Self {
            rule,
            within: Exploration::new("", log, "00", faults),
            is_found: true,
        }
    }

    const fn unlocked(mut self) -> Self {
        self.within = self.within.unlocked(Way::Unlocked);
        self
    }

    const fn ranges(mut self, ranges: &'static str) -> Self {
        self.within.ranges = ranges;
        self
    }

    /// Its model.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.within.bounds().without(self.rule)
    }
}

/// Every rule, and the smallest world in which its loss is seen.
pub const LOSSES: &[Loss] = &[
    Loss::of(Rule::PartitionLock, "0", &[Rebalance]),
    Loss::of(Rule::ReadUnderLock, "0", &[Rebalance]),
    Loss::of(Rule::Fence, "01", &[Freeze, SlowWrite]),
    Loss::of(Rule::SharedLock, "0", &[]),
    Loss::of(Rule::Lease, "0", &[Cut]),
    Loss::of(Rule::NoRetry, "0", &[Unknown]),
    Loss::of(Rule::AnswerFirst, "0", &[]),
    Loss::of(Rule::MarkFirst, "0", &[Unknown]),
    Loss::of(Rule::FinishFirst, "0", &[]),
    Loss::of(Rule::TellFirst, "0", &[]),
    Loss::of(Rule::ExactlyBehind, "01", &[]),
    Loss::of(Rule::ReadAgain, "0", &[Rebalance, Rebalance]),
    Loss::of(Rule::DeadMember, "0", &[Stop]),
    Loss::of(Rule::MarksAfterCut, "0", &[Unknown]),
    Loss::of(Rule::FirstCalm, "0", &[Unknown]),
    Loss::of(Rule::ClosingCalm, "0", &[Unknown, CloseIn]),
    Loss::of(Rule::ExclusiveLock, "0", &[]),
    Loss::of(Rule::GrantedCalm, "0", &[Unknown]),
    Loss::of(Rule::CutUnderLock, "0", &[]),
    Loss::of(Rule::EndAfterGrant, "01", &[Crash]),
    Loss::of(Rule::TouchedBeyondCut, "0", &[Crash]),
    Loss::of(Rule::PassedAreRead, "0", &[Lost]),
    Loss::of(Rule::DeltaCalm, "0", &[Lost, DeltaUnknown]),
    Loss::of(Rule::Verify, "0", &[Lost, DeltaLost]),
    Loss::of(Rule::MarkAtRelease, "0", &[Lost, DeltaUnknown, GiveBack]),
    Loss::of(Rule::DeadConnections, "0", &[Freeze]),
    Loss::of(Rule::FrozenMembers, "0", &[Unknown, Freeze]),
    Loss::of(Rule::DeleteByName, "01", &[Unknown, Unknown, Sweep]),
    Loss::of(Rule::EndAfterRead, "0", &[Lost]).unlocked(),
    Loss::of(Rule::PassedStayNoted, "(01)2", &[Lost, Lost, Chunk]).ranges("000"),
    Loss::of(Rule::LastLockProves, "(01)", &[Lost, Lost, Chunk]),
];
