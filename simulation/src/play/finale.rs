//! The end: faults stop, what was begun ends, everything is counted; then one restoration while the last events come;
//! then every count must be right, and nothing left behind.

use std::rc::Rc;

use stitch_protocol::restoration::RestorationState;

use super::Play;
use super::operator::Answered;
use crate::checker::{Finding, Kind};
use crate::executor::Micros;
use crate::history::{CROWD, LAST_EVENTS, Ordered};
use crate::notes::{Phase, Who};

/// How long anything may take once faults have stopped.
const PATIENCE: Micros = 60_000_000;
/// How often is looked.
const LOOK: Micros = 20_000;
/// By then a session that nobody uses has ended, and a process that was cut off from its own has a new one.
const SESSIONS_SETTLE: Micros = 2_000_000;

impl Play {
    pub(super) async fn finale(self: Rc<Self>) {
        let world = Rc::clone(&self.world);
        world.executor.until(self.history.calm_at).await;
        world.note(Who::World, Phase::Fault, || "faults stop".to_owned());
        self.calm_down.fire();
        // Everything that is undone is undone at this moment; a deleted cell's tombstone is dropped, too.
        world.executor.until(world.now() + 1).await;
        {
            let mut cells = world.cluster.cells.borrow_mut();
            cells.replicate_all();
            cells.drop_tombstones();
        }
        if !self
            .wait("a command of the operator ends", || self.busy.get() == 0)
            .await
        {
            return;
        }
        if !self
            .wait("what was asked to stop ends", || self.has_stopped())
            .await
        {
            return;
        }
        if !self
            .wait("every event is counted", || world.is_caught_up())
            .await
        {
            return;
        }
        world.drift_is_explained();
        // Who has lost its session in the last fault, and does not know it yet, would leave a tombstone that nobody sweeps.
        let settled = self.history.calm_at + SESSIONS_SETTLE;
        world.executor.until(settled.max(world.now())).await;
        let last = Rc::clone(&self);
        self.busy.set(self.busy.get() + 1);
        world.spawn(async move {
            last.last_events().await;
            last.busy.set(last.busy.get() - 1);
        });
        self.last_restoration().await;
        if !self
            .wait("the last events are produced", || self.busy.get() == 0)
            .await
        {
            return;
        }
        if !self
            .wait("every event is counted", || world.is_caught_up())
            .await
        {
            return;
        }
        self.stop_all();
        if !self.wait("every processor ends", || self.is_empty()).await {
            return;
        }
        world.executor.until(world.now() + SESSIONS_SETTLE).await;
        world.counts_are_right();
        world.nothing_is_left();
        world.end();
    }

    /// Waits until it is so; `false` if it never is.
    async fn wait(&self, what: &str, is_so: impl Fn() -> bool) -> bool {
        let world = &self.world;
        let until = world.now() + PATIENCE;
        while !is_so() {
            if world.now() > until {
                world.find(Finding::new(Kind::NoEnd, format!("not so in time: {what}")));
                return false;
            }
            world.executor.until(world.now() + LOOK).await;
        }
        true
    }

    async fn last_events(&self) {
        let world = &self.world;
        let (count, pause) = match self.history.crowd {
            true => (CROWD, 50_000),
            false => (LAST_EVENTS, 300_000),
        };
        if self.history.crowd {
            // Each takes as long as several others need to come.
            let mut weather = world.cluster.weather.get();
            weather.busy = 100;
            world.cluster.weather.set(weather);
        }
        for number in 0..count {
            let pause = world.rng.below(pause);
            world.executor.until(world.now() + pause).await;
            let partition = number % self.history.partitions;
            world.produce(partition, Some((number % 2, number % 3)));
        }
    }

    /// It meets no fault, so it proves every range.
    async fn last_restoration(self: &Rc<Self>) {
        let order = Ordered {
            at: self.world.now(),
            only_plan: false,
            range: None,
            stop_after: None,
        };
        let what = match self.restore(order).await {
            Some(Answered::Run(run)) => match *run {
                Ok(report) if report.state() == RestorationState::Verified => return,
                Ok(report) => {
                    let failures = report
                        .ranges
                        .iter()
                        .filter_map(|range| range.error.as_ref());
                    let failures: Vec<_> = failures.map(ToString::to_string).collect();
                    failures.join("; ")
                }
                Err(failure) => failure.to_string(),
            },
            Some(Answered::Plan(_)) | None => "it did not answer".to_owned(),
        };
        self.world.find(Finding::new(Kind::Unverified, what));
    }
}
