//! The rows of (g).

use super::{Row, percent, thousands};
use crate::load::COUNTERS_SERVED;
use crate::serving::{
    CONNECTIONS, KEYS, LoadResult, OPEN_LOAD_SHARE, OVERLOAD_FACTOR, Open, Overload,
    QueryComparison, Serving, TABLE_KEYS,
};

const SHARE_AIM: f64 = 0.7;
const KEPT_AIM: f64 = 0.8;
const SERVICE_AIM: f64 = 0.95;
const PAGE_AIM: f64 = 3.0;

pub(super) fn rows(serving: &Serving) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, answered, times) in [
        ("single counts", &serving.count, 1),
        ("series of 30 days", &serving.series, 1),
        ("pages of 200 counts: counts", &serving.counts, KEYS),
    ] {
        rows.push(against_bare(what, answered, f64::from(times)));
    }
    rows.push(against_service("single counts", &serving.count));
    rows.push(against_service("series of 30 days", &serving.series));
    rows.push(page_against_service(serving));
    rows.extend(table(serving));
    rows.push(open(&serving.open));
    rows.push(overload("single counts", &serving.overload));
    rows.push(overload("single counts", &serving.overload_near_limit));
    rows.push(overload("pages of 200 counts", &serving.overload_pages));
    rows
}

fn against_bare(what: &str, answered: &QueryComparison, times: f64) -> Row {
    let share = answered.share_of_bare();
    let us =
        |cpu_seconds: f64, requests: f64| format!("{:.0} µs", cpu_seconds / requests / times * 1e6);
    Row {
        what: format!(
            "(g) {what} a second, against the bare driver; client's CPU for each; p99 {:.0} ms; generator {} of the cores",
            answered.api.p99_ms,
            percent(answered.api.cpu_share())
        ),
        stitch: format!(
            "{}, {}",
            thousands(answered.api.per_second() * times),
            us(answered.api_cpu_seconds, answered.api.answered)
        ),
        alternative: format!(
            "{}, {}",
            thousands(answered.bare_per_second() * times),
            us(answered.bare.cpu_seconds, answered.bare.requests)
        ),
        ratio: percent(share),
        aim: "≥ 70 %",
        met: Some(share >= SHARE_AIM),
    }
}

fn against_service(what: &str, answered: &QueryComparison) -> Row {
    let share = answered.api.per_second() / answered.service.per_second();
    let cell = |result: &LoadResult, cpu_seconds: f64| {
        format!(
            "{}, {:.0} µs, p99 {:.0} ms",
            thousands(result.per_second()),
            cpu_seconds / result.answered * 1e6,
            result.p99_ms
        )
    };
    Row {
        what: format!(
            "(g) {what} a second, against the simplest HTTP service that reads the same; its CPU for each"
        ),
        stitch: cell(&answered.api, answered.api_cpu_seconds),
        alternative: cell(&answered.service, answered.service_cpu_seconds),
        ratio: percent(share),
        aim: "≥ 95 %",
        met: Some(share >= SERVICE_AIM),
    }
}

/// The simplest service is asked for each count.
fn page_against_service(serving: &Serving) -> Row {
    let (page, single) = (&serving.counts.api, &serving.count.service);
    let (in_pages, one_by_one) = (page.per_second() * f64::from(KEYS), single.per_second());
    Row {
        what: format!(
            "(g) counts a second in pages of {KEYS}, against the simplest HTTP service, asked for one after the other"
        ),
        stitch: thousands(in_pages),
        alternative: thousands(one_by_one),
        ratio: format!("{:.1}×", in_pages / one_by_one),
        aim: "≥ 3×",
        met: Some(in_pages / one_by_one >= PAGE_AIM),
    }
}

/// One request for a table of counts: against the simplest service asked for the same table, and against a request for each
/// count.
fn table(serving: &Serving) -> [Row; 2] {
    let counts = f64::from(TABLE_KEYS * COUNTERS_SERVED);
    let what = format!("(g) POST /v1/query, {TABLE_KEYS} tracks and {COUNTERS_SERVED} counters");
    let (api, service) = (&serving.table.api, &serving.table.service);
    let cell = |result: &LoadResult, cpu_seconds: f64| {
        format!(
            "{}, {:.0} µs, p99 {:.0} ms",
            thousands(result.per_second() * counts),
            cpu_seconds / result.answered / counts * 1e6,
            result.p99_ms
        )
    };
    let single = &serving.count;
    let (together, one_by_one) = (api.per_second() * counts, single.api.per_second());
    let share = api.per_second() / service.per_second();
    [
        Row {
            what: format!(
                "{what}: counts a second, against the simplest HTTP service asked for the same; its CPU for each count"
            ),
            stitch: cell(api, serving.table.api_cpu_seconds),
            alternative: cell(service, serving.table.service_cpu_seconds),
            ratio: percent(share),
            aim: "≥ 95 %",
            met: Some(share >= SERVICE_AIM),
        },
        Row {
            what: format!(
                "{what}: counts a second, against a request to the API for each; its CPU for each count"
            ),
            stitch: cell(api, serving.table.api_cpu_seconds),
            alternative: format!(
                "{}, {:.0} µs",
                thousands(one_by_one),
                single.api_cpu_seconds / single.api.answered * 1e6
            ),
            ratio: format!("{:.1}×", together / one_by_one),
            aim: "≥ 3×",
            met: Some(together / one_by_one >= PAGE_AIM),
        },
    ]
}

fn open(open: &Open) -> Row {
    Row {
        what: format!(
            "(g) {} open connections, {} of the capacity requested: single counts a second, p50 / p99, memory (without connections)",
            thousands(f64::from(CONNECTIONS)),
            percent(OPEN_LOAD_SHARE)
        ),
        stitch: format!(
            "{} of {}, {:.0} / {:.0} ms, {:.0} MiB ({:.0})",
            thousands(open.loaded.per_second()),
            thousands(open.asked_per_second),
            open.loaded.p50_ms,
            open.loaded.p99_ms,
            open.memory_mib,
            open.idle_memory_mib
        ),
        alternative: String::new(),
        ratio: String::new(),
        aim: "",
        met: None,
    }
}

fn overload(what: &str, overload: &Overload) -> Row {
    let kept = overload.kept();
    let cell = |requested: f64, result: &crate::serving::LoadResult| {
        format!(
            "{} ({} refused) of {} requested, p99 {:.0} ms, generator {}",
            thousands(result.per_second()),
            thousands(result.refused / result.seconds),
            thousands(requested),
            result.p99_ms,
            percent(result.cpu_share())
        )
    };
    Row {
        what: format!(
            "(g) overload, {what} a second answered with 200: {} connections, {OVERLOAD_FACTOR:.0}× the capacity requested, \
             against 1×",
            thousands(f64::from(overload.connections))
        ),
        stitch: cell(overload.more_asked, &overload.more),
        alternative: cell(overload.once_asked, &overload.once),
        ratio: percent(kept),
        aim: "≥ 80 %",
        met: Some(kept >= KEPT_AIM),
    }
}
