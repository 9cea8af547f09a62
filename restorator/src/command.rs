//! The commands, from what was asked for to a report.

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::ports::{Cql, EventLog, Keeper};
use stitch_common::user_error::Failure;
use stitch_protocol::namespace::agree;
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, JournalError};
use crate::options::Gone;
use crate::refuse;
use crate::site::{Servers, Site, WorldOf};
use crate::visit::{Process, Visit, enter};
use stitch_common::feedback::Progress;
use stitch_common::scope::Scope;
use stitch_totals::memory::Memory;

pub mod plan;
pub mod run;
#[cfg(test)]
mod tests;

pub use plan::plan;
pub use run::run;

/// What every command is given beside its options.
pub struct Given<'a, K, Q, L, C> {
    /// The servers.
    pub servers: &'a Servers<K, Q, L, C>,
    /// The configuration.
    pub config: &'a Config,
    /// Who this process is.
    pub process: &'a Process,
    /// Cancelled when it is to stop.
    pub stop: CancellationToken,
    /// Is told how far it is.
    pub progress: &'a dyn Progress,
    /// Makes the journal of this name.
    pub journal: &'a dyn Fn(&str) -> Result<Journal, JournalError>,
}

impl<K: Keeper, Q: Cql, L: EventLog, C: Clock> Given<'_, K, Q, L, C> {
    fn site<'v>(
        &'v self,
        visit: &'v Visit<K, Q, C>,
        scope: &'v Scope,
        gone: &'v [Gone],
    ) -> Site<'v, WorldOf<K, Q, L, C>> {
        Site {
            coordinator: &visit.coordinator,
            store: &visit.store,
            nodes: &visit.nodes,
            log: &self.servers.log,
            clock: &self.servers.clock,
            config: self.config,
            defined: &visit.agreement.defined,
            scope,
            gone,
            standing: &visit.standing,
            progress: self.progress,
            memory: Memory::new(self.config.restorator.memory_bytes_max),
            ring: std::cell::RefCell::default(),
            known: std::cell::RefCell::default(),
        }
    }

    /// Does `work` as a member of the namespace, and leaves it, however the work ended. What the operator should know of
    /// the leaving is beside what the work yields.
    async fn as_member<T>(
        &self,
        work: impl AsyncFnOnce(&Visit<K, Q, C>) -> Result<T, Failure>,
    ) -> Result<(T, Option<String>), Failure> {
        let stop = self.stop.clone();
        let visit = enter(self.servers, self.config, self.process, stop).await?;
        let done = visit.during(work(&visit)).await;
        let left_behind = visit.leave(&self.servers.cql).await;
        Ok((done?, left_behind))
    }

    /// Asks once more, after the log was read, what was asked before: it may have lost its beginning, or been made
    /// anew, while it was read.
    async fn still_agrees(&self, visit: &Visit<K, Q, C>) -> Result<(), Failure> {
        let (cql, log) = (&self.servers.cql, &self.servers.log);
        let now = agree(&visit.coordinator, cql, log, self.config).await?;
        refuse::log(&now.found.log, &now.found.bounds)
    }
}
