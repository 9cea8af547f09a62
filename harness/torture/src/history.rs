//! One history: events arrive, faults happen, restorations run; then all faults stop, and every cell has to be right.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::feed::Live;
use stitch_harness::recount::{CellId, Ranges, Verdict, session};
use tokio::time::{sleep, timeout};

use crate::archivers;
use crate::nemesis::Nemesis;
use crate::plan::{Attempt, Plan};
use crate::process_slot::{self, ProcessSlot};
use crate::restorations::{Outcome, Record};
use crate::test_cluster::TestCluster;
use crate::testbed::{Means, Testbed};
use crate::timeline::{InjectedFault, Timeline};

/// Longer than any history that does not hang.
const BOUND: Duration = Duration::from_secs(900);
/// Longest time until the processors have counted the backlog after the faults.
const COUNTED_BOUND: Duration = Duration::from_secs(90);
/// Longest time that `status` takes.
const STATUS_BOUND: Duration = Duration::from_secs(60);
/// Cells that are corrupted in each of four ways, so that there is something to restore.
const CORRUPTED_EACH: usize = 6;
/// The lag of live traffic without faults.
const LAG_MAX: i64 = 500;

/// The result of a history.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HistoryResult {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    /// Empty if every cell is right and there was no violation.
    pub(crate) wrong: Vec<String>,
    /// Events in the log at the end.
    pub(crate) events: u64,
    /// Cells compared at the end.
    pub(crate) cells: u64,
    /// Whether a verified restoration was checked by a recount before the last restoration.
    pub(crate) cross_checked: bool,
    pub(crate) faults: Vec<InjectedFault>,
    pub(crate) restorations: Vec<Record>,
}

/// A history to be played.
pub(crate) struct History<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) cluster: Arc<TestCluster>,
    pub(crate) means: &'p Means,
    /// The folder of logs and timeline.
    pub(crate) folder: PathBuf,
}

/// Totals at the end.
#[derive(Default)]
struct Summary {
    events: u64,
    cells: u64,
    cross_checked: bool,
    restorations: Vec<Record>,
}

impl History<'_> {
    /// Plays it; failures become part of the result.
    pub(crate) async fn play(self) -> Result<HistoryResult> {
        // Files of an earlier run with this seed would be mistaken for this one's.
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        let timeline = Arc::new(Timeline::start(&self.folder.join("timeline.txt"))?);
        let played = timeout(BOUND, Box::pin(self.phases(&timeline))).await;
        let played = played.unwrap_or_else(|_| {
            Err(anyhow::anyhow!(
                "the history has not ended after {} s",
                BOUND.as_secs()
            ))
        });
        let summary = match played {
            Ok(summary) => summary,
            Err(error) => {
                timeline.violation(format!("{error:#}"));
                Summary::default()
            }
        };
        Ok(HistoryResult {
            seed: self.plan.seed,
            seconds: timeline.now_ms() / 1000,
            wrong: timeline.violations(),
            events: summary.events,
            cells: summary.cells,
            cross_checked: summary.cross_checked,
            faults: timeline.faults(),
            restorations: summary.restorations,
        })
    }

    async fn phases(&self, timeline: &Arc<Timeline>) -> Result<Summary> {
        let (folder, cluster) = (self.folder.clone(), Arc::clone(&self.cluster));
        let testbed =
            Testbed::set_up(self.plan, cluster, self.means, folder, Arc::clone(timeline)).await?;
        let mut slots = Vec::new();
        for (number, way) in self.plan.slots.iter().enumerate() {
            slots.push(testbed.start_slot(number, *way)?);
        }
        let mut events = self.events()?;
        let feed = testbed.namespace.feed()?;
        let mut sent = feed
            .send(events.by_ref().take(self.plan.first_events))
            .await?;
        testbed.namespace.lag()?.until_none(COUNTED_BOUND).await?;
        let mut corruptor = Corruptor::connect(
            &self.cluster.servers,
            testbed.namespace.keyspace(),
            self.plan.seed,
        )
        .await?;
        let by_hand = corruptor.corrupt(CORRUPTED_EACH).await?.changed;
        drop(corruptor);
        timeline.disturbance("some cells were corrupted");

        let live = feed.live(events, self.plan.events_per_second);
        let last = self.faults(&testbed, &slots).await?;
        let (events, more) = live.stop().await?;
        sent += more;
        let cross_checked = self.cross_check(&testbed, last.as_ref()).await?;
        self.check_doubts(&testbed, &by_hand).await?;
        if self.plan.loses_log {
            archivers::lose_the_log(&testbed).await?;
        }
        let live = feed.live(events, self.plan.events_per_second);
        sent += self.last_restoration(&testbed, live).await?;
        let verdict = self.verdict(&testbed).await?;
        if !verdict.all_right() {
            timeline.violation(format!("after the last restoration: {verdict}"));
        }
        try_join_all(slots.into_iter().map(ProcessSlot::stop)).await?;
        Ok(Summary {
            events: sent,
            cells: verdict.total().right + verdict.total().wrong,
            cross_checked,
            restorations: testbed.restorations.records(),
        })
    }

    fn events(&self) -> Result<Generator> {
        Generator::new(Shape {
            seed: self.plan.seed,
            tracks: 300,
            skew: self.plan.skew,
            bad_share: 0.01,
            ..Shape::default()
        })
    }

    /// Runs faults and restorations concurrently, and undoes all faults. Returns the last restoration that verified every
    /// range.
    async fn faults(
        &self,
        testbed: &Testbed,
        slots: &[ProcessSlot],
    ) -> Result<Option<WholeRestoration>> {
        let nemesis = Nemesis { testbed, slots };
        let attempts = self.plan.attempts.iter().map(|attempt| async {
            sleep(attempt.at).await;
            restore(testbed, attempt).await
        });
        let archivers = async {
            if self.plan.loses_log {
                archivers::run_and_kill(testbed).await?;
            }
            Ok(())
        };
        let (_, mut verified, ()) =
            tokio::try_join!(nemesis.strike(self.plan), try_join_all(attempts), archivers)?;
        testbed.lines.repair();
        testbed.timeline.note("no more faults");
        if self.plan.hasty {
            verified.push(restore(testbed, &Attempt::WHOLE).await?);
        }
        if self.plan.hits_servers() {
            self.cluster.heal().await?;
            testbed.timeline.note("all servers are healthy");
        }
        Ok(verified
            .into_iter()
            .flatten()
            .max_by_key(|verified| verified.began_ms))
    }

    /// Checks the last verified restoration by a recount, if nothing has disturbed the history since. Whether it did.
    async fn cross_check(
        &self,
        testbed: &Testbed,
        last: Option<&WholeRestoration>,
    ) -> Result<bool> {
        let Some(last) = last.filter(|last| testbed.timeline.is_undisturbed_since(last.began_ms))
        else {
            return Ok(false);
        };
        let verdict = self.verdict(testbed).await?;
        // Without an injected fault, too, a busy machine may have left counts that are reported as suspect.
        if process_slot::excuses(&testbed.namespace.folder)? > last.excuses {
            return Ok(false);
        }
        testbed.timeline.note(format!(
            "recount after an undisturbed verified restoration: {} wrong",
            verdict.total().wrong
        ));
        if !verdict.all_right() {
            let began = last.began_ms;
            testbed.timeline.violation(format!(
                "a restoration that started at {began} ms exited with 0, nothing has disturbed it since, and yet: {verdict}"
            ));
        }
        Ok(true)
    }

    /// Checks that every wrong cell lies in a range that `status` calls uncertain, unless it was changed by hand: no process
    /// can know of that.
    async fn check_doubts(&self, testbed: &Testbed, by_hand: &BTreeSet<CellId>) -> Result<()> {
        let verdict = self.verdict(testbed).await?;
        let namespace = &testbed.namespace;
        let finished = namespace
            .restorator("status", &["--output", "json"], STATUS_BOUND)
            .await?;
        let status: Value = serde_json::from_str(&finished.output)
            .with_context(|| format!("status: {}{}", finished.output, finished.errors))?;
        let uncertain = status["uncertain"].as_array().context("uncertain ranges")?;
        let uncertain: BTreeSet<u64> = uncertain.iter().filter_map(Value::as_u64).collect();
        let count = status["ranges"].as_u64().context("ranges")?;
        let session = session(&namespace.servers.cassandra).await?;
        let ranges = Ranges::of(&session, namespace.keyspace(), count).await?;
        let mut wrong = 0_u64;
        for cell in &verdict.wrong {
            let range = ranges.range(&cell.id)?;
            wrong += 1;
            if !uncertain.contains(&range) && !by_hand.contains(&cell.id) {
                testbed.timeline.violation(format!(
                    "{:?} holds {} instead of {}, and nothing says that range {range} is uncertain",
                    cell.id, cell.found, cell.expected
                ));
            }
        }
        testbed.timeline.note(format!(
            "before the last restoration {wrong} cells are wrong, and {} ranges uncertain",
            uncertain.len()
        ));
        Ok(())
    }

    /// Restores once more without faults, while events arrive: everything has to be verified.
    async fn last_restoration(&self, testbed: &Testbed, live: Live<Generator>) -> Result<u64> {
        testbed
            .namespace
            .lag()?
            .until_at_most(LAG_MAX, COUNTED_BOUND)
            .await?;
        let record = testbed.restore(&Attempt::WHOLE).await?;
        let (_, sent) = live.stop().await?;
        ensure!(
            record.outcome == Outcome::Verified,
            "the last restoration, without faults, is not verified: {:?} {}",
            record.outcome,
            record.why.unwrap_or_default()
        );
        Ok(sent)
    }

    /// Waits until all events are counted, then recounts.
    async fn verdict(&self, testbed: &Testbed) -> Result<Verdict> {
        let counted = testbed.namespace.lag()?.until_none(COUNTED_BOUND).await;
        counted.context("the processors do not reach the end of the log")?;
        testbed.namespace.recount().await
    }
}

/// A restoration that verified every range, and how many excuses there were when it started.
struct WholeRestoration {
    began_ms: u64,
    excuses: usize,
}

async fn restore(testbed: &Testbed, attempt: &Attempt) -> Result<Option<WholeRestoration>> {
    let excuses = process_slot::excuses(&testbed.namespace.folder)?;
    let record = testbed.restore(attempt).await?;
    let verified = record.outcome == Outcome::Verified && attempt.ranges.is_none();
    Ok(verified.then_some(WholeRestoration {
        began_ms: record.began_ms,
        excuses,
    }))
}
