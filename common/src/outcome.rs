//! What became of a request that changes the store (rule P4).
//!
//! An increment is not idempotent, so "did it happen?" has four answers, and the fourth is honest.

use std::fmt;

/// What became of one increment request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The store said that it was applied.
    Applied,
    /// It certainly was not and will not be applied; the same request may be sent again.
    NotApplied(Cause),
    /// It certainly was not applied, and never will be in this form; sending it again unchanged is useless.
    Refused(Cause),
    /// It may have been applied, may be applied later, or never. It is never sent again.
    Unknown(Cause),
}

/// Why an outcome is not *applied*, for the log and the report; never matched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(pub String);

impl Cause {
    /// The cause as `error` tells it.
    pub fn of(error: &impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
