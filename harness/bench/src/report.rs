//! The table of results, as printed and as published.

mod document;
mod growth;
mod loading;
mod peers;
mod profile;
mod serving;
mod totalling;

use anyhow::Result;
use serde::Serialize;

use crate::auditing::Auditing;
use crate::bounded::Bounded;
use crate::counting::{Comparison, Counting};
use crate::growth::Grown;
use crate::loading::Loading;
use crate::locks::Locks;
use crate::memory::Memory;
use crate::peers::Peers;
use crate::peers::moves::Moves;
use crate::profile::Profiles;
use crate::serving::Serving;
use crate::sizes::Sizes;
use crate::totalling::Totalling;

/// The results of one run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) sizes: Sizes,
    pub(crate) counting: Option<Counting>,
    pub(crate) auditing: Option<Auditing>,
    pub(crate) locks: Option<Locks>,
    /// With ten times as many wrong cells.
    pub(crate) locks_wrong: Option<Locks>,
    pub(crate) locks_large: Option<Locks>,
    pub(crate) locks_large_wrong: Option<Locks>,
    pub(crate) memory: Option<Memory>,
    pub(crate) serving: Option<Serving>,
    pub(crate) totalling: Option<Totalling>,
    pub(crate) bounded: Option<Bounded>,
    pub(crate) peers: Option<Peers>,
    pub(crate) loading: Option<Loading>,
    pub(crate) growth: Vec<Grown>,
    pub(crate) moves: Option<Moves>,
    pub(crate) profiles: Option<Profiles>,
}

/// A row of the table.
struct Row {
    what: String,
    stitch: String,
    alternative: String,
    ratio: String,
    aim: &'static str,
    met: Option<bool>,
}

impl Row {
    fn line(&self) -> String {
        let Self {
            what,
            stitch,
            alternative,
            ratio,
            aim,
            met,
        } = self;
        let met = match met {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        format!("| {what} | {stitch} | {alternative} | {ratio} | {aim} | {met} |")
    }
}

/// The document with the rows of this run in place of earlier rows of the same parts.
pub(crate) fn published(document: &str, results: &Results) -> Result<String> {
    document::with(document, measured(results))
}

/// The description of the machine and the table.
pub(crate) fn markdown(results: &Results) -> String {
    measured(results).markdown()
}

fn measured(results: &Results) -> document::Measured {
    let mut rows = Vec::new();
    if let Some(counting) = &results.counting {
        rows.extend(counting_rows(counting));
    }
    if let Some(auditing) = &results.auditing {
        rows.extend(auditing_rows(auditing));
    }
    let first = results.locks.as_ref();
    if let Some(locks) = &results.locks {
        rows.push(lock_row("(d)", locks, None, "p99 ≤ 200 ms"));
    }
    if let Some(locks) = &results.locks_wrong {
        rows.push(lock_row("(d)", locks, first, "does not grow"));
    }
    if let Some(locks) = &results.locks_large {
        rows.push(lock_row("(e)", locks, first, "does not grow"));
    }
    if let Some(locks) = &results.locks_large_wrong {
        rows.push(lock_row("(e)", locks, first, ""));
    }
    if let Some(memory) = &results.memory {
        rows.extend(memory_rows(memory));
    }
    if let Some(serving) = &results.serving {
        rows.extend(serving::rows(serving));
    }
    if let Some(totalling) = &results.totalling {
        rows.extend(totalling::rows(totalling));
    }
    if let Some(bounded) = &results.bounded {
        rows.extend(totalling::bounded_rows(bounded));
    }
    if let Some(measured) = &results.peers {
        rows.extend(peers::rows(measured));
    }
    if let Some(loading) = &results.loading {
        rows.extend(loading::rows(loading));
    }
    rows.extend(growth::rows(&results.growth));
    if let Some(moves) = &results.moves {
        rows.extend(peers::move_rows(moves));
    }
    if let Some(profiles) = &results.profiles {
        rows.extend(profile::rows(profiles));
    }
    let lines = rows.iter().map(Row::line).collect();
    document::Measured::new(&results.machine, lines)
}

fn counting_rows(counting: &Counting) -> Vec<Row> {
    let against_naive = |keys: &str, comparison: &Comparison, times: f64, aim| {
        let Comparison { naive, processor } = comparison;
        let cpu = |us: f64| format!("{us:.1} µs");
        [
            Row {
                what: format!(
                    "(a) {keys}: events counted a second, against an increment a request"
                ),
                stitch: thousands(processor.events_per_second()),
                alternative: thousands(naive.events_per_second()),
                ratio: format!("{:.1}×", comparison.ratio()),
                aim,
                met: Some(comparison.ratio() >= times),
            },
            Row {
                what: format!("(a) {keys}: the client's CPU for a cell of an event"),
                stitch: cpu(processor.cpu_seconds / processor.events / 5.0 * 1e6),
                alternative: cpu(naive.cpu_us_per_cell()),
                ratio: String::new(),
                aim: "",
                met: None,
            },
            Row {
                what: format!("(a) {keys}: the client's CPU for a cell sent"),
                stitch: cpu(processor.cpu_us_per_cell()),
                alternative: cpu(naive.cpu_us_per_cell()),
                ratio: String::new(),
                aim: "",
                met: None,
            },
        ]
    };
    let share = counting.share_of_bare();
    let bare = Row {
        what: format!(
            "(b) uniform keys: cells sent a second, against the bare driver sending batches of {:.0} cells",
            counting.batch_cells
        ),
        stitch: thousands(counting.uniform.processor.cells_per_second()),
        alternative: thousands(counting.bare.cells_per_second()),
        ratio: percent(share),
        aim: "≥ 80 %",
        met: Some(share >= 0.8),
    };
    against_naive("uniform keys", &counting.uniform, 2.5, "≥ 2.5×")
        .into_iter()
        .chain(against_naive("zipf 1.1", &counting.zipf, 15.0, "≥ 15×"))
        .chain([bare])
        .collect()
}

fn auditing_rows(auditing: &Auditing) -> [Row; 2] {
    let share = auditing.share_of_bare();
    [
        Row {
            what: "(c) plan: cells scanned and merged a second, against a bare scan".to_owned(),
            stitch: thousands(auditing.cells_per_second()),
            alternative: thousands(auditing.bare.cells_per_second()),
            ratio: percent(share),
            aim: "≥ 80 %",
            met: Some(share >= 0.8),
        },
        Row {
            what: "(c) plan: events of the log read and added up a second".to_owned(),
            stitch: thousands(auditing.events_per_second()),
            alternative: String::new(),
            ratio: String::new(),
            aim: "",
            met: None,
        },
    ]
}

fn lock_row(part: &str, locks: &Locks, first: Option<&Locks>, aim: &'static str) -> Row {
    /// Growth below this is the noise of a shared machine.
    const GROWTH_MAX: f64 = 1.25;
    const LOCK_AIM_MS: f64 = 200.0;
    let p99 = locks.percentile(99);
    let (ratio, met) = match first {
        None => (String::new(), (part == "(d)").then_some(p99 <= LOCK_AIM_MS)),
        Some(first) => {
            let growth = locks.percentile(50) / first.percentile(50).max(1.0);
            let met = (!aim.is_empty()).then_some(growth <= GROWTH_MAX);
            (format!("{growth:.2}× (p50)"), met)
        }
    };
    Row {
        what: format!(
            "{part} lock of a range held, p50 / p99 / longest of {} locks; {} cells in a range, {} of them wrong, live traffic",
            locks.held_ms.len(),
            thousands(f64::from(locks.cells_per_range)),
            thousands(f64::from(locks.wrong_per_range))
        ),
        stitch: format!(
            "{:.0} / {p99:.0} / {:.0} ms",
            locks.percentile(50),
            locks.longest()
        ),
        alternative: String::new(),
        ratio,
        aim,
        met,
    }
}

fn memory_rows(memory: &Memory) -> Vec<Row> {
    /// Growth up to this may come from the allocator.
    const GROWTH_MAX: f64 = 1.25;
    let Memory { short, long } = memory;
    let row = |what: &str, now: f64, before: f64| Row {
        what: format!(
            "(f) peak memory, {what}: backlog of {} events, against {}",
            thousands(f64::from(long.events)),
            thousands(f64::from(short.events))
        ),
        stitch: format!("{now:.0} MiB"),
        alternative: format!("{before:.0} MiB"),
        ratio: format!("{:.2}×", now / before),
        aim: "does not grow",
        met: Some(now <= before * GROWTH_MAX),
    };
    vec![
        row("processor", long.processor, short.processor),
        row(
            "plan, backlog not counted",
            long.plan_before,
            short.plan_before,
        ),
        row("plan, backlog counted", long.plan_after, short.plan_after),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Formats a whole number with commas between its thousands.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(12_345_678.0), "12,345,678");
    }
}
