//! One history: events flow, things go wrong, restorations run; then all faults stop, and every cell has to be right.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde::Serialize;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::feed::Live;
use stitch_harness::recount::Verdict;
use tokio::time::{sleep, timeout};

use crate::attempts::{Outcome, Record};
use crate::chronicle::{Chronicle, Struck};
use crate::field::{Field, Means};
use crate::nemesis::Nemesis;
use crate::plan::{Attempt, Plan};
use crate::process_slot::{self, ProcessSlot};
use crate::test_cluster::TestCluster;

/// No history takes longer, unless something hangs.
const BOUND: Duration = Duration::from_secs(900);
/// Once the faults are over, the processors have counted what piled up within this time.
const COUNTED_BOUND: Duration = Duration::from_secs(90);
/// Cells that somebody breaks by hand in each of four ways, so that there is something to restore.
const BROKEN_EACH: usize = 6;
/// A lag that live traffic has anyhow.
const LAG_MAX: i64 = 500;

/// What came of a history.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    /// Nothing: every cell is right, and nothing happened that must not.
    pub(crate) wrong: Vec<String>,
    /// Events in the log at the end.
    pub(crate) events: u64,
    /// Cells that were compared at the end.
    pub(crate) cells: u64,
    /// Whether a restoration's proof was held against a recount before the last restoration.
    pub(crate) contradictable: bool,
    pub(crate) faults: Vec<Struck>,
    pub(crate) restorations: Vec<Record>,
}

/// Plays a history to its end.
pub(crate) struct History<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) room: Arc<TestCluster>,
    pub(crate) means: &'p Means,
    /// Logs and the chronicle are kept here.
    pub(crate) folder: PathBuf,
}

/// What is known at the end.
#[derive(Default)]
struct Reckoning {
    events: u64,
    cells: u64,
    contradictable: bool,
    restorations: Vec<Record>,
}

impl History<'_> {
    /// Plays it; whatever goes wrong is told.
    pub(crate) async fn play(self) -> Result<Told> {
        // What an earlier run left of this seed would be taken for this one's.
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        let chronicle = Arc::new(Chronicle::begin(&self.folder.join("chronicle.txt"))?);
        let played = timeout(BOUND, Box::pin(self.scenes(&chronicle))).await;
        let played = played.unwrap_or_else(|_| {
            Err(anyhow::anyhow!(
                "it has not ended after {} s",
                BOUND.as_secs()
            ))
        });
        let reckoning = match played {
            Ok(reckoning) => reckoning,
            Err(error) => {
                chronicle.complain(format!("{error:#}"));
                Reckoning::default()
            }
        };
        Ok(Told {
            seed: self.plan.seed,
            seconds: chronicle.now_ms() / 1000,
            wrong: chronicle.complaints(),
            events: reckoning.events,
            cells: reckoning.cells,
            contradictable: reckoning.contradictable,
            faults: chronicle.faults(),
            restorations: reckoning.restorations,
        })
    }

    async fn scenes(&self, chronicle: &Arc<Chronicle>) -> Result<Reckoning> {
        let (folder, room) = (self.folder.clone(), Arc::clone(&self.room));
        let field =
            Field::lay_out(self.plan, room, self.means, folder, Arc::clone(chronicle)).await?;
        let mut seats = Vec::new();
        for (number, way) in self.plan.seats.iter().enumerate() {
            seats.push(field.seat(number, *way)?);
        }
        let mut events = self.events()?;
        let feed = field.stage.feed()?;
        let mut sent = feed
            .send(events.by_ref().take(self.plan.first_events))
            .await?;
        field.stage.lag()?.until_none(COUNTED_BOUND).await?;
        let mut vandal =
            Corruptor::enter(&self.room.servers, field.stage.keyspace(), self.plan.seed).await?;
        vandal.rage(BROKEN_EACH).await?;
        drop(vandal);
        chronicle.trouble("some cells were broken by hand");

        let live = feed.live(events, self.plan.events_per_second);
        let last = self.faults(&field, &seats).await?;
        let (events, more) = live.stop().await?;
        sent += more;
        let contradictable = self.contradicts(&field, last.as_ref()).await?;
        let live = feed.live(events, self.plan.events_per_second);
        sent += self.last_restoration(&field, live).await?;
        let verdict = self.verdict(&field).await?;
        if !verdict.all_right() {
            chronicle.complain(format!("after the last restoration: {verdict}"));
        }
        dismiss(seats).await?;
        Ok(Reckoning {
            events: sent,
            cells: verdict.total().right + verdict.total().wrong,
            contradictable,
            restorations: field.attempts.ended(),
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

    /// Faults and restorations side by side; at the end nothing is left undone. Gives the last that was proved whole.
    async fn faults(&self, field: &Field, seats: &[ProcessSlot]) -> Result<Option<Whole>> {
        let nemesis = Nemesis { field, seats };
        let attempts = self.plan.attempts.iter().map(|attempt| async {
            sleep(attempt.at).await;
            whole(field, attempt).await
        });
        let (_, mut proofs) = tokio::try_join!(nemesis.strike(self.plan), try_join_all(attempts))?;
        field.lines.repair();
        field.chronicle.note("no more faults");
        if self.plan.hasty {
            proofs.push(whole(field, &Attempt::WHOLE).await?);
        }
        if self.plan.hits_servers() {
            self.room.heal().await?;
            field.chronicle.note("all servers are well");
        }
        Ok(proofs
            .into_iter()
            .flatten()
            .max_by_key(|whole| whole.began_ms))
    }

    /// A proof after which nothing has happened must hold. Whether there was one.
    async fn contradicts(&self, field: &Field, last: Option<&Whole>) -> Result<bool> {
        let Some(last) = last.filter(|last| field.chronicle.is_quiet_since(last.began_ms)) else {
            return Ok(false);
        };
        let verdict = self.verdict(field).await?;
        // What came to pass without a fault of ours, on a busy machine, excuses it all the same.
        if process_slot::excuses(&field.stage.folder)? > last.excuses {
            return Ok(false);
        }
        field.chronicle.note(format!(
            "recount after a proof that no fault came after: {} wrong",
            verdict.total().wrong
        ));
        if !verdict.all_right() {
            let began = last.began_ms;
            field.chronicle.complain(format!(
                "a restoration that began at {began} ms ended with 0, nothing went wrong since, and yet: {verdict}"
            ));
        }
        Ok(true)
    }

    /// One without faults, while events flow: it has to prove everything.
    async fn last_restoration(&self, field: &Field, live: Live<Generator>) -> Result<u64> {
        field
            .stage
            .lag()?
            .until_at_most(LAG_MAX, COUNTED_BOUND)
            .await?;
        let record = field.restore(&Attempt::WHOLE).await?;
        let (_, sent) = live.stop().await?;
        ensure!(
            record.outcome == Outcome::Verified,
            "the last restoration, without faults, was not proved: {:?} {}",
            record.outcome,
            record.why.unwrap_or_default()
        );
        Ok(sent)
    }

    /// The independent recount, when all events are counted.
    async fn verdict(&self, field: &Field) -> Result<Verdict> {
        let counted = field.stage.lag()?.until_none(COUNTED_BOUND).await;
        counted.context("the processors do not come to the end")?;
        field.stage.recount().await
    }
}

/// A restoration that proved every range, and how things stood when it began.
struct Whole {
    began_ms: u64,
    excuses: usize,
}

async fn whole(field: &Field, attempt: &Attempt) -> Result<Option<Whole>> {
    let excuses = process_slot::excuses(&field.stage.folder)?;
    let record = field.restore(attempt).await?;
    let verified = record.outcome == Outcome::Verified && attempt.ranges.is_none();
    Ok(verified.then_some(Whole {
        began_ms: record.began_ms,
        excuses,
    }))
}

async fn dismiss(seats: Vec<ProcessSlot>) -> Result<()> {
    try_join_all(seats.into_iter().map(ProcessSlot::dismiss))
        .await
        .map(drop)
}
