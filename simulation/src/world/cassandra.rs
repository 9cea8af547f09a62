//! A Cassandra in memory: three nodes, each a replica of everything. An increment is applied by the node that it was sent
//! to, and replicated to the others. It may be lost, late or unanswered, but never later than its timeouts allow.

mod batch_table;
mod connection;
mod increment;
mod node;
mod nodes_port;
mod store_port;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use stitch_testkit::cassandra::Table;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Waiters;

use crate::rng::Rng;
pub(crate) use batch_table::{BatchRows, SimBatchTable, SimScan};
pub(crate) use connection::Connection;
pub(crate) use increment::{IncrementId, PendingIncrements};
pub(crate) use node::Node;
pub(crate) use store_port::table_identity;

pub(crate) const NODES: usize = 3;
/// The longest time that a request waits in a node's queue.
pub(crate) const NATIVE_TIMEOUT: Micros = 300_000;
/// The longest time that an increment waits for a cell's lock, and for a thread.
pub(crate) const COUNTER_TIMEOUT: Micros = 200_000;
/// How long a client waits for an answer. As with the defaults: less than a node may take, and less than it takes to
/// notice that a connection is dead.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(300);
/// How often a driver probes an idle connection, and how long it waits for the answer, unless a history says otherwise.
pub(crate) const KEEPALIVE: Micros = 250_000;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Rc<Node>>,
    pub(crate) table: RefCell<Table<NODES>>,
    /// Whether the table of counts was dropped and made again.
    pub(crate) is_made_again: Cell<bool>,
    /// The table of batch counts.
    pub(crate) batch: BatchRows,
    pub(crate) connections: RefCell<Vec<Rc<Connection>>>,
    pub(crate) pending: RefCell<PendingIncrements>,
    /// Pairs of a process, by number, and a node that cannot reach each other.
    pub(crate) cuts: RefCell<Vec<(usize, usize)>>,
    pub(crate) healed: Waiters,
    /// How increments fail at present.
    pub(crate) fault_rates: Cell<FaultRates>,
}

/// How increments fail, in percent of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultRates {
    /// Rejected for lack of replicas: not applied.
    pub(crate) unavailable: u64,
    /// Not answered in time, whether applied or not.
    pub(crate) timeouts: u64,
    /// Delayed in queues and at locks up to the timeouts.
    pub(crate) late: u64,
    /// Delayed until their senders have given up, and applied after that.
    pub(crate) overdue: u64,
    /// Delayed, but answered in time.
    pub(crate) busy: u64,
    /// Not replicated until a repair.
    pub(crate) unreplicated: u64,
    /// Refused if they have more than one cell.
    pub(crate) refuse_batches: bool,
    /// Refused, whatever their size.
    pub(crate) refused: u64,
    /// Refused because the client's permissions are not known.
    pub(crate) unauthorized: u64,
}

/// How long an increment is delayed in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    Short,
    Busy,
    Late,
    Overdue,
}

impl FaultRates {
    fn delay(&self, rng: &Rng) -> Delay {
        if rng.percent(self.overdue) {
            Delay::Overdue
        } else if rng.percent(self.late) {
            Delay::Late
        } else if rng.percent(self.busy) {
            Delay::Busy
        } else {
            Delay::Short
        }
    }
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            nodes: (0..NODES)
                .map(|number| Rc::new(Node::new(number)))
                .collect(),
            table: RefCell::default(),
            is_made_again: Cell::default(),
            batch: BatchRows::default(),
            connections: RefCell::default(),
            pending: RefCell::default(),
            cuts: RefCell::default(),
            healed: Waiters::default(),
            fault_rates: Cell::default(),
        }
    }

    pub(crate) fn is_cut(&self, process: usize, node: usize) -> bool {
        self.cuts.borrow().contains(&(process, node))
    }
}
