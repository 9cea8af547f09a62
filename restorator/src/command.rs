//! The commands `plan`, `run` and `sums`, from options to a report.

use std::time::Duration;

use stitch_common::ports::Backends;
use stitch_common::progress::Progress;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use tokio_util::sync::CancellationToken;

use crate::context::{CommandState, RestoreContext};
use crate::doubts;
use crate::journal::{Journal, JournalError};
use crate::membership::{Membership, Process, join};
use crate::options::{DeclaredDead, Limits, TotalsOptions};
use crate::server_away::{Wait, while_away};
use crate::unverified::Unverified;

pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod sums;
#[cfg(test)]
mod tests;

use plan::unless_stopped;

pub use plan::plan;
pub use run::run;
pub use sums::sums;

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
    /// Does `work` as a member of the namespace, and leaves it, however the work ended. If the session is lost the work
    /// fails, and is called again as a new member: what it has kept is still true. Returns what the work yields, none
    /// if only doubtful ranges are wanted and there are none, and what the operator should know of the leaving.
    async fn as_member<T>(
        &self,
        (scope, only_doubtful): (&Scope, bool),
        declared_dead: &[DeclaredDead],
        limits: Limits,
        totals: &TotalsOptions,
        mut work: impl AsyncFnMut(&RestoreContext<'_, B>) -> Result<T, UserError>,
    ) -> Result<(Option<T>, Vec<String>), UserError> {
        let mut wanted = (!only_doubtful).then(|| scope.clone());
        let state = CommandState::new(&self.config.restorator);
        let mut notes = Vec::new();
        let mut membership = self.join(AT_START).await?;
        let definition = membership.validated.definition.clone();
        loop {
            let (result, goes_on) = {
                let scope = wanted.as_ref().unwrap_or(scope);
                let context = RestoreContext {
                    declared_dead,
                    limits,
                    ..self.restore_context(&membership, &state, scope, totals)
                };
                let result = if wanted.is_some() {
                    membership.during(work(&context)).await.map(Ok)
                } else {
                    let doubtful = unless_stopped(&context, doubts::doubtful_scope(&context));
                    membership.during(doubtful).await.map(Err)
                };
                (result, context.goes_on())
            };
            let result = match result {
                Ok(Ok(result)) => Ok(Some(result)),
                Ok(Err(None)) => Ok(None),
                Ok(Err(doubtful)) => {
                    wanted = doubtful;
                    continue;
                }
                Err(failure) => Err(failure),
            };
            notes.extend(membership.leave(self.servers.cassandra()).await);
            let failure = match result {
                Ok(result) => return Ok((result, notes)),
                Err(failure) if !goes_on => return Err(with_notes(failure, &notes)),
                Err(failure) => failure,
            };
            tracing::warn!(%failure, "going on as a new member");
            self.progress
                .note("the session with ZooKeeper is lost: going on as a new member");
            let rejoined = self.join(ONCE_STARTED).await;
            membership = rejoined.map_err(|failure| with_notes(failure, &notes))?;
            if membership.validated.definition != definition {
                notes.extend(membership.leave(self.servers.cassandra()).await);
                let changed = UserError::from(&Unverified::DefinitionChanged);
                return Err(with_notes(changed, &notes));
            }
        }
    }

    /// Becomes a member, as soon as the servers answer.
    async fn join(&self, wait: Wait) -> Result<Membership<B>, UserError> {
        let (clock, progress) = (self.servers.clock(), self.progress);
        while_away(clock, progress, &self.stop, wait, async || {
            join(self.servers, self.config, self.process, self.stop.clone()).await
        })
        .await
    }

    fn restore_context<'m>(
        &'m self,
        membership: &'m Membership<B>,
        state: &'m CommandState<B::Objects>,
        scope: &'m Scope,
        totals: &'m TotalsOptions,
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
            declared_dead: &[],
            lease: &membership.lease_keeper,
            progress: self.progress,
            journal: self.journal,
            memory: &state.memory,
            ring: &state.ring,
            known: &state.known,
            limits: Limits::default(),
            spent: &state.spent,
            nodes_away_noted: &state.nodes_away_noted,
            stores: self.servers.stores(),
            totals,
            base: &state.base,
            control: &state.control,
        }
    }
}

/// A command that has only begun ends soon: what it was given may name the wrong servers.
const AT_START: Wait = Wait {
    bound: Duration::from_secs(10),
    pause: Duration::from_secs(1),
};
/// How long servers may be away before a command gives up what it has read.
const ONCE_STARTED: Wait = Wait {
    bound: Duration::from_secs(3600),
    pause: Duration::from_secs(10),
};

/// The failure, and what else the operator should know.
fn with_notes(failure: UserError, notes: &[String]) -> UserError {
    let UserError { message, help } = failure;
    let parts = std::iter::once(message).chain(notes.iter().cloned());
    UserError::new(parts.collect::<Vec<_>>().join("; "), help)
}
