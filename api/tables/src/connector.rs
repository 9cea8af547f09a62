//! Connects the tables, for as long as it takes.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join};
use stitch_api_freshness::FreshnessSnapshot;
use stitch_batch::layer::Layer;
use stitch_common::clock::Clock;
use stitch_common::ports::TableIdentity;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use tokio::sync::watch;

use super::{Connection, CountTable, CountTables, TableState, name};

/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a table that is connected is asked for its id.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long the answer may take. Then another node is asked.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects one table.
pub struct TableConnector<F, C> {
    layer: Layer,
    connect: F,
    clock: C,
    state: watch::Sender<TableState>,
    /// What the log has about it since it was as it should be: said once, however often it is found.
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
            state: watch::Sender::new(TableState::Awaited),
            said: None,
        }
    }

    fn table(&self) -> CountTable {
        CountTable::of(self.layer, &self.state)
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
        let checked = self.clock.now();
        match (self.connect)().await {
            Ok(connection) => {
                let connected = TableState::Connected {
                    connection,
                    checked,
                };
                let last = self.state.send_replace(connected);
                if matches!(last, TableState::Lost) {
                    tracing::info!(table, "there is a table of this name again: it is read");
                } else if self.said.is_some() {
                    tracing::info!(table, "Cassandra answers: the table is read");
                }
                self.said = None;
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

    /// Connects until it is connected, and then sees to it that it is still the same table: one that was dropped is lost, and
    /// connected again once there is another. Once counts are served, a refusal ends nothing.
    ///
    /// # Errors
    /// It refuses, and no count could be read yet.
    async fn run(
        &mut self,
        tables: &CountTables,
        snapshots: watch::Receiver<Arc<FreshnessSnapshot>>,
    ) -> Result<Infallible, UserError> {
        loop {
            let connection = self.connection();
            if let Some(connection) = connection {
                self.clock.sleep(CHECK_EVERY).await;
                // Before the table is asked: what counts are known of was there then.
                let snapshot = Arc::clone(&snapshots.borrow());
                self.check(connection, &snapshot).await;
                continue;
            }
            self.clock.sleep(PAUSE).await;
            if let Err(error) = self.attempt().await {
                if !tables.was_any_connected() {
                    return Err(error);
                }
                self.say(error);
            }
        }
    }

    fn connection(&self) -> Option<Connection> {
        match &*self.state.borrow() {
            TableState::Connected { connection, .. } => Some(connection.clone()),
            TableState::Awaited | TableState::Lost => None,
        }
    }

    /// Asks whether the table that is connected is still there, and gives it up if it is not. While there is no answer it
    /// remains what it was, for as long as readers believe that.
    ///
    /// # Cancellation
    /// Nothing is known that was not known before.
    async fn check(&mut self, connection: Connection, snapshot: &FreshnessSnapshot) {
        let asked = self.clock.now();
        let Connection { source, table } = connection;
        let found = tokio::select! {
            biased;
            // Both futures belong to this call alone.
            found = source.table() => found,
            () = self.clock.sleep(CHECK_TIMEOUT) => return,
        };
        match found {
            Ok(Some(found)) if found == table => {
                self.state.send_modify(|state| match state {
                    TableState::Connected { checked, .. } => *checked = asked,
                    TableState::Awaited | TableState::Lost => {}
                });
                self.compare(&table, snapshot);
            }
            Ok(_) => {
                self.state.send_replace(TableState::Lost);
                self.say(dropped(self.layer));
            }
            // Readers get errors of their own, and say what it is.
            Err(error) => tracing::debug!(%error, "which table it is cannot be read"),
        }
    }

    /// Says it if what is known of counts is about another table than this one.
    fn compare(&mut self, table: &TableIdentity, snapshot: &FreshnessSnapshot) {
        let counted = counted_in(self.layer, snapshot);
        if counted.is_some_and(|counted| counted != table) {
            self.say(another(self.layer));
        } else if self.said.take().is_some() {
            let table = name(self.layer);
            tracing::info!(table, "it is the table that is counted in");
        }
    }
}

/// The table that has the counts of a layer, if `snapshot` knows it.
pub(crate) fn counted_in(layer: Layer, snapshot: &FreshnessSnapshot) -> Option<&TableIdentity> {
    match layer {
        Layer::Batch => snapshot.batch().record().map(|record| &record.table),
        Layer::Realtime => snapshot.table(),
    }
}

/// The table that was read is not there any more.
fn dropped(layer: Layer) -> UserError {
    let message = format!("the table {} was dropped", name(layer));
    match layer {
        Layer::Batch => UserError::new(
            message,
            "unless it is there again: `stitch-batch init` makes it, and `stitch-batch run` loads it; see docs/operations/batch.md",
        ),
        Layer::Realtime => UserError::new(
            message,
            "restore it from a backup, or create a new namespace, which counts the whole log; see docs/operations/runbook.md",
        ),
    }
}

/// It is connected, and is not the table of which something is known.
fn another(layer: Layer) -> UserError {
    match layer {
        Layer::Batch => UserError::new(
            "the batch counts that are published are of another table than the one that this server finds",
            "if the table was made again, run `stitch-batch run`; else give this server the [batch] section with which \
             `stitch-batch` runs: `stitch-batch status` names the table that is published",
        ),
        Layer::Realtime => UserError::new(
            "the table counts that this server finds is not the one that the namespace counts in: it was dropped and made \
             again, or cassandra points elsewhere",
            "point cassandra at the cluster and the keyspace of this namespace, or restore the table from a backup, with its \
             id; if its counts are lost, create a new namespace, which counts the whole log",
        ),
    }
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

    /// Connects those that are not, and sees to those that are, until it is dropped. What is known of their counts is in
    /// `snapshots`.
    ///
    /// # Errors
    /// One refuses, and no count could be read yet.
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
