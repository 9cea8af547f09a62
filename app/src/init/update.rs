//! `init --update`: takes up added counters, under the restoration lock. The generation stays: nothing that was counted
//! is counted again, and what the added counters missed is drift of theirs. Members that are alive go on by the
//! definitions that they joined with until they are restarted; no restoration begins before that.

use std::time::Duration;

use super::Coordinating;
use crate::program;
use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::user_error::Failure;
use stitch_protocol::definition_node::{self, Defined, NamespaceRecord, Updated};
use stitch_protocol::restoration::RestorationLock;

/// How often it is looked whether the lock has become free.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) async fn take_up(
    config: &Config,
    coordinator: &Coordinating,
    known: &Defined,
) -> Result<(), Failure> {
    let mut lock = RestorationLock::new(coordinator, &program::host(), std::process::id());
    let done = locked(config, coordinator, known, &mut lock).await;
    lock.release(coordinator).await?;
    done
}

async fn locked(
    config: &Config,
    coordinator: &Coordinating,
    known: &Defined,
    lock: &mut RestorationLock,
) -> Result<(), Failure> {
    // Its holder may be dead: then its session ends within its timeout.
    let clock = coordinator.clock();
    let until = clock.now().plus(config.zookeeper.session_timeout);
    while let Some(holder) = lock.try_granted(coordinator).await? {
        if clock.now() >= until {
            let what = format!(
                "a restoration runs: {} on {}, process {}",
                holder.member, holder.host, holder.process_id
            );
            return Err(Failure::new(what, "wait for its end, and run this again"));
        }
        clock.sleep(PAUSE).await;
    }
    let record = NamespaceRecord {
        definitions: config.definitions.clone(),
        ..known.record.clone()
    };
    match definition_node::update(coordinator, lock, known, &record).await? {
        Updated::Written => Ok(()),
        Updated::DefinitionChanged => Err(changed("somebody else has changed the definitions")),
        Updated::LockLost => Err(changed("the restoration lock was lost")),
    }
}

fn changed(what: &str) -> Failure {
    Failure::new(
        format!("{what} meanwhile; nothing was changed"),
        "run this again",
    )
}
