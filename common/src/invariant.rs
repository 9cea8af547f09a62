//! The invariants of the protocol, numbered as in `docs/architecture.md`.
//!
//! [`check_invariant!`](crate::check_invariant) evaluates always and counts always. In tests a broken invariant
//! panics. In production it is an ERROR line, a metric, and `false` for the caller, which stops the range: a process
//! that aborted would replay what it had not committed, and over-count.

use std::fmt;

/// One of the promises that the protocol keeps at every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// While a range's exclusive lock is held past R2, only its holder has a request in it that could still change the
    /// store.
    ExclusiveAccess,
    /// The checkpoint never passes an unacknowledged event; none of a range's events is passed while that range is
    /// exclusively locked.
    CheckpointNeverAhead,
    /// At R7's end, for every cell in scope in the range: value = sum of the events below the cut.
    VerifiedValues,
    /// A processor resumes a range at exactly the cut.
    ResumeAtCut,
    /// No increment and no delta is ever sent twice on purpose.
    SentOnce,
    /// For each partition at most one session at a time sends for its events.
    SingleSender,
    /// No event at or above the ceiling of its partition in ZooKeeper is begun.
    BelowCeiling,
}

impl Invariant {
    /// Every invariant.
    pub const EVERY: [Self; 7] = [
        Self::ExclusiveAccess,
        Self::CheckpointNeverAhead,
        Self::VerifiedValues,
        Self::ResumeAtCut,
        Self::SentOnce,
        Self::SingleSender,
        Self::BelowCeiling,
    ];

    /// Its number, which is also the metric's label.
    #[must_use]
    pub const fn number(self) -> &'static str {
        match self {
            Self::ExclusiveAccess => "I1",
            Self::CheckpointNeverAhead => "I2",
            Self::VerifiedValues => "I3",
            Self::ResumeAtCut => "I4",
            Self::SentOnce => "I5",
            Self::SingleSender => "I6",
            Self::BelowCeiling => "I7",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.number())
    }
}

const BROKEN: &str = "stitch_invariants_broken_total";

/// Shows that none is broken yet: of a counter that begins with 1 nobody sees that it has risen.
pub fn show_zeros() {
    for invariant in Invariant::EVERY {
        metrics::counter!(BROKEN, "invariant" => invariant.number()).increment(0);
    }
}

/// Counts and logs a broken invariant; called by [`check_invariant!`](crate::check_invariant).
///
/// # Panics
/// In builds with debug assertions, so that no test passes over one.
pub fn broken(invariant: Invariant, what: fmt::Arguments<'_>) {
    metrics::counter!(BROKEN, "invariant" => invariant.number()).increment(1);
    tracing::error!(%invariant, %what, "invariant broken");
    if cfg!(debug_assertions) {
        panic!("invariant {invariant} broken: {what}");
    }
}

/// Evaluates a condition that an invariant demands and returns it; if it does not hold, counts and logs that first.
#[macro_export]
macro_rules! check_invariant {
    ($invariant:ident, $condition:expr, $($what:tt)+) => {{
        let holds: bool = $condition;
        if !holds {
            $crate::invariant::broken(
                $crate::invariant::Invariant::$invariant,
                format_args!($($what)+),
            );
        }
        holds
    }};
}
