//! The tables that the API reads counts from, each as a [`count_source`]. A table is connected when its cluster answers, which may be long after the
//! server has started; until then its reads are unavailable, as they are when Cassandra goes away later.
//!
//! What is read goes by a table's name, and what is known of its counts by its id. So the id is read again once a second
//! ([`Connectors`]), and a read says which table it relies on ([`Reliance`]).

pub mod count_source;
mod connector;
mod layer_reads;
mod readiness;
mod sums;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use stitch_batch::layer::Layer;
use stitch_common::clock::Moment;
use stitch_common::ports::{StoreError, TableIdentity};
use tokio::sync::watch;

use crate::count_source::CountSource;

pub use connector::{Connectors, TableConnector};
pub use layer_reads::LayerReads;
pub use readiness::readiness;
pub use sums::{LayersUsed, Sum};

/// For so long a table is taken for the one that it was when its id was read last.
const UNCHECKED_MAX: Duration = Duration::from_secs(10);

/// A connection to a table.
#[derive(Clone)]
pub struct Connection {
    pub source: Arc<dyn CountSource>,
    pub table: TableIdentity,
}

/// What is known of a table.
#[derive(Clone)]
pub enum TableState {
    /// Its cluster has not answered yet.
    Awaited,
    /// It is connected.
    Connected {
        connection: Connection,
        /// When it was certainly still this one.
        checked: Moment,
    },
    /// The table that was connected is gone, and no other has been connected since.
    Lost,
}

/// The table that a read has to be of. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableId(Arc<TableIdentity>);

impl TableId {
    pub fn of(table: &TableIdentity) -> Self {
        Self(Arc::new(table.clone()))
    }
}

impl Hash for TableId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // That of another cluster is another one, and hardly ever has the same id.
        self.0.table.as_u128().hash(state);
    }
}

/// What a read relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reliance {
    /// The table that its counts have to be of; `None` as long as that is not known.
    pub table: Option<TableId>,
    /// When it is that table.
    pub at: Moment,
}

/// One table, as requests find it.
#[derive(Clone)]
pub struct CountTable {
    layer: Layer,
    state: watch::Receiver<TableState>,
}

impl CountTable {
    pub fn of(layer: Layer, state: &watch::Sender<TableState>) -> Self {
        Self {
            layer,
            state: state.subscribe(),
        }
    }

    /// The connection to read from.
    ///
    /// # Errors
    /// There has been none yet; it is not known any more which table it is; or it is another one than the read relies on.
    pub fn source(&self, reliance: &Reliance) -> Result<Arc<dyn CountSource>, StoreError> {
        let name = name(self.layer);
        match &*self.state.borrow() {
            TableState::Awaited => Err(StoreError::Unavailable(
                "it has not answered yet".to_owned(),
            )),
            TableState::Lost => Err(StoreError::Refused(format!("the table {name} was dropped"))),
            TableState::Connected { connection, .. }
                if reliance
                    .table
                    .as_ref()
                    .is_some_and(|table| *table.0 != connection.table) =>
            {
                Err(StoreError::Refused(format!(
                    "the table {name} is not the one that was counted in: it was dropped and made again"
                )))
            }
            TableState::Connected { checked, .. }
                if reliance.at.since(*checked) > UNCHECKED_MAX =>
            {
                Err(StoreError::Unavailable(format!(
                    "whether the table {name} is still the same has not been known for {UNCHECKED_MAX:?}"
                )))
            }
            TableState::Connected { connection, .. } => Ok(Arc::clone(&connection.source)),
        }
    }

    /// Whether it may be `table`: any may be, until the cluster has answered.
    fn may_be(&self, table: &TableIdentity) -> bool {
        match &*self.state.borrow() {
            TableState::Awaited => true,
            TableState::Connected { connection, .. } => connection.table == *table,
            TableState::Lost => false,
        }
    }

    fn is_awaited(&self) -> bool {
        matches!(*self.state.borrow(), TableState::Awaited)
    }
}

/// The tables that the namespace has.
#[derive(Clone)]
pub struct CountTables {
    /// That of counts in real time, if anything is counted in real time.
    pub realtime: Option<CountTable>,
    /// That of batch counts, if there are any.
    pub batch: Option<CountTable>,
}

impl CountTables {
    /// The table of a layer, if the namespace has it.
    pub const fn of(&self, layer: Layer) -> Option<&CountTable> {
        match layer {
            Layer::Batch => self.batch.as_ref(),
            Layer::Realtime => self.realtime.as_ref(),
        }
    }

    /// Whether batch counts are read from `table`, as far as is known: while their cluster is away, reads say that it is.
    pub fn may_be_batch(&self, table: &TableIdentity) -> bool {
        let batch = self.batch.as_ref();
        batch.is_some_and(|batch| batch.may_be(table))
    }

    /// Whether the table of a layer is there and not connected yet.
    pub fn is_awaited(&self, layer: Layer) -> bool {
        self.of(layer).is_some_and(CountTable::is_awaited)
    }

    /// The layer without which most requests cannot be answered: real time, unless everything is batch.
    pub const fn main_layer(&self) -> Layer {
        match self.realtime {
            Some(_) => Layer::Realtime,
            None => Layer::Batch,
        }
    }

    /// Whether any count could be read at any time.
    fn was_any_connected(&self) -> bool {
        let mut tables = [&self.realtime, &self.batch].into_iter().flatten();
        tables.any(|table| !table.is_awaited())
    }
}

/// A table's name in Cassandra.
pub const fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Batch => "batch_counts",
        Layer::Realtime => "counts",
    }
}
