//! A steady feed: how long an event takes until it is visible, and what it costs when processes come and go.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use stitch_harness::process::Process;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::probes::{Probes, Seen};
use super::system::{PeerPrograms, Prepared, System};
use super::table;
use crate::Bench;
use crate::load::Keys;

const COUNTED_BOUND: Duration = Duration::from_secs(300);

/// Milliseconds from an event until its count is visible.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lag {
    pub(crate) per_second: u32,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) longest_ms: f64,
}

/// What happens to processes while events go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
    /// `kill -9` of the only process, and its start at once.
    Restart,
    /// A second process joins.
    Join,
    /// `kill -9` of one of two processes.
    Loss,
}

/// What a disruption cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Disrupted {
    /// Of events that came after it.
    pub(crate) lag: Lag,
    /// Cells that were wrong once everything else was counted.
    pub(crate) wrong: u64,
    pub(crate) cells: u64,
    /// How long it took until none was, where that needs a restoration.
    pub(crate) restored_after_seconds: Option<f64>,
}

/// Feeds events at a steady rate; with a disruption afterwards, too, if that is wanted. The lag is then not that of a steady
/// feed: what was not visible yet may wait for another process.
pub(super) async fn measure(
    bench: &Bench,
    programs: &PeerPrograms,
    system: System,
    per_second: f64,
    disruption: Option<Disruption>,
) -> Result<(Lag, Option<Disrupted>)> {
    let per_second = whole(per_second);
    let prepared = Prepared::new(bench, programs, system).await?;
    let mut process = prepared.start("first").await?;
    let mut other = None;
    if disruption == Some(Disruption::Loss) {
        other = Some(prepared.start("second").await?);
    }
    let (probes, probed) =
        Probes::among(bench.load(Keys::Uniform(bench.sizes.tracks))?, per_second);
    let enough = CancellationToken::new();
    let feeding = async {
        let live = prepared.namespace.feed()?.live(probed, per_second);
        // A new group's first rebalance, and a new process's first seconds, are not the steady state.
        sleep(bench.sizes.window_warm_up).await;
        let begin = Instant::now();
        sleep(bench.sizes.measure).await;
        let end = Instant::now();
        match disruption {
            None => {}
            Some(Disruption::Restart) => {
                process.kill().await?;
                process = prepared.start("first").await?;
            }
            Some(Disruption::Join) => other = Some(prepared.start("second").await?),
            Some(Disruption::Loss) => {
                process.kill().await?;
                process = other.take().context("a second process")?;
            }
        }
        if disruption.is_some() {
            sleep(bench.sizes.after_kill).await;
        }
        let (probed, sent) = live.stop().await?;
        prepared.namespace.lag()?.until_none(COUNTED_BOUND).await?;
        enough.cancel();
        let running: Vec<Process> = [process].into_iter().chain(other).collect();
        anyhow::Ok((begin, end, probed.events, sent, running))
    };
    let looking = probes.look(&prepared, enough.clone());
    let ((begin, end, events, sent, running), seen) = tokio::try_join!(feeding, looking)?;
    anyhow::ensure!(sent > 0, "nothing was sent");
    let before = seen
        .iter()
        .filter(|seen| seen.sent >= begin && seen.sent < end);
    let steady = lag(per_second, before)?;
    let disrupted = if disruption.is_some() {
        let after = lag(per_second, seen.iter().filter(|seen| seen.sent >= end))?;
        Some(disrupted(&prepared, &events, after).await?)
    } else {
        None
    };
    for process in running {
        prepared.stop(process).await?;
    }
    prepared.drop().await?;
    Ok((steady, disrupted))
}

fn lag<'a>(per_second: u32, seen: impl Iterator<Item = &'a Seen>) -> Result<Lag> {
    let mut times: Vec<f64> = seen.map(|seen| seen.after.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    let last = times.len().checked_sub(1).context("no probe was seen")?;
    let percentile = |percent: usize| times[last * percent / 100];
    Ok(Lag {
        per_second,
        p50_ms: percentile(50),
        p99_ms: percentile(99),
        longest_ms: times[last],
    })
}

async fn disrupted(
    prepared: &Prepared,
    events: &HashMap<String, i64>,
    lag: Lag,
) -> Result<Disrupted> {
    let wrong = async || table::wrong(&prepared.session, &prepared.keyspace, events).await;
    let found = wrong().await?;
    let mut restored_after_seconds = None;
    if found > 0 && prepared.system == System::Stitch {
        let began = Instant::now();
        prepared.restore().await?;
        restored_after_seconds = Some(began.elapsed().as_secs_f64());
        let left = wrong().await?;
        anyhow::ensure!(left == 0, "{left} cells are wrong after a restoration");
    }
    Ok(Disrupted {
        lag,
        wrong: found,
        cells: u64::try_from(events.len() * crate::load::CELLS.len())?,
        restored_after_seconds,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate of events is positive and far below 2^32"
)]
fn whole(rate: f64) -> u32 {
    rate.round().max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let seen: Vec<Seen> = (0..=100)
            .rev()
            .map(|millis| Seen {
                sent: Instant::now(),
                after: Duration::from_millis(millis),
            })
            .collect();
        let lag = lag(5, seen.iter()).unwrap();
        assert_eq!(
            (lag.p50_ms, lag.p99_ms, lag.longest_ms),
            (50.0, 99.0, 100.0)
        );
        assert!(super::lag(5, [].iter()).is_err());
    }
}
