//! The name of a restoration, or of an audit.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::member::MemberId;

/// The name of a restoration: its start and its member, so that names sort by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RestorationId(String);

impl RestorationId {
    /// The restoration that `member` started at this time.
    #[must_use]
    pub fn new(started: DateTime<Utc>, member: &MemberId) -> Self {
        Self(format!("{}-{member}", started.format("%Y%m%dT%H%M%S%3fZ")))
    }

    /// The name of its node.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RestorationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
