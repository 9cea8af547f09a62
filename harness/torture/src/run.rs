//! Many histories: which come next, how many at once, when to stop.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use crate::field::Means;
use crate::history::{History, Told};
use crate::plan::Plan;
use crate::results::Results;
use crate::test_cluster::TestCluster;

/// What a history takes at most, when all goes well: none begins later than this before the end.
const HISTORY_TAKES: Duration = Duration::from_secs(75);

/// Of five histories about so many hit no server, as they are drawn, and so many do.
const OWN_SHARE: usize = 3;
const SERVERS_SHARE: usize = 2;

/// A run of many histories.
pub(crate) struct Run {
    pub(crate) room: Arc<TestCluster>,
    pub(crate) means: Means,
    /// Each history has a folder below it.
    pub(crate) folder: PathBuf,
    /// Those whose faults hit no server play side by side, so many at once.
    pub(crate) side_by_side: usize,
    /// None begins that would not be over by then.
    pub(crate) until: Option<Instant>,
}

impl Run {
    /// Plays the histories of these seeds, and tells of each as soon as it has ended.
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
            // Where one breaks off, those beside it are dropped, and what they run is killed.
            let mut playing = stream::iter(&round.plans)
                .map(|plan| self.one(plan))
                .buffer_unordered(at_once);
            while let Some(told) = playing.next().await {
                let Some(told) = told? else { continue };
                tell(&told, &self.folder_of(told.seed), out)?;
                results.add(told)?;
            }
        }
        Ok(())
    }

    /// None if it would not be over in time.
    async fn one(&self, plan: &Plan) -> Result<Option<Told>> {
        if self.is_over() {
            return Ok(None);
        }
        // One that hits servers needs them well when it begins; so do those after it.
        self.room.heal().await?;
        let history = History {
            plan,
            room: Arc::clone(&self.room),
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

/// Histories that are still to be played, those that hit servers apart.
struct Queues {
    own: VecDeque<Plan>,
    servers: VecDeque<Plan>,
    servers_next: bool,
}

/// Histories that follow each other without a pause.
struct Round {
    /// Then each plays alone.
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

    /// Some that hit no server, then some that do, and so on, in the order of their seeds and about as they are drawn.
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
        let taken = queue.len().min(share * side_by_side);
        (taken > 0).then(|| Round {
            hits_servers,
            plans: queue.drain(..taken).collect(),
        })
    }
}

/// A line for a history that went well; everything for one that did not.
fn tell(told: &Told, folder: &Path, out: &mut impl Write) -> Result<()> {
    let Told {
        seed,
        seconds,
        events,
        cells,
        ..
    } = told;
    let restorations = told.restorations_in_words();
    let faults = told.faults.len();
    let verdict = if told.wrong.is_empty() {
        "right"
    } else {
        "FAILED"
    };
    writeln!(
        out,
        "seed {seed:<6} {verdict:<6} {seconds:>4} s  {faults:>3} faults  {events:>6} events  {cells:>6} cells  restorations: {restorations}"
    )?;
    if told.wrong.is_empty() {
        return Ok(out.flush()?);
    }
    for wrong in &told.wrong {
        writeln!(out, "  {wrong}")?;
    }
    writeln!(out, "  faults:")?;
    for fault in &told.faults {
        let (at, kind, what) = (fault.at_ms, fault.kind, &fault.what);
        writeln!(out, "  {:>8} ms  {kind}: {what}", at)?;
    }
    writeln!(
        out,
        "  what happened, and what the processes said: {}",
        folder.display()
    )?;
    writeln!(out, "  again: deploy/torture --histories 1 --seed {seed}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_that_hit_servers_play_alone_and_none_is_left_out() {
        let mut queues = Queues::of((0..50).map(Plan::draw));
        let mut seen = Vec::new();
        while let Some(round) = queues.next(3) {
            for plan in round.plans {
                assert_eq!(plan.hits_servers(), round.hits_servers);
                seen.push(plan.seed);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..50).collect::<Vec<u64>>());
    }
}
