//! One history as it runs: processors that are restarted when they end, an operator, a nemesis, and final checks.

pub(crate) mod namespace;
mod processors;
mod archivers;
mod totals;
mod batch;
mod retention;
pub(crate) mod operator;
mod nemesis;
mod control;
mod final_phase;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use stitch_common::range::RangeBits;
use stitch_config::Config;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Signal;
use stitch_totals::manifest::TotalsId;
use tokio_util::sync::CancellationToken;

use crate::coverage::Coverage;
use crate::history::{Fault, History};
use crate::process::Process;
use crate::trace::TraceLine;
use crate::world::checker::{Checker, Finding, Kind};
use crate::world::{Handle, World};

/// The longest time that a history may take.
const LIMIT: Micros = 240_000_000;

/// The result of a history.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The first violation.
    pub finding: Option<Finding>,
    /// The hash of the trace, which is the same for every run of the same history.
    pub hash: u64,
    pub coverage: Coverage,
    /// The lines of the trace, if they were kept.
    pub lines: Vec<TraceLine>,
}

/// A history while it runs.
struct Run {
    world: Rc<World>,
    history: Rc<History>,
    config: Rc<Config>,
    /// Fired when faults end.
    faults_over: Rc<Signal>,
    /// Running processes, and how to ask each to stop.
    stops: RefCell<Vec<(Rc<Process>, CancellationToken)>>,
    /// Processes that were asked to stop.
    stopping: RefCell<Vec<Rc<Process>>>,
    /// Processors are no longer restarted.
    closing: Cell<bool>,
    /// Commands and producers that have not ended.
    unfinished: Cell<usize>,
    coverage: RefCell<Coverage>,
    /// The totals that were loaded first in batch.
    first_batch: RefCell<Option<TotalsId>>,
}

/// Runs a history.
pub fn run(history: &History, keep_lines: bool) -> RunResult {
    let bits = RangeBits::new(history.bits).expect("few ranges");
    let mut checker = Checker::new(bits);
    checker.stop_timeout = history.stop_timeout;
    let world = World::new(history.noise, bits, history.latency, checker);
    if keep_lines {
        world.trace.keep_lines();
    }
    let run = Rc::new(Run {
        config: namespace::config(history),
        history: Rc::new(history.clone()),
        world: Rc::clone(&world),
        faults_over: Rc::default(),
        stops: RefCell::default(),
        stopping: RefCell::default(),
        closing: Cell::new(false),
        unfinished: Cell::new(0),
        coverage: RefCell::default(),
        first_batch: RefCell::default(),
    });
    #[cfg(feature = "mutations")]
    crate::world::failpoints::set_up();
    run.begin();
    let broken = crate::invariant_recorder::first_broken(|| {
        if !world.run(LIMIT) && world.finding().is_none() {
            let text = format!("after {} s", world.now() / 1_000_000);
            world.report(Finding::new(Kind::NoEnd, text));
        }
    });
    let mut coverage = run.coverage.borrow().clone();
    coverage.add_history(&world.trace.counts(), history.story);
    let result = RunResult {
        finding: world.finding().or(broken),
        hash: world.trace.hash(),
        coverage,
        lines: world.trace.lines(),
    };
    // Tasks and the world own each other.
    world.executor.clear();
    result
}

impl Run {
    fn begin(self: &Rc<Self>) {
        namespace::create(&self.world, &self.config, self.history.partitions);
        if self.history.is_made_again {
            let run = Rc::clone(self);
            self.world.spawn(async move {
                run.leave_earlier_namespace().await;
                run.begin_namespace();
            });
        } else {
            self.begin_namespace();
        }
    }

    fn begin_namespace(self: &Rc<Self>) {
        for slot in 0..self.history.processors {
            self.world
                .spawn(Rc::clone(self).keep_processor_running(slot));
        }
        for number in 0..self.history.archivers {
            self.world
                .spawn(Rc::clone(self).keep_archiver_running(number));
        }
        self.world.spawn(Rc::clone(self).delete_log());
        self.world.spawn(Rc::clone(self).produce());
        for command in self.history.commands.clone() {
            self.unfinished.set(self.unfinished.get() + 1);
            self.world.spawn(Rc::clone(self).operate(command));
        }
        for build in self.history.builds.clone() {
            self.unfinished.set(self.unfinished.get() + 1);
            self.world.spawn(Rc::clone(self).build_at(build));
        }
        for (number, job) in self.history.batch.clone().into_iter().enumerate() {
            self.unfinished.set(self.unfinished.get() + 1);
            self.world.spawn(Rc::clone(self).batch_at(number, job));
        }
        for injection in self.history.faults.clone() {
            self.world.spawn(Rc::clone(self).inject(injection));
        }
        self.world.spawn(Rc::clone(self).final_phase());
    }

    async fn produce(self: Rc<Self>) {
        for event in self.history.events.clone() {
            self.world.executor.until(event.at).await;
            self.world.produce(event.partition, event.keys);
        }
    }

    fn one_finished(&self) {
        self.unfinished.set(self.unfinished.get() - 1);
    }

    /// How fast the clock of a slot runs ahead, in parts per million.
    fn drift(&self, slot: usize) -> i64 {
        self.history.drifts.get(slot).copied().unwrap_or_default()
    }

    /// The configuration of a process: all have the same, but for their keepalive.
    fn config_of(&self, process: &Process) -> Rc<Config> {
        let keepalive = Duration::from_micros(process.keepalive);
        if self.config.cassandra.keepalive_interval == keepalive {
            return Rc::clone(&self.config);
        }
        let mut config = Config::clone(&self.config);
        config.cassandra.keepalive_interval = keepalive;
        config.cassandra.keepalive_timeout = keepalive;
        Rc::new(config)
    }

    fn handle(&self, process: &Rc<Process>) -> Handle {
        Handle {
            world: Rc::clone(&self.world),
            process: Rc::clone(process),
        }
    }

    fn count_fault(&self, fault: Fault) {
        let step = self.world.trace.step.get();
        self.coverage.borrow_mut().add_fault(fault, step);
    }
}
