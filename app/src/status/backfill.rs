//! Backfills that are pending: counters that were added, and where their past is not counted yet.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Serialize;
use stitch_common::range::RangeId;
use stitch_common::scope::RangeSet;
use stitch_protocol::backfill::Backfill;

use super::text::{section, time};

/// A counter that lacks the events from before it was added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackfillLine {
    pub counter: String,
    /// When it was added.
    pub since: DateTime<Utc>,
    /// The ranges in which its past is not counted yet.
    pub ranges: Vec<RangeId>,
}

impl BackfillLine {
    pub(super) fn of(pending: &Backfill) -> Self {
        Self {
            counter: pending.counter.0.to_string(),
            since: pending.record.since,
            ranges: pending.record.ranges.iter().collect(),
        }
    }

    /// What removes it.
    #[must_use]
    pub fn help(&self) -> String {
        format!("stitch-restorator run --now --counter {}", self.counter)
    }
}

/// Nothing is written if there is none: counters are seldom added.
pub(super) fn write(backfills: &[BackfillLine], out: &mut dyn Write) -> io::Result<()> {
    if backfills.is_empty() {
        return Ok(());
    }
    let title = "backfills pending (counters that were added, and lack what came before)";
    section(title, false, out)?;
    for line in backfills {
        let ranges: RangeSet = line.ranges.iter().copied().collect();
        writeln!(
            out,
            "  {} since {}, ranges {ranges}: `{}` counts it",
            line.counter,
            time(line.since),
            line.help()
        )?;
    }
    Ok(())
}
