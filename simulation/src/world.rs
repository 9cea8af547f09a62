//! The world of one history: time, randomness, the servers, the processes, and the checker.

mod zookeeper;
pub(crate) mod cassandra;
mod kafka;
mod objects;
mod control;
pub mod checker;
#[cfg(feature = "mutations")]
pub(crate) mod failpoints;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use stitch_common::cell::Counter;
use stitch_common::checkpoint::StoredCheckpoint;
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeBits;

use stitch_testkit::kafka::Log;
use stitch_testkit::time::Micros;
use stitch_totals::manifest::NamespaceInstance;

use crate::executor::{Executor, ProcessClock, Step};
use crate::process::{Process, ProcessSlot, Role};
use crate::rng::Rng;
use crate::trace::{Actor, Trace, Tracepoint};
use cassandra::Cluster;
use checker::archive::ArchiveState;
use checker::batch::BatchState;
use checker::{Checker, Finding};
use kafka::Kafka;
use objects::Storage;
pub(crate) use objects::StoreFaults;
use zookeeper::Ensemble;
pub(crate) use zookeeper::{NAMESPACE, NodeKind, RequestCounts};

/// What distinguishes the namespace of a history from an earlier one of its name.
pub(crate) const GENERATION: u64 = 1;

type OnApplied = Box<dyn Fn(&CounterBatch)>;

pub(crate) struct World {
    pub(crate) executor: Rc<Executor>,
    pub(crate) rng: Rng,
    pub(crate) zookeeper: Ensemble,
    pub(crate) cluster: Cluster,
    pub(crate) kafka: Kafka,
    pub(crate) storage: Storage,
    pub(crate) archive: RefCell<ArchiveState>,
    pub(crate) batch: RefCell<BatchState>,
    pub(crate) checker: RefCell<Checker>,
    /// The checkpoint and the ceiling of each partition as ZooKeeper has it: decoded once per write, not once per use.
    pub(crate) checkpoints: RefCell<BTreeMap<i32, StoredCheckpoint>>,
    pub(crate) trace: Trace,
    pub(crate) bits: RangeBits,
    /// Whether every step is checked. A large fleet, whose requests are counted, would take too long.
    pub(crate) is_checked: Cell<bool>,
    /// Called with each increment that a node applies.
    pub(crate) on_applied: RefCell<Option<OnApplied>>,
    pub(crate) processes: RefCell<Vec<Rc<Process>>>,
    /// The longest time that a packet takes.
    latency: Micros,
    finding: RefCell<Option<Finding>>,
    over: Cell<bool>,
}

/// The world as one process sees it: implements every port of the product.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) world: Rc<World>,
    pub(crate) process: Rc<Process>,
}

impl Handle {
    pub(crate) fn clock(&self) -> ProcessClock {
        self.world.clock(&self.process)
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::of(&self.process)
    }
}

impl World {
    pub(crate) fn new(seed: u64, bits: RangeBits, latency: Micros, checker: Checker) -> Rc<Self> {
        Rc::new(Self {
            executor: Rc::new(Executor::new()),
            rng: Rng::new(seed),
            zookeeper: Ensemble::default(),
            cluster: Cluster::new(),
            kafka: Kafka::default(),
            storage: Storage::default(),
            archive: RefCell::default(),
            batch: RefCell::default(),
            checker: RefCell::new(checker),
            checkpoints: RefCell::default(),
            trace: Trace::default(),
            bits,
            is_checked: Cell::new(true),
            on_applied: RefCell::default(),
            processes: RefCell::default(),
            latency,
            finding: RefCell::default(),
            over: Cell::new(false),
        })
    }

    /// The namespace of this generation, as it was made: with an empty topic.
    pub(crate) fn namespace_instance(&self, generation: u64) -> NamespaceInstance {
        let partitions = self.kafka.log.borrow().partitions().count();
        let log = Log::new(partitions).identity();
        NamespaceInstance::new(generation, &cassandra::table_identity(), &log)
    }

    pub(crate) fn now(&self) -> Micros {
        self.executor.now()
    }

    /// How long a packet takes.
    pub(crate) fn net(&self) -> Micros {
        50 + self.rng.below(self.latency)
    }

    /// Waits as long as a packet takes.
    pub(crate) async fn hop(&self) {
        self.executor.until(self.now() + self.net()).await;
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

    /// Starts a task that belongs to no process.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.executor.spawn(None, Box::pin(work));
    }

    /// Starts a task that freezes and dies with a process.
    pub(crate) fn spawn_of(&self, owner: &Rc<Process>, work: impl Future<Output = ()> + 'static) {
        if !owner.is_dead() {
            self.executor.spawn(Some(Rc::clone(owner)), Box::pin(work));
        }
    }

    pub(crate) fn record(&self, actor: Actor, point: Tracepoint, text: impl FnOnce() -> String) {
        self.trace.record(self.now(), actor, point, text);
    }

    pub(crate) fn record_point(&self, actor: Actor, point: Tracepoint) {
        self.record(actor, point, || point.name().to_owned());
    }

    /// Adds a process, in which nothing runs yet.
    pub(crate) fn add_process(
        &self,
        slot: ProcessSlot,
        role: Role,
        drift: i64,
        keepalive: Micros,
    ) -> Rc<Process> {
        let mut processes = self.processes.borrow_mut();
        let process = Rc::new(Process::new(processes.len(), slot, role, drift, keepalive));
        processes.push(Rc::clone(&process));
        process
    }

    /// The running process in this slot.
    pub(crate) fn process_in(&self, slot: ProcessSlot) -> Option<Rc<Process>> {
        let processes = self.processes.borrow();
        let last = processes.iter().rev().find(|one| one.slot == slot);
        last.filter(|one| !one.is_dead()).cloned()
    }

    /// Freezes a process, as SIGSTOP does.
    pub(crate) fn freeze(self: &Rc<Self>, process: &Process) {
        process.freeze();
        self.suspend_sessions(process);
        self.suspend_members(process);
    }

    /// Resumes a process, as SIGCONT does.
    pub(crate) fn thaw(self: &Rc<Self>, process: &Process) {
        self.executor.thaw(process, &self.rng);
        self.resume_sessions(process);
        self.resume_members(process);
    }

    /// Ends a process, as SIGKILL or its own exit does: its kernel closes its connections.
    pub(crate) fn terminate(self: &Rc<Self>, process: &Rc<Process>) {
        if process.is_dead() {
            return;
        }
        self.executor.kill(process);
        self.suspend_sessions(process);
        self.suspend_members(process);
        self.close_connections(|connection| connection.process.number == process.number);
    }

    /// Reports a violation, with which the history ends.
    pub(crate) fn report(&self, finding: Finding) {
        self.record(Actor::World, Tracepoint::Fault, || {
            format!("FOUND: {finding}")
        });
        self.finding.borrow_mut().get_or_insert(finding);
        self.end();
    }

    pub(crate) fn finding(&self) -> Option<Finding> {
        self.finding.borrow().clone()
    }

    /// Ends the history.
    pub(crate) fn end(&self) {
        self.over.set(true);
    }

    /// Runs until the history ends. `false` if nothing can happen before that, or if it lasts beyond `limit`.
    pub(crate) fn run(&self, limit: Micros) -> bool {
        while !self.over.get() {
            if self.executor.step(&self.rng) == Step::Deadlock || self.now() > limit {
                return false;
            }
            #[cfg(feature = "mutations")]
            failpoints::record(self);
        }
        true
    }
}
