//! The outcome of a request that changes the store (rule P4).
//!
//! An increment is not idempotent, so callers must know whether it may have happened.

use std::fmt;

use crate::mutation::{Rule, out};

/// The outcome of one increment request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store acknowledged it.
    Applied,
    /// It was not and will not be applied; the same request may be sent again.
    NotApplied(Cause),
    /// It was not and will not be applied, and as it is it will be refused again for now; a smaller one may pass.
    Refused(Cause),
    /// It was not and will not be applied, because this client may not write, or because the node cannot tell whether it
    /// may: its size makes no difference.
    Unauthorized(Cause),
    /// It may have been applied, may be applied later, or never will be. It is never sent again.
    Unknown(Cause),
}

impl Outcome {
    /// The outcome of a request of this many counters that Cassandra refuses because too few replicas are up. It checks
    /// that for one counter after the other, each right before it begins it: of several, some may have been begun.
    #[must_use]
    pub fn unavailable(counters: usize, cause: Cause) -> Self {
        if counters > 1 && !out(Rule::BegunInPart) {
            Self::Unknown(cause)
        } else {
            Self::NotApplied(cause)
        }
    }

    /// What the outcome of a request of this many counters says about each of them. Several were refused together, so one
    /// learns only by itself whether it is: for now none was applied.
    #[must_use]
    pub fn of_each(self, counters: usize) -> Self {
        match self {
            Self::Refused(cause) | Self::Unauthorized(cause) if counters > 1 => {
                Self::NotApplied(cause)
            }
            Self::Applied
            | Self::NotApplied(_)
            | Self::Refused(_)
            | Self::Unauthorized(_)
            | Self::Unknown(_) => self,
        }
    }
}

/// Why an outcome is not *applied*, for the log and the report; never matched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl Cause {
    /// The text of `error`.
    pub fn of(error: &impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Cause {
        Cause("why".to_owned())
    }

    #[test]
    fn unavailable_says_of_one_counter_that_it_was_not_applied_and_of_several_nothing() {
        let one = Outcome::unavailable(1, cause());
        assert_eq!(one, Outcome::NotApplied(cause()));
        let several = Outcome::unavailable(2, cause());
        assert_eq!(several, Outcome::Unknown(cause()));
    }

    #[test]
    fn several_that_are_refused_together_were_not_applied_and_one_is_refused() {
        for refusal in [Outcome::Refused(cause()), Outcome::Unauthorized(cause())] {
            assert_eq!(refusal.clone().of_each(1), refusal);
            assert_eq!(refusal.of_each(2), Outcome::NotApplied(cause()));
        }
        for outcome in [Outcome::Applied, Outcome::Unknown(cause())] {
            assert_eq!(outcome.clone().of_each(2), outcome);
        }
    }
}
