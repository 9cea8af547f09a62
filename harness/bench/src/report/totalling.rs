//! The rows of (h) and (i).

use super::{Row, percent, thousands};
use crate::bounded::{Bounded, MEMORY_MIB_MAX, OTHER_MIB_MAX, SPILL_MIB_MAX};
use crate::totalling::{Adding, Copying, Increment, Totalling};
use stitch_harness::process_usage::Usage;

const SHARE_OF_BARE_AIM: f64 = 0.8;
const TIMES_DUCKDB_AIM: f64 = 1.0;
const TIMES_SPARK_AIM: f64 = 5.0;
const INCREMENT_AIM: f64 = 0.05;
const KEY_SECONDS_AIM: f64 = 10.0;

pub(super) fn rows(totalling: &Totalling) -> Vec<Row> {
    let mut rows = vec![copying(&totalling.copying)];
    for adding in &totalling.adding {
        let [duckdb, spark] = [&adding.duckdb, &adding.spark];
        rows.push(against(adding, "DuckDB", duckdb, TIMES_DUCKDB_AIM, "≥ 1×"));
        rows.push(against(adding, "Spark", spark, TIMES_SPARK_AIM, "≥ 5×"));
    }
    rows.extend(increment(&totalling.increment));
    rows
}

fn copying(copying: &Copying) -> Row {
    let cell = |work: &crate::totalling::Work| {
        format!(
            "{}, {:.2} µs, {:.0} MiB",
            thousands(work.per_second()),
            work.cpu_us(),
            work.peak_mib
        )
    };
    let share = copying.share_of_bare();
    Row {
        what: "(h) records archived a second, against a bare consumer that discards; the client's CPU for each; peak memory"
            .to_owned(),
        stitch: cell(copying.archived()),
        alternative: cell(copying.discarded()),
        ratio: percent(share),
        aim: "≥ 80 %",
        met: Some(share >= SHARE_OF_BARE_AIM),
    }
}

fn against(adding: &Adding, name: &str, usage: &Usage, times: f64, aim: &'static str) -> Row {
    let cell = |usage: &Usage| {
        format!(
            "{} ({})",
            thousands(adding.per_cpu_second(usage)),
            thousands(adding.per_second(usage))
        )
    };
    let ratio = adding.per_cpu_second(&adding.stitch) / adding.per_cpu_second(usage);
    Row {
        what: format!(
            "(h) {} cells of {} records: records added up a CPU second (a second), against {name}",
            thousands(adding.size.cells()),
            thousands(f64::from(adding.size.records))
        ),
        stitch: format!(
            "{}, {:.0} MiB",
            cell(&adding.stitch),
            adding.stitch.peak_mib
        ),
        alternative: cell(usage),
        ratio: format!("{ratio:.2}×"),
        aim,
        met: Some(ratio >= times),
    }
}

fn increment(increment: &Increment) -> [Row; 2] {
    let Increment { first, second, key } = increment;
    let share = increment.share();
    [
        Row {
            what: format!(
                "(h) log read by a second audit: {} records, against the first one's {}",
                thousands(second.events),
                thousands(first.events)
            ),
            stitch: format!("{:.2} s", second.log_seconds),
            alternative: format!("{:.2} s", first.log_seconds),
            ratio: format!("{:.1} %", share * 100.0),
            aim: "≤ 5 %",
            met: Some(share <= INCREMENT_AIM),
        },
        Row {
            what: "(h) run for one key, the whole process, with totals in place (its CPU)"
                .to_owned(),
            stitch: format!("{:.1} s ({:.1} s)", key.seconds, key.cpu_seconds),
            alternative: String::new(),
            ratio: String::new(),
            aim: "≤ 10 s",
            met: Some(key.seconds <= KEY_SECONDS_AIM),
        },
    ]
}

/// `MEMORY_MIB_MAX` and `OTHER_MIB_MAX` together, as the table shows it.
const BOUNDED_AIM: &str = "≤ 278 MiB";
const _: () = assert!(MEMORY_MIB_MAX + OTHER_MIB_MAX == 278);

pub(super) fn bounded_rows(bounded: &Bounded) -> [Row; 2] {
    let most = f64::from(MEMORY_MIB_MAX + OTHER_MIB_MAX);
    let row = |name: &str, usage: &Usage| Row {
        what: format!(
            "(i) {name}, {} cells and a log of {} records (produced and counted in {:.0} s): peak memory with memory_mib_max = \
             {MEMORY_MIB_MAX}, spilled, time",
            thousands(f64::from(bounded.tracks) * 5.0),
            thousands(f64::from(bounded.records)),
            bounded.fill_seconds
        ),
        stitch: format!(
            "{:.0} MiB, {:.0} of {SPILL_MIB_MAX} MiB, {:.0} s",
            usage.peak_mib, usage.files_mib, usage.seconds
        ),
        alternative: String::new(),
        ratio: String::new(),
        aim: BOUNDED_AIM,
        met: Some(usage.peak_mib <= most && usage.files_mib <= f64::from(SPILL_MIB_MAX)),
    };
    [row("plan", &bounded.plan), row("run", &bounded.run)]
}
