//! The rows of (l).

use super::{Row, thousands};
use crate::growth::{Fleet, Grown, WRONG};

/// Each beside the first fleet.
pub(super) fn rows(all: &[Grown]) -> Vec<Row> {
    let Some(first) = all.first() else {
        return Vec::new();
    };
    all.iter().map(|grown| row(grown, first)).collect()
}

fn row(grown: &Grown, first: &Grown) -> Row {
    let Fleet {
        processors,
        partitions,
        range_bits,
        tracks,
    } = grown.fleet;
    let ranges = 1_u32 << range_bits;
    let cells = f64::from(tracks) * 5.0;
    Row {
        what: format!(
            "(l) {processors} processors, {} partitions, {} ranges, {} cells: `run` of all ranges, {} cells wrong, live traffic; lock held \
             p50 / p99; ZooKeeper's CPU; peak memory of `run`, of a processor",
            thousands(f64::from(partitions)),
            thousands(f64::from(ranges)),
            thousands(cells),
            thousands(f64::from(WRONG))
        ),
        stitch: format!(
            "{:.1} s; {:.0} / {:.0} ms; {:.1} s; {:.0}, {:.0} MiB",
            grown.run.seconds,
            grown.locks.percentile(50),
            grown.locks.percentile(99),
            grown.zookeeper_cpu_seconds,
            grown.run.peak_mib,
            grown.processor_mib
        ),
        alternative: String::new(),
        ratio: format!(
            "{:.1}× the first row's time",
            grown.run.seconds / first.run.seconds
        ),
        aim: "",
        met: None,
    }
}
