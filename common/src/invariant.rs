//! The invariants of the protocol, numbered as in `docs/architecture.md`.
//!
//! [`check_invariant!`](crate::check_invariant) evaluates always and counts always. In tests a broken invariant
//! panics; in production it is an ERROR line, a metric, and `false` for the caller, who stops the range: to assert and
//! die would replay what was not told, and over-count.

use std::fmt;

/// One of the promises that the protocol keeps at every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// While a range's exclusive lock is held past R2, nobody but its holder has a request in it that could still
    /// change the store.
    I1,
    /// Checkpoint never passes an unanswered event; none of a range's events is passed while that range is exclusively
    /// locked.
    I2,
    /// At R7's end, for every cell in scope in the range: value = what the events below the cut add up to.
    I3,
    /// A processor resumes a range at exactly the cut.
    I4,
    /// No increment and no delta is ever sent twice on purpose.
    I5,
    /// For each partition at most one session at a time sends for its events.
    I6,
}

impl Invariant {
    /// Every invariant.
    pub const EVERY: [Self; 6] = [Self::I1, Self::I2, Self::I3, Self::I4, Self::I5, Self::I6];

    /// Its number, as a metric's label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::I1 => "I1",
            Self::I2 => "I2",
            Self::I3 => "I3",
            Self::I4 => "I4",
            Self::I5 => "I5",
            Self::I6 => "I6",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counts and tells a broken invariant; called by [`check_invariant!`](crate::check_invariant).
///
/// # Panics
/// In builds with debug assertions, so that no test passes over one.
pub fn broken(invariant: Invariant, what: fmt::Arguments<'_>) {
    metrics::counter!("stitch_invariants_broken_total", "invariant" => invariant.name())
        .increment(1);
    tracing::error!(%invariant, %what, "invariant broken");
    if cfg!(debug_assertions) {
        panic!("invariant {invariant} broken: {what}");
    }
}

/// Evaluates a condition that an invariant demands and returns it; if it does not hold, counts and tells so first.
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
