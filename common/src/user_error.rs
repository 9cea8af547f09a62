//! What is wrong, and what to do about it: the error that a user reads.

use std::fmt;

use serde::Serialize;

/// Something that the user has to know, and what to do about it. Everything that ends a command with an error is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What is wrong, naming the thing.
    pub what: String,
    /// What to do about it.
    pub way_out: String,
}

impl Failure {
    /// Names what is wrong and the way out.
    #[must_use]
    pub fn new(what: impl fmt::Display, way_out: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            way_out: way_out.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (way out: {})", self.what, self.way_out)
    }
}

impl std::error::Error for Failure {}
