//! The section `[audit]`: the objective that audits and restorations are held to.

use std::time::Duration;

use crate::section::{Section, section};
use stitch_common::user_error::UserError;

section! {
    /// `[audit]`: how right counts have to be, and how recently that has to be known. Nothing acts on it but alerts: the API
    /// shows it as metrics beside what the last audit found.
    pub Audit() {
        /// How many of a million cells that an audit judged may be wrong.
        wrong_per_million_max: usize = count("wrong_per_million_max"; 0, 0..=1_000_000),
        /// How long ago all counts may have been audited.
        audited_within: Duration = hours("audited_within_hours"; 26),
        /// How long ago a restoration may have verified a range.
        verified_within: Duration = hours("verified_within_hours"; 26),
    }
}

impl Section<'_> {
    fn hours(&mut self, key: &str, default: u64) -> Result<Duration, UserError> {
        Ok(Duration::from_hours(self.number(
            key,
            default,
            1..=365 * 24,
        )?))
    }
}
