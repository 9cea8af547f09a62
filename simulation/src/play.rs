//! A history as it happens: processors that are started again when they end, an operator, faults, and an end at which
//! everything must be right.

mod fleet;
mod finale;
mod namespace;
mod operator;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stitch_common::config::Config;
use stitch_common::range::RangeBits;
use tokio_util::sync::CancellationToken;

use crate::checker::{Checker, Finding, Kind};
use crate::coverage::Coverage;
use crate::executor::Micros;
use crate::history::{Fault, History};
use crate::notes::Line;
use crate::process::Process;
use crate::slot::Signal;
use crate::world::World;

/// No history takes longer.
const LIMIT: Micros = 240_000_000;

/// What came of a history.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What must not be, if something was found.
    pub finding: Option<Finding>,
    /// The same for every run of the same history.
    pub hash: u64,
    /// What happened, counted.
    pub coverage: Coverage,
    /// What happened, line by line, if that was asked for.
    pub table: Vec<Line>,
}

/// One history while it happens.
pub(crate) struct Play {
    pub(crate) world: Rc<World>,
    pub(crate) history: Rc<History>,
    pub(crate) config: Rc<Config>,
    /// Fired when faults end.
    pub(crate) calm_down: Rc<Signal>,
    /// Processes that can be asked to stop.
    stops: RefCell<Vec<(Rc<Process>, CancellationToken)>>,
    /// Those that were.
    stopping: RefCell<Vec<Rc<Process>>>,
    /// No processor is started again.
    closing: Cell<bool>,
    /// Commands of the operator that have not ended.
    busy: Cell<usize>,
    coverage: RefCell<Coverage>,
}

/// Lets a history happen.
#[must_use]
pub fn play(history: &History, keep_table: bool) -> Verdict {
    let bits = RangeBits::new(history.bits).expect("few ranges");
    let world = World::new(history.noise, bits, history.latency, Checker::new(bits));
    if keep_table {
        world.notes.keep();
    }
    let play = Rc::new(Play {
        config: namespace::config(history),
        history: Rc::new(history.clone()),
        world: Rc::clone(&world),
        calm_down: Rc::default(),
        stops: RefCell::default(),
        stopping: RefCell::default(),
        closing: Cell::new(false),
        busy: Cell::new(0),
        coverage: RefCell::default(),
    });
    #[cfg(feature = "mutations")]
    crate::steps::listen();
    play.begin();
    let broken = crate::watch::invariants(|| {
        if !world.run(LIMIT) && world.finding().is_none() {
            let what = format!("after {} s", world.now() / 1_000_000);
            world.find(Finding::new(Kind::NoEnd, what));
        }
    });
    let mut coverage = play.coverage.borrow().clone();
    coverage.count(&world.notes.counts(), history.theme);
    let finding = world.finding().or(broken);
    let verdict = Verdict {
        finding,
        hash: world.notes.hash(),
        coverage,
        table: world.notes.table(),
    };
    // Tasks hold the world, which holds them.
    world.executor.clear();
    verdict
}

impl Play {
    fn begin(self: &Rc<Self>) {
        namespace::make(&self.world, &self.config, self.history.partitions);
        for seat in 0..self.history.processors {
            self.world.spawn(Rc::clone(self).staff(seat));
        }
        self.world.spawn(Rc::clone(self).produce());
        for order in self.history.orders.clone() {
            self.busy.set(self.busy.get() + 1);
            self.world.spawn(Rc::clone(self).operate(order));
        }
        for injected in self.history.faults.clone() {
            self.world.spawn(Rc::clone(self).inject(injected));
        }
        self.world.spawn(Rc::clone(self).finale());
    }

    async fn produce(self: Rc<Self>) {
        for event in self.history.events.clone() {
            self.world.executor.until(event.at).await;
            self.world.produce(event.partition, event.keys);
        }
    }

    pub(crate) fn happened(&self, fault: Fault) {
        let step = self.world.notes.step.get();
        self.coverage.borrow_mut().fault(fault, step);
    }

    /// The clock of a seat runs ahead by so many parts of a million.
    fn drift(&self, seat: usize) -> i64 {
        self.history.drifts.get(seat).copied().unwrap_or_default()
    }
}
