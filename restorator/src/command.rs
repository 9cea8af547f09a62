//! The commands `plan` and `run`, from options to a report.

use std::cell::{Cell, RefCell};

use stitch_common::config::Config;
use stitch_common::ports::Backends;
use stitch_common::progress::Progress;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_totals::memory_pool::MemoryPool;
use tokio_util::sync::CancellationToken;

use crate::context::RestoreContext;
use crate::journal::{Journal, JournalError};
use crate::membership::{Membership, Process, join};
use crate::options::{DeclaredDead, Limits};
use crate::restoration::chunk_sizer::ChunkSizer;

pub(crate) mod plan;
pub(crate) mod run;
#[cfg(test)]
mod tests;

pub use plan::plan;
pub use run::run;

/// What a command needs besides its options.
pub struct CommandContext<'a, B> {
    pub servers: &'a B,
    pub config: &'a Config,
    pub process: &'a Process,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
    pub progress: &'a dyn Progress,
    /// Creates the journal of this name.
    pub journal: &'a dyn Fn(&str) -> Result<Journal, JournalError>,
}

impl<B: Backends> CommandContext<'_, B> {
    /// Does `work` as a member of the namespace, and leaves it, however the work ended. Returns what the work yields,
    /// and what the operator should know of the leaving.
    async fn as_member<T>(
        &self,
        scope: &Scope,
        declared_dead: &[DeclaredDead],
        limits: Limits,
        work: impl AsyncFnOnce(&RestoreContext<'_, B>) -> Result<T, UserError>,
    ) -> Result<(T, Option<String>), UserError> {
        let stop = self.stop.clone();
        let membership = join(self.servers, self.config, self.process, stop).await?;
        let result = {
            let context = self.restore_context(&membership, scope, declared_dead, limits);
            membership.during(work(&context)).await
        };
        let left_behind = membership.leave(self.servers.cassandra()).await;
        match (result, left_behind) {
            (Ok(result), left_behind) => Ok((result, left_behind)),
            (Err(failure), None) => Err(failure),
            (Err(UserError { message, help }), Some(left_behind)) => {
                Err(UserError::new(format!("{message}; {left_behind}"), help))
            }
        }
    }

    fn restore_context<'m>(
        &'m self,
        membership: &'m Membership<B>,
        scope: &'m Scope,
        declared_dead: &'m [DeclaredDead],
        limits: Limits,
    ) -> RestoreContext<'m, B> {
        RestoreContext {
            session: &membership.session,
            store: &membership.store,
            nodes: &membership.nodes,
            cql: self.servers.cassandra(),
            log: self.servers.log(),
            clock: self.servers.clock(),
            config: self.config,
            process: self.process,
            validated: &membership.validated,
            scope,
            declared_dead,
            lease: &membership.lease_keeper,
            progress: self.progress,
            journal: self.journal,
            memory: MemoryPool::new(self.config.restorator.memory_bytes_max),
            ring: RefCell::default(),
            known: RefCell::default(),
            limits,
            spent: Cell::default(),
            chunk_sizer: ChunkSizer::new(&self.config.restorator),
        }
    }
}
