//! The world of one history: time, chance, the three servers, the processes, and whoever watches them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use stitch_common::cell::Counter;
use stitch_common::checkpoint::Checkpoint;
use stitch_common::range::RangeBits;

use crate::cassandra::Cluster;
use crate::checker::{Checker, Finding};
use crate::executor::{Executor, Micros, Step};
use crate::kafka::Topic;
use crate::keeper::Ensemble;
use crate::notes::{Notes, Phase, Who};
use crate::process::{Process, ProcessClock, Role, Seat};
use crate::rng::Rng;

/// The world.
pub(crate) struct World {
    pub(crate) executor: Rc<Executor>,
    pub(crate) rng: Rng,
    pub(crate) keeper: Ensemble,
    pub(crate) cluster: Cluster,
    pub(crate) topic: Topic,
    pub(crate) checker: RefCell<Checker>,
    /// By partition, its progress as it stands in ZooKeeper: read there as often as it is written, and not more often.
    pub(crate) progress: RefCell<BTreeMap<i32, Checkpoint>>,
    pub(crate) notes: Notes,
    pub(crate) bits: RangeBits,
    pub(crate) processes: RefCell<Vec<Rc<Process>>>,
    /// A packet takes up to so long.
    latency: Micros,
    finding: RefCell<Option<Finding>>,
    over: Cell<bool>,
}

/// The world as one process has it: every port of the product.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Rc<World>,
    pub(crate) process: Rc<Process>,
}

impl Handle {
    pub(crate) fn clock(&self) -> ProcessClock {
        self.world.clock(&self.process)
    }
}

impl World {
    pub(crate) fn new(seed: u64, bits: RangeBits, latency: Micros, checker: Checker) -> Rc<Self> {
        Rc::new(Self {
            executor: Rc::new(Executor::new()),
            rng: Rng::new(seed),
            keeper: Ensemble::default(),
            cluster: Cluster::new(),
            topic: Topic::default(),
            checker: RefCell::new(checker),
            progress: RefCell::default(),
            notes: Notes::default(),
            bits,
            processes: RefCell::default(),
            latency,
            finding: RefCell::default(),
            over: Cell::new(false),
        })
    }

    pub(crate) fn now(&self) -> Micros {
        self.executor.now()
    }

    /// How long a packet takes.
    pub(crate) fn net(&self) -> Micros {
        50 + self.rng.below(self.latency)
    }

    pub(crate) fn range_of(&self, counter: &Counter) -> u16 {
        self.bits.range_of(counter.token()).0
    }

    pub(crate) fn clock(&self, process: &Rc<Process>) -> ProcessClock {
        ProcessClock {
            executor: Rc::clone(&self.executor),
            process: Rc::clone(process),
        }
    }

    /// Starts something that belongs to no process.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.executor.spawn(None, Box::pin(work));
    }

    /// Starts something that stands still and dies with a process.
    pub(crate) fn spawn_of(&self, owner: &Rc<Process>, work: impl Future<Output = ()> + 'static) {
        if !owner.is_dead() {
            self.executor.spawn(Some(Rc::clone(owner)), Box::pin(work));
        }
    }

    pub(crate) fn note(&self, who: Who, phase: Phase, what: impl FnOnce() -> String) {
        self.notes.note(self.now(), who, phase, what);
    }

    pub(crate) fn phase(&self, who: Who, phase: Phase) {
        self.note(who, phase, || phase.name().to_owned());
    }

    /// A process that nothing runs in yet.
    pub(crate) fn process(&self, seat: Seat, role: Role, drift: i64) -> Rc<Process> {
        let mut processes = self.processes.borrow_mut();
        let process = Rc::new(Process::new(processes.len(), seat, role, drift));
        processes.push(Rc::clone(&process));
        process
    }

    /// The process that sits there and has not ended.
    pub(crate) fn at(&self, seat: Seat) -> Option<Rc<Process>> {
        let processes = self.processes.borrow();
        let last = processes.iter().rev().find(|one| one.seat == seat);
        last.filter(|one| !one.is_dead()).cloned()
    }

    /// It stands still, as after SIGSTOP.
    pub(crate) fn freeze(self: &Rc<Self>, process: &Process) {
        process.freeze();
        self.sessions_fall_silent(process);
        self.members_fall_silent(process);
    }

    /// It goes on.
    pub(crate) fn thaw(self: &Rc<Self>, process: &Process) {
        self.executor.thaw(process, &self.rng);
        self.sessions_are_heard(process);
        self.members_are_heard(process);
    }

    /// It is gone, as after SIGKILL or its own end: its kernel closes what it had open.
    pub(crate) fn bury(self: &Rc<Self>, process: &Rc<Process>) {
        if process.is_dead() {
            return;
        }
        self.executor.kill(process);
        self.sessions_fall_silent(process);
        self.members_fall_silent(process);
        self.hang_up_all(|connection| connection.process.number == process.number);
    }

    /// Something that must not be: the history ends here.
    pub(crate) fn find(&self, finding: Finding) {
        self.note(Who::World, Phase::Fault, || format!("FOUND: {finding}"));
        self.finding.borrow_mut().get_or_insert(finding);
        self.end();
    }

    pub(crate) fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// Nothing more is to happen.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Lets things happen until the end. `false` if nothing can happen before it comes, or not until `limit`.
    pub(crate) fn run(&self, limit: Micros) -> bool {
        while !self.over.get() {
            if self.executor.step(&self.rng) == Step::Nothing || self.now() > limit {
                return false;
            }
            #[cfg(feature = "mutations")]
            crate::steps::passed(self);
        }
        true
    }
}
