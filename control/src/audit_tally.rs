//! What an audit has found, in numbers.

use serde::{Deserialize, Serialize};

/// Numbers of cells that an audit has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditTally {
    /// Judged right or wrong.
    pub judged: u64,
    /// Wrong.
    pub wrong: u64,
    /// Not judged, because events changed them all the time.
    pub unjudged: u64,
}

impl AuditTally {
    /// Adds what was found elsewhere.
    pub const fn add(&mut self, other: Self) {
        self.judged += other.judged;
        self.wrong += other.wrong;
        self.unjudged += other.unjudged;
    }
}
