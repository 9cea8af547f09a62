//! A Cassandra in memory: three nodes, each a replica of everything. An increment is applied by the node that it was
//! sent to, and told to the others; on its way it may be lost, late or unanswered, but never later than the design says.

mod cells;
mod connection;
mod frame;
mod node;
mod nodes;
mod store;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

pub(crate) use cells::Cells;
pub(crate) use connection::Connection;
pub(crate) use frame::{FrameId, Frames};
pub(crate) use node::Node;
pub(crate) use store::table;

use crate::executor::Micros;
use crate::rng::Rng;

/// How many nodes there are.
pub(crate) const NODES: usize = 3;
/// How long a request may wait in a node's queue.
pub(crate) const NATIVE_TIMEOUT: Micros = 300_000;
/// How long an increment may wait for a cell's lock, and for a thread.
pub(crate) const COUNTER_TIMEOUT: Micros = 200_000;
/// How long a client waits for an answer: like the defaults, less than a node may take, and than it takes to see that a
/// connection is cut off.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);
/// How often a driver tries an idle connection, and how long it waits then.
pub(crate) const KEEPALIVE: Duration = Duration::from_millis(250);

/// The nodes, and what they hold.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Rc<Node>>,
    pub(crate) cells: RefCell<Cells>,
    pub(crate) connections: RefCell<Vec<Rc<Connection>>>,
    pub(crate) frames: RefCell<Frames>,
    /// Processes, by number, and the nodes that they are cut off from.
    pub(crate) cuts: RefCell<Vec<(usize, usize)>>,
    pub(crate) healed: crate::slot::Waiting,
    /// What goes wrong with increments now.
    pub(crate) weather: Cell<Weather>,
}

/// What goes wrong with increments, in percent of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Refused, for want of replicas: not applied.
    pub(crate) unavailable: u64,
    /// Not answered in time, applied or not.
    pub(crate) timeouts: u64,
    /// Waiting in queues and for locks, as long as they may.
    pub(crate) late: u64,
    /// Waiting so long that their senders give them up, and applied after that.
    pub(crate) overdue: u64,
    /// Waiting, but answered in time.
    pub(crate) busy: u64,
    /// Told to no other replica for the time being.
    pub(crate) untold: u64,
    /// Refused for good if they have more cells than one.
    pub(crate) narrow: bool,
}

/// How long an increment waits in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Short,
    Busy,
    Late,
    Overdue,
}

impl Weather {
    fn wait(&self, rng: &Rng) -> Wait {
        if rng.percent(self.overdue) {
            Wait::Overdue
        } else if rng.percent(self.late) {
            Wait::Late
        } else if rng.percent(self.busy) {
            Wait::Busy
        } else {
            Wait::Short
        }
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            nodes: (0..NODES)
                .map(|number| Rc::new(Node::new(number)))
                .collect(),
            cells: RefCell::default(),
            connections: RefCell::default(),
            frames: RefCell::default(),
            cuts: RefCell::default(),
            healed: crate::slot::Waiting::default(),
            weather: Cell::default(),
        }
    }

    pub(crate) fn is_cut(&self, process: usize, node: usize) -> bool {
        self.cuts.borrow().contains(&(process, node))
    }
}
