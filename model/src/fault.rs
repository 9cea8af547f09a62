//! Faults, and a budget of them.

use std::fmt;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $name:literal,)*) => {
        /// A kind of fault. A history has at most as many of each kind as its budget allows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $fault,)* }

        impl Fault {
            pub const EVERY: &[Self] = &[$(Self::$fault,)*];

            /// The name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }
        }
    };
}

faults! {
    /// The group assigns a partition of a living processor to the other one.
    Rebalance "rebalance",
    /// A processor is killed.
    Crash "crash",
    /// A processor is frozen, with any of its requests still in its driver.
    Freeze "freeze",
    /// A processor is isolated from ZooKeeper until its lease has expired.
    Cut "cut",
    /// A processor is asked to stop, without time to drain.
    Stop "stop",
    /// An increment has an unknown outcome: it may be applied late, or never.
    Unknown "unknown",
    /// An increment is acknowledged, and not applied: drift without a trace.
    Lost "lost",
    /// An increment is not applied, and the reply says so.
    NotApplied "not-applied",
    /// An increment that must be drained is given up.
    GiveUp "give-up",
    /// A processor's write to ZooKeeper is in flight for a while.
    SlowWrite "slow-write",
    /// A member cleans up after dead members.
    CleanUp "clean-up",
    /// The restorator converges once more.
    Converge "converge",
    /// The restorator is killed.
    RestoratorCrash "restorator-crash",
    /// The restorator is frozen, with any of its requests still in its driver, and another one is started.
    RestoratorFreeze "restorator-freeze",
    /// A correction has an unknown outcome.
    DeltaUnknown "delta-unknown",
    /// A correction is acknowledged, and not applied.
    DeltaLost "delta-lost",
    /// The restorator reaches a bound and gives the range back.
    GiveBack "give-back",
    /// A broker that was deposed as leader answers the restorator with the log as it was, until it finds the leader.
    DeposedLeader "deposed-leader",
}

/// How many faults of each kind may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults([u8; Fault::EVERY.len()]);

impl Faults {
    /// A budget of one of each of these; a fault that is named twice counts twice.
    pub fn of(faults: &[Fault]) -> Self {
        let mut budget = Self::default();
        for &fault in faults {
            budget.0[fault as usize] += 1;
        }
        budget
    }

    /// Whether one more of this kind may happen.
    pub const fn has(self, fault: Fault) -> bool {
        self.0[fault as usize] > 0
    }

    /// Uses one up.
    pub const fn take(&mut self, fault: Fault) {
        self.0[fault as usize] -= 1;
    }

    /// Parses `crash=1 unknown=2`.
    ///
    /// # Errors
    /// The first word that names no fault.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for word in text.split_whitespace() {
            let (name, number) = word.split_once('=').unwrap_or((word, "1"));
            let fault = Fault::EVERY.iter().find(|fault| fault.name() == name);
            match (fault, number.parse()) {
                (Some(fault), Ok(number)) => budget.0[*fault as usize] = number,
                (Some(_) | None, _) => return Err(word.to_owned()),
            }
        }
        Ok(budget)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = Fault::EVERY.iter().filter(|fault| self.has(**fault));
        let words: Vec<String> = some
            .map(|fault| match self.0[*fault as usize] {
                1 => fault.name().to_owned(),
                number => format!("{} {number}", fault.name()),
            })
            .collect();
        f.write_str(&words.join(", "))
    }
}
