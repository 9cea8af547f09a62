//! `init --update`: takes up added counters, under the restoration lock. The generation stays: nothing that was counted
//! is counted again, and what the added counters missed is drift of theirs. Members that are alive go on by the
//! definitions that they joined with until they are restarted; no restoration begins before that.

use std::time::Duration;

use super::InitSession;
use crate::runner;
use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::user_error::UserError;
use stitch_protocol::definition_node::{self, Defined, NamespaceRecord, Updated};
use stitch_protocol::restoration::RestorationLock;

/// How often it is looked whether the lock has become free.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn take_up(
    config: &Config,
    session: &InitSession,
    known: &Defined,
) -> Result<(), UserError> {
    let mut lock = RestorationLock::new(session, &runner::host(), std::process::id());
    let done = locked(config, session, known, &mut lock).await;
    lock.release(session).await?;
    done
}

async fn locked(
    config: &Config,
    session: &InitSession,
    known: &Defined,
    lock: &mut RestorationLock,
) -> Result<(), UserError> {
    // Its holder may be dead: then its session ends within its timeout.
    let clock = session.clock();
    let until = clock.now().plus(config.zookeeper.session_timeout);
    while let Some(holder) = lock.try_granted(session).await? {
        if clock.now() >= until {
            let what = format!(
                "a restoration runs: {} on {}, process {}",
                holder.member, holder.host, holder.process_id
            );
            return Err(UserError::new(what, "wait for its end, and run this again"));
        }
        clock.sleep(PAUSE).await;
    }
    let record = NamespaceRecord {
        definitions: config.definitions.clone(),
        ..known.record.clone()
    };
    match definition_node::update(session, lock, known, &record).await? {
        Updated::Written => Ok(()),
        Updated::DefinitionChanged => Err(changed("somebody else has changed the definitions")),
        Updated::LockLost => Err(changed("the restoration lock was lost")),
    }
}

fn changed(what: &str) -> UserError {
    UserError::new(
        format!("{what} meanwhile; nothing was changed"),
        "run this again",
    )
}
