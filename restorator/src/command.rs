//! The commands, from what was asked for to a report.

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::ports::{Cql, EventLog, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_protocol::namespace::validate;
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, JournalError};
use crate::membership::{Membership, Process, enter};
use crate::options::DeclaredDead;
use crate::preflight;
use crate::site::{Servers, Site, WorldOf};
use stitch_common::progress::Progress;
use stitch_common::scope::Scope;
use stitch_totals::memory_pool::MemoryPool;

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

impl<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock> Given<'_, K, Q, L, C> {
    fn site<'v>(
        &'v self,
        membership: &'v Membership<K, Q, C>,
        scope: &'v Scope,
        declared_dead: &'v [DeclaredDead],
    ) -> Site<'v, WorldOf<K, Q, L, C>> {
        Site {
            session: &membership.session,
            store: &membership.store,
            nodes: &membership.nodes,
            log: &self.servers.log,
            clock: &self.servers.clock,
            config: self.config,
            defined: &membership.validated.defined,
            scope,
            declared_dead,
            standing: &membership.standing,
            progress: self.progress,
            memory: MemoryPool::new(self.config.restorator.memory_bytes_max),
            ring: std::cell::RefCell::default(),
            known: std::cell::RefCell::default(),
        }
    }

    /// Does `work` as a member of the namespace, and leaves it, however the work ended. What the operator should know of
    /// the leaving is beside what the work yields.
    async fn as_member<T>(
        &self,
        work: impl AsyncFnOnce(&Membership<K, Q, C>) -> Result<T, UserError>,
    ) -> Result<(T, Option<String>), UserError> {
        let stop = self.stop.clone();
        let membership = enter(self.servers, self.config, self.process, stop).await?;
        let done = membership.during(work(&membership)).await;
        let left_behind = membership.leave(&self.servers.cql).await;
        Ok((done?, left_behind))
    }

    /// Asks once more, after the log was read, what was asked before: it may have lost its beginning, or been made
    /// anew, while it was read.
    async fn still_agrees(&self, membership: &Membership<K, Q, C>) -> Result<(), UserError> {
        let (cql, log) = (&self.servers.cql, &self.servers.log);
        let now = validate(&membership.session, cql, log, self.config).await?;
        preflight::log(&now.found.log, &now.found.bounds)
    }
}
