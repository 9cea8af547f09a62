//! Processors of one namespace in a world without a history.

use std::cell::Cell;
use std::rc::Rc;

use stitch_common::liveness::Liveness;
use stitch_config::Config;
use stitch_processor::Ports;
use stitch_testkit::time::Micros;
use tokio_util::sync::CancellationToken;

use crate::process::{Process, ProcessSlot, Role};
use crate::run::namespace;
use crate::world::cassandra::KEEPALIVE;
use crate::world::checker::Checker;
use crate::world::{Handle, World};

/// The seed of every delay and order.
const NOISE: u64 = 7;
/// The longest time that a packet takes.
const LATENCY: Micros = 500;

/// A namespace, and the configuration of all its processors.
pub(crate) struct Fleet {
    pub(crate) world: Rc<World>,
    pub(crate) config: Rc<Config>,
}

impl Fleet {
    /// A namespace whose topic has this many partitions. Nothing runs yet.
    pub(crate) fn new(config: Rc<Config>, partitions: usize) -> Self {
        let bits = config.definitions.range_bits;
        let world = World::new(NOISE, bits, LATENCY, Checker::new(bits));
        namespace::create(&world, &config, partitions);
        Self { world, config }
    }

    /// How many nodes a directory of the namespace has.
    pub(crate) fn names(&self, directory: &str) -> usize {
        let tree = self.world.zookeeper.tree.borrow();
        tree.children(&format!("/stitch/n{directory}")).count()
    }

    /// A process in which nothing runs yet, as the world sees it.
    pub(crate) fn add_process(&self, slot: usize, role: Role) -> Handle {
        let slot = ProcessSlot(slot);
        Handle {
            world: Rc::clone(&self.world),
            process: self.world.add_process(slot, role, 0, KEEPALIVE),
        }
    }

    pub(crate) fn start(&self, processors: usize) -> Vec<Rc<Process>> {
        let start = |slot| self.start_one(slot).0;
        (0..processors).map(start).collect()
    }

    /// Starts a processor: its process, what asks it to stop, and when it has ended.
    pub(crate) fn start_one(
        &self,
        slot: usize,
    ) -> (Rc<Process>, CancellationToken, Rc<Cell<Micros>>) {
        let handle = self.add_process(slot, Role::Processor);
        let process = Rc::clone(&handle.process);
        let config = Rc::clone(&self.config);
        let (stop, ended) = (CancellationToken::new(), Rc::new(Cell::new(0)));
        let (asked, end) = (stop.clone(), Rc::clone(&ended));
        self.world.spawn_of(&process, async move {
            let ports = Ports {
                keeper: handle.clone(),
                cql: handle.clone(),
                log: handle.clone(),
                clock: handle.clock(),
            };
            let status = Liveness::default();
            let run = stitch_processor::run(&ports, &config, "host", &status, &asked);
            drop(Box::pin(run).await);
            end.set(handle.world.now());
        });
        (process, stop, ended)
    }
}
