//! What may go wrong, and how often.

use std::fmt;

/// A kind of fault. Each history has at most as many of a kind as its budget says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fault {
    /// The group deals a partition of a living processor to the other one.
    Rebalance,
    /// A processor is killed.
    Crash,
    /// A processor is frozen, with any of its requests still in its driver.
    Freeze,
    /// A processor is cut off from ZooKeeper until its lease is out.
    Cut,
    /// A processor is asked to stop, and has no time for it.
    Stop,
    /// The store does not say what became of an increment; it may be applied late, or never.
    Unknown,
    /// An increment is told to be applied, and is not: what drift comes from that nobody knows of.
    Lost,
    /// The store says that an increment is not applied.
    NotApplied,
    /// An increment that must be finished is given up.
    GiveUp,
    /// A processor's write to ZooKeeper is on its way for a while.
    SlowWrite,
    /// A member waits out and deletes what dead members left.
    Sweep,
    /// The restorator closes in once more.
    CloseIn,
    /// The restorator is killed.
    RestoratorCrash,
    /// The restorator is frozen, with any of its requests still in its driver, and another one started.
    RestoratorFreeze,
    /// The store does not say what became of a correction.
    DeltaUnknown,
    /// A correction is told to be applied, and is not.
    DeltaLost,
    /// The restorator reaches a bound and gives the range back.
    GiveBack,
    /// The restorator corrects one cell under a lock of its own before it corrects the others.
    Chunk,
}

/// How many kinds there are.
pub const FAULTS: usize = 18;

impl Fault {
    /// Every kind.
    pub const EVERY: [Self; FAULTS] = [
        Self::Rebalance,
        Self::Crash,
        Self::Freeze,
        Self::Cut,
        Self::Stop,
        Self::Unknown,
        Self::Lost,
        Self::NotApplied,
        Self::GiveUp,
        Self::SlowWrite,
        Self::Sweep,
        Self::CloseIn,
        Self::RestoratorCrash,
        Self::RestoratorFreeze,
        Self::DeltaUnknown,
        Self::DeltaLost,
        Self::GiveBack,
        Self::Chunk,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rebalance => "rebalance",
            Self::Crash => "crash",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::Stop => "stop",
            Self::Unknown => "unknown",
            Self::Lost => "lost",
            Self::NotApplied => "not-applied",
            Self::GiveUp => "give-up",
            Self::SlowWrite => "slow-write",
            Self::Sweep => "sweep",
            Self::CloseIn => "close-in",
            Self::RestoratorCrash => "restorator-crash",
            Self::RestoratorFreeze => "restorator-freeze",
            Self::DeltaUnknown => "delta-unknown",
            Self::DeltaLost => "delta-lost",
            Self::GiveBack => "give-back",
            Self::Chunk => "portion",
        }
    }
}

/// How many faults of each kind may come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults([u8; FAULTS]);

impl Faults {
    /// One of each of these; the same one twice is two.
    #[must_use]
    pub fn of(faults: &[Fault]) -> Self {
        let mut budget = Self::default();
        for &fault in faults {
            budget.0[fault as usize] += 1;
        }
        budget
    }

    /// Whether one more of this kind may come.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        self.0[fault as usize] > 0
    }

    /// One has come.
    pub const fn take(&mut self, fault: Fault) {
        self.0[fault as usize] -= 1;
    }

    /// Reads `crash=1 unknown=2`.
    ///
    /// # Errors
    /// The word that is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for word in text.split_whitespace() {
            let (name, number) = word.split_once('=').unwrap_or((word, "1"));
            let fault = Fault::EVERY.into_iter().find(|fault| fault.name() == name);
            match (fault, number.parse()) {
                (Some(fault), Ok(number)) => budget.0[fault as usize] = number,
                (Some(_) | None, _) => return Err(word.to_owned()),
            }
        }
        Ok(budget)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = Fault::EVERY.into_iter().filter(|fault| self.has(*fault));
        let words: Vec<String> = some
            .map(|fault| match self.0[fault as usize] {
                1 => fault.name().to_owned(),
                number => format!("{} {number}", fault.name()),
            })
            .collect();
        f.write_str(&words.join(", "))
    }
}
