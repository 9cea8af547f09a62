//! Reports of the commands, as text and as one JSON object. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use stitch_common::cell::{Cell, CounterName};
use stitch_common::ports::Level;
use stitch_common::printable::printable;

use crate::limits::Extent;
use crate::options::DeclaredDead;
use crate::plan::judge::{Direction, Drift};

pub mod plan;
pub mod run;
pub mod sums;

pub use plan::PlanReport;
pub use run::{RangeReport, RunReport};
pub use sums::SumsReport;

/// The most wrong cells that are named in JSON; the plan file and the journal have all of them.
pub const CELLS_NAMED_MAX: usize = 1000;
/// The text of a command that was to take doubtful ranges only, and found none.
const NOTHING_DOUBTFUL: &str = "no range is doubtful: nothing was done";
/// The most that are named in text.
const CELLS_IN_TEXT_MAX: usize = 20;

/// What the operator accepted: what a command shows is true as far as this allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exceptions {
    /// The level of reads, if it is less than `ALL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_consistency: Option<&'static str>,
    /// Nodes and members that nothing waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared_dead: Vec<String>,
}

impl Exceptions {
    /// The exceptions of a command; `None` if it has none.
    pub(crate) fn of(level: Level, declared_dead: &[DeclaredDead]) -> Option<Self> {
        let read_consistency = match level {
            Level::All => None,
            Level::Quorum => Some("QUORUM"),
        };
        let has_any = read_consistency.is_some() || !declared_dead.is_empty();
        has_any.then(|| Self {
            read_consistency,
            declared_dead: declared_dead.iter().map(ToString::to_string).collect(),
        })
    }

    /// Each of them in a few words.
    pub fn lines(&self) -> Vec<String> {
        let level = self.read_consistency.iter();
        let level = level.map(|level| {
            format!(
                "read at {level}: a timed-out increment that only a down replica has may be missed"
            )
        });
        let dead = self.declared_dead.iter();
        level
            .chain(dead.map(|dead| format!("declared dead: {dead}")))
            .collect()
    }
}

/// A cell that is, or was, wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WrongCell {
    counter: String,
    key: String,
    granularity: &'static str,
    bucket: String,
    expected: i64,
    current: i64,
    direction: &'static str,
}

impl WrongCell {
    pub fn new(cell: &Cell, drift: Drift) -> Self {
        Self {
            counter: cell.counter.name.0.to_string(),
            key: cell.counter.key.0.to_string(),
            granularity: cell.slot.granularity.name(),
            bucket: cell.slot.bucket.to_string(),
            expected: drift.expected.0,
            current: drift.current.0,
            direction: drift.direction().name(),
        }
    }

    fn line(&self) -> String {
        let Self {
            counter,
            key,
            granularity,
            bucket,
            expected,
            current,
            direction,
        } = self;
        let (counter, key) = (printable(counter), printable(key));
        format!(
            "  {counter}/{key} {granularity} {bucket}: {current}, should be {expected} ({direction})"
        )
    }
}

/// Wrong cells by direction, and the sum of their drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrongness {
    pub directions: BTreeMap<&'static str, u64>,
    /// The sum of their drift, by absolute value.
    pub change: u128,
    /// Up to [`CELLS_NAMED_MAX`] of them.
    pub named: Vec<WrongCell>,
}

impl Default for Wrongness {
    fn default() -> Self {
        let directions = Direction::EVERY.map(|direction| (direction.name(), 0));
        Self {
            directions: directions.into(),
            change: 0,
            named: Vec::new(),
        }
    }
}

impl Wrongness {
    pub fn of<'a>(cells: impl IntoIterator<Item = (&'a Cell, Drift)>) -> Self {
        let mut all = Self::default();
        for (cell, drift) in cells {
            all.add(cell, drift);
        }
        all
    }

    /// Counts this cell, and names it unless enough are named.
    pub fn add(&mut self, cell: &Cell, drift: Drift) {
        *self.directions.entry(drift.direction().name()).or_default() += 1;
        self.change += u128::from(drift.size());
        if self.named.len() < CELLS_NAMED_MAX {
            self.named.push(WrongCell::new(cell, drift));
        }
    }

    pub fn extent(&self) -> Extent {
        Extent {
            cells: self.directions.values().sum(),
            change: self.change,
        }
    }

    fn lines(&self) -> Vec<String> {
        let total = self.extent().cells;
        if total == 0 {
            return Vec::new();
        }
        let named = Direction::EVERY.map(Direction::name).into_iter();
        let counted = named.filter_map(|name| {
            let cells = self.directions.get(name).copied().unwrap_or_default();
            (cells > 0).then(|| format!("{cells} {}", name.replace('_', " ")))
        });
        let counted: Vec<_> = counted.collect();
        let mut lines = vec![format!(
            "by direction: {}; total change {}",
            counted.join(", "),
            self.change
        )];
        lines.extend(
            self.named
                .iter()
                .take(CELLS_IN_TEXT_MAX)
                .map(WrongCell::line),
        );
        let more = total.saturating_sub(u64::try_from(CELLS_IN_TEXT_MAX).unwrap_or(u64::MAX));
        if more > 0 {
            lines.push(format!("  … and {more} more"));
        }
        lines
    }
}

/// What the cells of one counter definition add up to, over every key, granularity and bucket in scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// What the table held at the audit.
    pub before: i128,
    /// What it should have held at the audit.
    pub expected: i128,
    /// What the verified ranges hold now; absent if nothing was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<i128>,
}

/// Totals by counter.
pub type Totals = BTreeMap<CounterName, Total>;

fn total_lines(totals: &Totals) -> Vec<String> {
    let line = |(name, total): (&CounterName, &Total)| {
        let Total {
            before,
            expected,
            after,
        } = total;
        let after = after
            .map(|after| format!(", verified ranges now hold {after}"))
            .unwrap_or_default();
        format!(
            "  {}: held {before}, should have held {expected}{after}",
            name.0
        )
    };
    totals.iter().map(line).collect()
}

fn unnamed_lines(unnamed: &BTreeMap<CounterName, u64>) -> Vec<String> {
    let line = |(name, cells): (&CounterName, &u64)| {
        format!(
            "no definition names the counter \"{}\": its {cells} cells were left alone",
            printable(&name.0)
        )
    };
    unnamed.iter().map(line).collect()
}
