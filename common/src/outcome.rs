//! The outcome of a request that changes the store (rule P4).
//!
//! An increment is not idempotent, so callers must know whether it may have happened.

use std::fmt;

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
