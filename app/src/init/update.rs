//! `init --update`: adds counters to the namespace's definitions, or raises the consistency of its increments, under the
//! restoration lock. The generation stays:
//! nothing is counted twice, and the events that the added counters missed are drift. Members may be alive meanwhile:
//! they keep the definitions that they joined with until they are restarted, and no restoration begins before that.

use std::time::Duration;

use super::InitSession;
use crate::runner;
use stitch_common::clock::Clock;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::definition_node::{self, NamespaceRecord, StoredDefinition, UpdateOutcome};
use stitch_protocol::restoration::RestorationLock;

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn apply(
    config: &Config,
    session: &InitSession,
    known: &StoredDefinition,
) -> Result<(), ServerFailure> {
    let mut lock = RestorationLock::new(session, &runner::host(), std::process::id());
    let result = locked(config, session, known, &mut lock).await;
    lock.release(session).await?;
    result
}

async fn locked(
    config: &Config,
    session: &InitSession,
    known: &StoredDefinition,
    lock: &mut RestorationLock,
) -> Result<(), ServerFailure> {
    // Its holder may be dead; then its session ends within its timeout.
    let clock = session.clock();
    let until = clock.now().plus(config.zookeeper.session_timeout);
    while let Some(holder) = lock.try_granted(session).await? {
        if clock.now() >= until {
            let what = format!(
                "a restoration runs: {} on {}, process {}",
                holder.member, holder.host, holder.process_id
            );
            let help = "wait until it ends, and run this again";
            return Err(UserError::new(what, help).into());
        }
        clock.sleep(PAUSE).await;
    }
    let record = updated(config, &known.record);
    match definition_node::update(session, lock, known, &record).await? {
        UpdateOutcome::Written => Ok(()),
        UpdateOutcome::DefinitionChanged => {
            Err(changed("another process has changed the definitions"))
        }
        UpdateOutcome::LockLost => Err(changed("the restoration lock was lost")),
    }
}

/// The namespace with what is new in the configuration. Increments that were sent keep the level that they had.
fn updated(config: &Config, known: &NamespaceRecord) -> NamespaceRecord {
    let level = config.cassandra.write_consistency;
    let is_raised = level != known.write_consistency;
    NamespaceRecord {
        definitions: config.definitions.clone(),
        write_consistency: level,
        raised_from: is_raised
            .then(|| known.lowest_consistency())
            .or(known.raised_from),
        ..known.clone()
    }
}

fn changed(what: &str) -> ServerFailure {
    UserError::new(
        format!("{what} meanwhile; nothing was changed"),
        "run this again",
    )
    .into()
}
