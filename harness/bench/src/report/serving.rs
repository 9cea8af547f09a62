//! The rows of (g).

use super::{Row, percent, thousands};
use crate::serving::{Answered, CONNECTIONS, KEYS, Open, Overload, SHARE_ASKED, Serving, TOO_MUCH};

const SHARE_AIM: f64 = 0.7;
const KEPT_AIM: f64 = 0.8;

pub(super) fn rows(serving: &Serving) -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, answered, times) in [
        ("single counts", &serving.count, 1),
        ("series of 30 days", &serving.series, 1),
        ("pages of 200 counts: counts", &serving.counts, KEYS),
    ] {
        rows.push(against_bare(what, answered, f64::from(times)));
    }
    rows.push(open(&serving.open));
    rows.push(overload("single counts", &serving.overload));
    rows.push(overload("single counts", &serving.overload_crowd));
    rows.push(overload("pages of 200 counts", &serving.overload_pages));
    rows
}

fn against_bare(what: &str, answered: &Answered, times: f64) -> Row {
    let share = answered.share_of_bare();
    let us =
        |cpu_seconds: f64, requests: f64| format!("{:.0} µs", cpu_seconds / requests / times * 1e6);
    Row {
        what: format!(
            "(g) {what} a second, against the bare driver; client's CPU for each; p99 {:.0} ms; the generator takes {} of the cores",
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

fn open(open: &Open) -> Row {
    Row {
        what: format!(
            "(g) {} connections open, which ask for {} of what it can answer: single counts a second, p50 / p99, memory (with none of them)",
            thousands(f64::from(CONNECTIONS)),
            percent(SHARE_ASKED)
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
    let told = |asked: f64, loaded: &crate::serving::Loaded| {
        format!(
            "{} ({} refused) of {} asked, p99 {:.0} ms, generator {}",
            thousands(loaded.per_second()),
            thousands(loaded.refused / loaded.seconds),
            thousands(asked),
            loaded.p99_ms,
            percent(loaded.cpu_share())
        )
    };
    Row {
        what: format!(
            "(g) {what} a second answered with 200 where {} connections ask for {TOO_MUCH:.0}× as many as can be answered, \
             against 1×",
            thousands(f64::from(overload.connections))
        ),
        stitch: told(overload.more_asked, &overload.more),
        alternative: told(overload.once_asked, &overload.once),
        ratio: percent(kept),
        aim: "≥ 80 %",
        met: Some(kept >= KEPT_AIM),
    }
}
