//! Runs many histories: which come next, how many at once, when to stop.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::history::{History, HistoryResult};
use crate::plan::Plan;
use crate::results::Results;
use crate::test_cluster::TestCluster;
use crate::testbed::Means;

/// Longest history without failures: none starts later than this before the end.
const HISTORY_TAKES: Duration = Duration::from_secs(75);

/// Of five drawn histories, about this many have no fault of a server, and this many have one.
const OWN_SHARE: usize = 3;
const SERVERS_SHARE: usize = 2;

/// A run of many histories.
pub(crate) struct Run {
    pub(crate) cluster: Arc<TestCluster>,
    pub(crate) means: Means,
    /// Each history has a folder below it.
    pub(crate) folder: PathBuf,
    /// How many histories without faults of servers run concurrently.
    pub(crate) side_by_side: usize,
    /// No history starts that would end later.
    pub(crate) until: Option<Instant>,
}

impl Run {
    /// Plays the histories of these seeds, and prints each result as soon as there is one.
    pub(crate) async fn play(
        &self,
        seeds: impl Iterator<Item = u64>,
        results: &mut Results,
        out: &mut impl Write,
    ) -> Result<()> {
        let mut queues = Queues::of(seeds.map(Plan::draw));
        while let Some(round) = queues.next(self.side_by_side) {
            if self.is_over() {
                break;
            }
            let at_once = if round.hits_servers {
                1
            } else {
                self.side_by_side
            };
            // If one fails, the concurrent ones are dropped, and their processes killed.
            let mut playing = stream::iter(&round.plans)
                .map(|plan| self.one(plan))
                .buffer_unordered(at_once);
            while let Some(result) = playing.next().await {
                let Some(result) = result? else { continue };
                print_result(&result, &self.folder_of(result.seed), out)?;
                results.add(result)?;
            }
        }
        Ok(())
    }

    /// Plays a history; none if it would end too late.
    async fn one(&self, plan: &Plan) -> Result<Option<HistoryResult>> {
        if self.is_over() {
            return Ok(None);
        }
        // Histories start with healthy servers, whatever the last one did to them.
        self.cluster.heal().await?;
        let history = History {
            plan,
            cluster: Arc::clone(&self.cluster),
            means: &self.means,
            folder: self.folder_of(plan.seed),
        };
        history.play().await.map(Some)
    }

    fn is_over(&self) -> bool {
        let end = Instant::now() + HISTORY_TAKES;
        self.until.is_some_and(|until| end > until)
    }

    fn folder_of(&self, seed: u64) -> PathBuf {
        self.folder.join(format!("seed-{seed}"))
    }
}

/// Histories to be played, separated by whether they have faults of servers.
struct Queues {
    own: VecDeque<Plan>,
    servers: VecDeque<Plan>,
    servers_next: bool,
}

/// Histories that are played in one go.
struct Round {
    /// Then each runs alone.
    hits_servers: bool,
    plans: Vec<Plan>,
}

impl Queues {
    fn of(plans: impl Iterator<Item = Plan>) -> Self {
        let (servers, own) = plans.partition(Plan::hits_servers);
        Self {
            own,
            servers,
            servers_next: false,
        }
    }

    /// Alternates between both kinds, in the order of seeds and about in the proportion in which they are drawn.
    fn next(&mut self, side_by_side: usize) -> Option<Round> {
        let hits_servers = if self.servers_next {
            !self.servers.is_empty()
        } else {
            self.own.is_empty()
        };
        self.servers_next = !hits_servers;
        let (queue, share) = if hits_servers {
            (&mut self.servers, SERVERS_SHARE)
        } else {
            (&mut self.own, OWN_SHARE)
        };
        let count = queue.len().min(share * side_by_side);
        (count > 0).then(|| Round {
            hits_servers,
            plans: queue.drain(..count).collect(),
        })
    }
}

/// Prints a line for a history that is right, and all details of one that is not.
fn print_result(result: &HistoryResult, folder: &Path, out: &mut impl Write) -> Result<()> {
    let HistoryResult {
        seed,
        seconds,
        events,
        cells,
        ..
    } = result;
    let restorations = result.restorations_in_words();
    let faults = result.faults.len();
    let verdict = if result.wrong.is_empty() {
        "right"
    } else {
        "FAILED"
    };
    writeln!(
        out,
        "seed {seed:<6} {verdict:<6} {seconds:>4} s  {faults:>3} faults  {events:>6} events  {cells:>6} cells  restorations: {restorations}"
    )?;
    if result.wrong.is_empty() {
        return Ok(out.flush()?);
    }
    for wrong in &result.wrong {
        writeln!(out, "  {wrong}")?;
    }
    writeln!(out, "  faults:")?;
    for fault in &result.faults {
        let (at, kind, what) = (fault.at_ms, fault.kind, &fault.what);
        writeln!(out, "  {:>8} ms  {kind}: {what}", at)?;
    }
    writeln!(
        out,
        "  timeline, and logs of the processes: {}",
        folder.display()
    )?;
    writeln!(out, "  replay: deploy/torture --histories 1 --seed {seed}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_with_faults_of_servers_run_alone_and_none_is_left_out() {
        let mut queues = Queues::of((0..50).map(Plan::draw));
        let mut seeds = Vec::new();
        while let Some(round) = queues.next(3) {
            for plan in round.plans {
                assert_eq!(plan.hits_servers(), round.hits_servers);
                seeds.push(plan.seed);
            }
        }
        seeds.sort_unstable();
        assert_eq!(seeds, (0..50).collect::<Vec<u64>>());
    }
}
