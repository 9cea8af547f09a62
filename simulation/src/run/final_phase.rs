//! The end of a history: faults end, everything that was begun ends, every event is counted; then one restoration runs
//! while the last events are produced; then every count must be right, and nothing may be left behind.

use std::rc::Rc;

use stitch_control::restoration_record::RestorationState;
use stitch_testkit::time::Micros;

use super::Run;
use super::operator::CommandResult;
use super::retention::Gap;
use super::totals::LATE;
use crate::history::{Command, LAST_EVENTS, STEADY_EVENTS, TotalsKind};
use crate::process::Role;
use crate::trace::{Actor, Tracepoint};
use crate::world::checker::{Finding, Kind};

/// How long anything may take once faults have ended.
const PATIENCE: Micros = 60_000_000;
const POLL_INTERVAL: Micros = 20_000;
/// After this time, unused sessions have expired, and processes that had lost theirs have a new one.
const SESSIONS_SETTLE: Micros = 2_000_000;

impl Run {
    pub(super) async fn final_phase(self: Rc<Self>) {
        if self.final_checks().await.is_some() {
            self.world.end();
        }
    }

    /// `None` if something did not happen in time, which was reported.
    async fn final_checks(self: &Rc<Self>) -> Option<()> {
        let world = Rc::clone(&self.world);
        world.executor.until(self.history.faults_end_at).await;
        world.record(Actor::World, Tracepoint::Fault, || "faults end".to_owned());
        self.faults_over.fire();
        // Every fault is undone at this moment; tombstones of deleted cells are dropped, too.
        world.executor.until(world.now() + 1).await;
        {
            let mut table = world.cluster.table.borrow_mut();
            table.replicate_all();
            table.drop_tombstones();
        }
        let finished = || self.unfinished.get() == 0;
        self.wait("every command ends", finished).await?;
        let stopped = || self.has_stopped();
        self.wait("every process that was asked to stop ends", stopped)
            .await?;
        let caught_up = || world.is_caught_up();
        self.wait("every event is counted", caught_up).await?;
        world.check_drift_is_explained();
        // A process that lost its session in the last fault, and does not know it yet, would leave a dead member that no
        // process cleans up.
        let settled = self.history.faults_end_at + SESSIONS_SETTLE;
        world.executor.until(settled.max(world.now())).await;
        let producer = Rc::clone(self);
        self.unfinished.set(self.unfinished.get() + 1);
        world.spawn(async move {
            producer.produce_last_events().await;
            producer.one_finished();
        });
        let was_refused = self.last_restoration().await;
        self.wait("the last events are produced", finished).await?;
        self.wait("every event is counted", caught_up).await?;
        self.wait("every record is archived", || self.is_archived())
            .await?;
        self.stop_all();
        let none_left = || self.has_no_process();
        self.wait("every processor ends", none_left).await?;
        world.executor.until(world.now() + SESSIONS_SETTLE).await;
        if was_refused {
            world.check_drift_is_explained();
        } else {
            world.check_counts_are_right();
            if !self.history.batch.is_empty() {
                self.last_batch().await;
            }
        }
        world.check_nothing_is_left(!was_refused);
        Some(())
    }

    /// Waits until a condition holds. `None` if it never does, which is reported.
    async fn wait(&self, condition: &str, holds: impl Fn() -> bool) -> Option<()> {
        let world = &self.world;
        let until = world.now() + PATIENCE;
        while !holds() {
            if world.now() > until {
                let text = format!("not in time: {condition}");
                world.report(Finding::new(Kind::NoEnd, text));
                return None;
            }
            world.executor.until(world.now() + POLL_INTERVAL).await;
        }
        Some(())
    }

    async fn produce_last_events(&self) {
        let world = &self.world;
        let (count, pause) = if self.history.steady_load {
            // Each increment takes as long as several events need to arrive.
            let mut rates = world.cluster.fault_rates.get();
            rates.busy = 100;
            world.cluster.fault_rates.set(rates);
            (STEADY_EVENTS, 50_000)
        } else {
            (LAST_EVENTS, 300_000)
        };
        for number in 0..count {
            let pause = world.rng.below(pause);
            world.executor.until(world.now() + pause).await;
            let partition = number % self.history.partitions;
            world.produce(partition, Some((number % 2, number % 3)));
        }
    }

    /// Runs a restoration that meets no fault, so it must verify every range; or refuse, and change nothing, if records are
    /// neither in the archive nor in the log. Returns whether it has refused.
    async fn last_restoration(self: &Rc<Self>) -> bool {
        let gaps = self.gaps();
        let command = Command {
            at: self.world.now(),
            only_plan: false,
            range: None,
            counter: None,
            stop_after: None,
        };
        let text = match self.run_command(command).await {
            Some(CommandResult::Run(run)) => match *run {
                Ok(report) if report.state() == RestorationState::Verified => {
                    if let Some(gap) = self.gaps().first() {
                        let text = format!("verified in spite of {gap:?}");
                        self.world.report(Finding::new(Kind::Gap, text));
                    }
                    return false;
                }
                Ok(report) => {
                    let errors = report
                        .ranges
                        .iter()
                        .filter_map(|range| range.error.as_ref());
                    let errors: Vec<_> = errors.map(ToString::to_string).collect();
                    errors.join("; ")
                }
                Err(error) if self.may_refuse(&gaps, &error.message) => {
                    self.world
                        .record(Actor::World, Tracepoint::GapRefused, || error.to_string());
                    self.check_nothing_was_sent();
                    return true;
                }
                Err(error) => error.to_string(),
            },
            Some(CommandResult::Plan(_)) | None => "it did not end".to_owned(),
        };
        self.world.report(Finding::new(Kind::Unverified, text));
        false
    }

    /// Whether a restoration may refuse in these words: there is a gap, or the newest totals count a counter late.
    fn may_refuse(&self, gaps: &[Gap], message: &str) -> bool {
        let mut builds = self.history.builds.iter();
        let is_late = builds.any(|build| build.kind == TotalsKind::LateCounter);
        let names_counter = message.contains(&format!("count {LATE} only from offset"));
        let is_lacking = message.contains(&format!("lack the counters {LATE}"));
        is_late && (names_counter || is_lacking) || gaps.iter().any(|gap| gap.is_named_by(message))
    }

    /// Checks that the restoration that ended last has corrected nothing.
    fn check_nothing_was_sent(&self) {
        let processes = self.world.processes.borrow();
        let last = processes.iter().rfind(|one| one.role == Role::Restorator);
        let number = last.map(|process| process.number);
        if number.is_some_and(|number| self.world.checker.borrow().has_corrected(number)) {
            let text = "a restoration that was refused has corrected cells";
            self.world.report(Finding::new(Kind::Gap, text));
        }
    }
}
