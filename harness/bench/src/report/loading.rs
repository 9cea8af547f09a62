//! The rows of (k).

use super::{Row, percent, thousands};
use crate::baseline::Measured;
use crate::loading::{LoadRun, Loading};

const SHARE_AIM: f64 = 0.9;

pub(super) fn rows(loading: &Loading) -> [Row; 3] {
    let Loading {
        whole,
        changed,
        inserts,
        batches,
    } = loading;
    let against = |what: &str, bare: &Measured, aim, share_aim: Option<f64>| {
        let share = whole.cells_per_second() / bare.cells_per_second();
        Row {
            what: format!(
                "(k) {} batch counts loaded a second, against {what}",
                thousands(whole.cells)
            ),
            stitch: format!(
                "{}, {:.0} MiB",
                thousands(whole.cells_per_second()),
                whole.usage.peak_mib
            ),
            alternative: thousands(bare.cells_per_second()),
            ratio: percent(share),
            aim,
            met: share_aim.map(|aim| share >= aim),
        }
    };
    let cell = |load: &LoadRun| {
        format!(
            "{:.1} s, {:.1} s to write {} cells",
            load.seconds,
            load.write_seconds,
            thousands(load.cells)
        )
    };
    [
        against("the bare driver, a prepared insert a cell", inserts, "≥ 90 %", Some(SHARE_AIM)),
        against("the bare driver, a batch of prepared inserts a key", batches, "", None),
        Row {
            what: "(k) a load after 1 % of the keys have changed, against the whole one; each reads everything back".to_owned(),
            stitch: cell(changed),
            alternative: cell(whole),
            ratio: percent(changed.seconds / whole.seconds),
            aim: "",
            met: None,
        },
    ]
}
