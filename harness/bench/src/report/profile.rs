//! The rows of (n).

use super::{Row, percent};
use crate::profile::{NodeProfile, Profiles};

pub(super) fn rows(profiles: &Profiles) -> [Row; 3] {
    let Profiles { stitch, naive } = profiles;
    let row = |what: &str, cell: fn(&NodeProfile) -> String| Row {
        what: format!(
            "(n) a node while uniform keys are counted, against an increment a request: {what}"
        ),
        stitch: cell(stitch),
        alternative: cell(naive),
        ratio: String::new(),
        aim: "",
        met: None,
    };
    [
        row("its CPU for a cell sent, and for an event", |profile| {
            let cpu = |of: f64| profile.cpu.total() / of * 1e6;
            let counted = &profile.counted;
            format!("{:.0}, {:.0} µs", cpu(counted.cells), cpu(counted.events))
        }),
        row(
            "of it Java, kernel, compiling, collecting garbage",
            |profile| {
                let cpu = &profile.cpu;
                let shares = [cpu.java, cpu.kernel, cpu.compiling, cpu.collecting];
                shares.map(|part| percent(part / cpu.total())).join(", ")
            },
        ),
        row("what its Java code does", activities),
    ]
}

/// Largest share first.
fn activities(profile: &NodeProfile) -> String {
    let all: u32 = profile.samples.values().sum();
    let mut activities: Vec<_> = profile.samples.iter().collect();
    activities.sort_by_key(|(_, samples)| std::cmp::Reverse(**samples));
    let share = |samples: u32| percent(f64::from(samples) / f64::from(all));
    activities
        .into_iter()
        .map(|(activity, samples)| format!("{} {}", activity.name(), share(*samples)))
        .collect::<Vec<_>>()
        .join(", ")
}
