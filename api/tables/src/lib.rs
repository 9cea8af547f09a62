//! The tables that the API reads counts from, each as a [`count_source`]. A table is connected when its cluster answers, which may be long after the
//! server has started; until then its reads are unavailable, as they are when Cassandra goes away later.

pub mod count_source;
mod connector;
mod readiness;

use std::sync::Arc;

use stitch_batch::layer::Layer;
use stitch_common::ports::{StoreError, TableIdentity};
use tokio::sync::watch;

use crate::count_source::CountSource;

pub use connector::{Connectors, TableConnector};
pub use readiness::readiness;

/// A connection to a table.
#[derive(Clone)]
pub struct Connection {
    pub source: Arc<dyn CountSource>,
    pub table: TableIdentity,
}

/// One table, as requests find it.
#[derive(Clone)]
pub struct CountTable(watch::Receiver<Option<Connection>>);

impl CountTable {
    pub fn of(connection: &watch::Sender<Option<Connection>>) -> Self {
        Self(connection.subscribe())
    }

    /// The connection to read from.
    ///
    /// # Errors
    /// There has been none yet.
    pub fn source(&self) -> Result<Arc<dyn CountSource>, StoreError> {
        let connection = self.0.borrow();
        let source = connection.as_ref().map(|known| Arc::clone(&known.source));
        source.ok_or_else(|| StoreError::Unavailable("it has not answered yet".to_owned()))
    }

    /// Whether it may be `table`: any may be, until the cluster has answered.
    fn may_be(&self, table: &TableIdentity) -> bool {
        let connection = self.0.borrow();
        connection
            .as_ref()
            .is_none_or(|known| known.table == *table)
    }

    fn is_connected(&self) -> bool {
        self.0.borrow().is_some()
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
        self.of(layer).is_some_and(|table| !table.is_connected())
    }

    /// The layer without which most requests cannot be answered: real time, unless everything is batch.
    pub const fn main_layer(&self) -> Layer {
        match self.realtime {
            Some(_) => Layer::Realtime,
            None => Layer::Batch,
        }
    }

    /// Whether any count can be read.
    fn is_any_connected(&self) -> bool {
        let mut tables = [&self.realtime, &self.batch].into_iter().flatten();
        tables.any(CountTable::is_connected)
    }
}

/// A table's name in Cassandra.
pub const fn name(layer: Layer) -> &'static str {
    match layer {
        Layer::Batch => "batch_counts",
        Layer::Realtime => "counts",
    }
}
