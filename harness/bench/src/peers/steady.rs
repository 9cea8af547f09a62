//! A steady feed: how long an event takes until it is visible, and what `kill -9` costs.

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

/// What a kill cost of which the process was started again at once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Killed {
    /// Longest time until an event was visible that came around the kill.
    pub(crate) gap_seconds: f64,
    /// Cells that were wrong once everything else was counted.
    pub(crate) wrong: u64,
    pub(crate) cells: u64,
    /// How long it took until none was, where that needs a restoration.
    pub(crate) restored_after_seconds: Option<f64>,
}

/// Feeds events at a steady rate; with a kill afterwards, too, if that is wanted. The lag is then not that of a steady feed:
/// what was not visible yet waits for the second process.
pub(super) async fn measure(
    bench: &Bench,
    programs: &PeerPrograms,
    system: System,
    per_second: f64,
    kill: bool,
) -> Result<(Lag, Option<Killed>)> {
    let per_second = whole(per_second);
    let prepared = Prepared::new(bench, programs, system).await?;
    let mut process = prepared.start("first").await?;
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
        if kill {
            process.kill().await?;
            process = prepared.start("second").await?;
            sleep(bench.sizes.after_kill).await;
        }
        let (probed, sent) = live.stop().await?;
        prepared.namespace.lag()?.until_none(COUNTED_BOUND).await?;
        enough.cancel();
        anyhow::Ok((begin, end, probed.events, sent, process))
    };
    let looking = probes.look(&prepared, enough.clone());
    let ((begin, end, events, sent, process), seen) = tokio::try_join!(feeding, looking)?;
    anyhow::ensure!(sent > 0, "nothing was sent");
    let lag = lag(
        per_second,
        seen.iter()
            .filter(|seen| seen.sent >= begin && seen.sent < end),
    )?;
    let killed = if kill {
        Some(
            killed(
                &prepared,
                &events,
                seen.iter().filter(|seen| seen.sent >= end),
            )
            .await?,
        )
    } else {
        None
    };
    ended(prepared, process).await?;
    Ok((lag, killed))
}

async fn ended(prepared: Prepared, process: Process) -> Result<()> {
    prepared.stop(process).await?;
    prepared.drop().await
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

async fn killed<'a>(
    prepared: &Prepared,
    events: &HashMap<String, i64>,
    around: impl Iterator<Item = &'a Seen>,
) -> Result<Killed> {
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
    Ok(Killed {
        gap_seconds: around
            .map(|seen| seen.after.as_secs_f64())
            .fold(0.0, f64::max),
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
