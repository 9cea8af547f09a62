//! Why counts are uncertain, as answers say it: each cause once, with the earliest time since when.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::json;
use stitch_common::range::RangeId;
use stitch_protocol::uncertainty::{Uncertainty, UncertaintyCause};

/// The causes of uncertainty of one or more ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Causes(BTreeMap<UncertaintyCause, Option<DateTime<Utc>>>);

impl Causes {
    pub fn of(uncertainty: &Uncertainty, range: RangeId) -> Self {
        let mut causes = Self::default();
        for (cause, since) in uncertainty.causes(range) {
            causes.add(cause, since);
        }
        causes
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, cause: UncertaintyCause) -> bool {
        self.0.contains_key(&cause)
    }

    /// Adds that a counter lacks its past since `since`, if one does.
    pub fn add_backfill(&mut self, since: Option<DateTime<Utc>>) {
        if since.is_some() {
            self.add(UncertaintyCause::PendingBackfill, since);
        }
    }

    /// Adds the causes of other ranges.
    pub fn merge(&mut self, other: &Self) {
        for (&cause, &since) in &other.0 {
            self.add(cause, since);
        }
    }

    fn add(&mut self, cause: UncertaintyCause, since: Option<DateTime<Utc>>) {
        let known = self.0.entry(cause).or_insert(since);
        *known = match (*known, since) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

impl Serialize for Causes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (cause, since) in &self.0 {
            let since = since.map(|since| since.to_rfc3339_opts(SecondsFormat::Millis, true));
            list.serialize_element(&json!({"cause": cause.name(), "since": since}))?;
        }
        list.end()
    }
}
