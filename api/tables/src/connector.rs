//! Connects the tables, for as long as it takes.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join};
use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::Layer;
use stitch_common::clock::Clock;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use tokio::sync::watch;

use super::{Connection, CountTable, CountTables, name};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, of a table that is connected, and not the one that is published.
const PAUSE_ONCE_CONNECTED: Duration = Duration::from_secs(10);

/// Connects one table.
pub struct TableConnector<F, C> {
    layer: Layer,
    connect: F,
    clock: C,
    connection: watch::Sender<Option<Connection>>,
    /// What the log has about it since it was connected last: said once, however often it is tried.
    said: Option<UserError>,
}

impl<F, C> TableConnector<F, C>
where
    F: AsyncFn() -> Result<Connection, ServerFailure>,
    C: Clock,
{
    pub fn new(layer: Layer, connect: F, clock: C) -> Self {
        Self {
            layer,
            connect,
            clock,
            connection: watch::Sender::new(None),
            said: None,
        }
    }

    fn table(&self) -> CountTable {
        CountTable::of(&self.connection)
    }

    /// Connects, unless the cluster is away.
    ///
    /// # Errors
    /// It refuses, and will again until an operator acts.
    ///
    /// # Cancellation
    /// Nothing is connected.
    async fn attempt(&mut self) -> Result<(), UserError> {
        let table = name(self.layer);
        match (self.connect)().await {
            Ok(connection) => {
                let found = connection.table.clone();
                match self.connection.send_replace(Some(connection)) {
                    Some(last) if last.table == found => self.say(not_published()),
                    Some(_) => {
                        self.said = None;
                        tracing::info!(table, "the table was made again: the new one is read");
                    }
                    None => {
                        if self.said.take().is_some() {
                            tracing::info!(table, "Cassandra answers: the table is read");
                        }
                    }
                }
            }
            Err(ServerFailure::Refused(error)) => return Err(error),
            Err(ServerFailure::Away(error)) => {
                if self.said.as_ref() != Some(&error) {
                    let UserError { message, help } = &error;
                    tracing::warn!(
                        table,
                        error = message,
                        help,
                        "waiting for the servers: this table is not read yet"
                    );
                }
                self.said = Some(error);
            }
        }
        Ok(())
    }

    /// Logs why the table that should be read is not, if that is new.
    fn say(&mut self, error: UserError) {
        if self.said.as_ref() != Some(&error) {
            let UserError { message, help } = &error;
            let table = name(self.layer);
            tracing::error!(table, error = message, help, "this table cannot be read");
        }
        self.said = Some(error);
    }

    /// Connects until it is connected, and again whenever batch counts of another table are published: it was dropped and
    /// made again. What is connected remains in use until then. Once counts are served, a refusal ends nothing.
    ///
    /// # Errors
    /// It refuses, and no count can be read.
    async fn run(
        &mut self,
        tables: &CountTables,
        mut snapshots: watch::Receiver<Arc<FreshnessSnapshot>>,
    ) -> Result<Infallible, UserError> {
        let mut pause = PAUSE;
        loop {
            self.until_due(&mut snapshots).await;
            self.clock.sleep(pause).await;
            if let Err(error) = self.attempt().await {
                if !tables.is_any_connected() {
                    return Err(error);
                }
                self.say(error);
            }
            pause = match *self.connection.borrow() {
                Some(_) => PAUSE_ONCE_CONNECTED,
                None => PAUSE,
            };
        }
    }

    /// Waits until there is a reason to connect.
    ///
    /// # Cancellation
    /// Leaves nothing behind.
    async fn until_due(&self, snapshots: &mut watch::Receiver<Arc<FreshnessSnapshot>>) {
        let known = match (self.layer, &*self.connection.borrow()) {
            (Layer::Batch | Layer::Realtime, None) => return,
            (Layer::Batch, Some(Connection { table, .. })) => Some(table.clone()),
            // Its namespace is of this table alone.
            (Layer::Realtime, Some(_)) => None,
        };
        let Some(known) = known else {
            return future::pending().await;
        };
        let is_another = |snapshot: &Arc<FreshnessSnapshot>| {
            let record = snapshot.batch().record();
            record.is_some_and(|record| record.table != known)
        };
        if snapshots.wait_for(is_another).await.is_err() {
            // Nothing is published any more: the server ends.
            future::pending().await
        }
    }
}

/// It was connected again, and still is not the table of which counts are published.
fn not_published() -> UserError {
    UserError::new(
        "the batch counts that are published are of another table than the one that this server finds",
        "give it the [batch] section with which `stitch-batch` runs; `stitch-batch status` names the table that is published",
    )
}

/// The connectors of a server's tables.
pub struct Connectors<F, C> {
    realtime: Option<TableConnector<F, C>>,
    batch: Option<TableConnector<F, C>>,
    tables: CountTables,
}

impl<F, C> Connectors<F, C>
where
    F: AsyncFn() -> Result<Connection, ServerFailure>,
    C: Clock,
{
    pub fn new(
        realtime: Option<TableConnector<F, C>>,
        batch: Option<TableConnector<F, C>>,
    ) -> Self {
        let table = |connector: &Option<TableConnector<F, C>>| {
            connector.as_ref().map(TableConnector::table)
        };
        Self {
            tables: CountTables {
                realtime: table(&realtime),
                batch: table(&batch),
            },
            realtime,
            batch,
        }
    }

    /// The tables, connected or not.
    pub fn tables(&self) -> CountTables {
        self.tables.clone()
    }

    /// Tries to connect each of them.
    ///
    /// # Errors
    /// One refuses: whatever the other says, this configuration is not as it should be.
    ///
    /// # Cancellation
    /// Some may be connected.
    pub async fn attempt(&mut self) -> Result<(), UserError> {
        let realtime = self.realtime.as_mut().map(TableConnector::attempt);
        let batch = self.batch.as_mut().map(TableConnector::attempt);
        let (realtime, batch) = join(OptionFuture::from(realtime), OptionFuture::from(batch)).await;
        realtime.transpose()?;
        batch.transpose()?;
        Ok(())
    }

    /// Connects those that are not, or are others than `snapshots` say are published, until it is dropped.
    ///
    /// # Errors
    /// One refuses, and no count can be read.
    ///
    /// # Cancellation
    /// Some may be connected.
    pub async fn run(
        mut self,
        snapshots: &watch::Receiver<Arc<FreshnessSnapshot>>,
    ) -> Result<Infallible, UserError> {
        let Self {
            realtime,
            batch,
            tables,
        } = &mut self;
        let run = async |connector: &mut Option<TableConnector<F, C>>| match connector {
            Some(connector) => connector.run(tables, snapshots.clone()).await,
            None => future::pending().await,
        };
        tokio::select! {
            // Neither ends unless it refuses.
            refused = run(realtime) => refused,
            refused = run(batch) => refused,
        }
    }
}

#[cfg(test)]
mod tests;
