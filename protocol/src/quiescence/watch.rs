//! Watches members through ZooKeeper.

use std::collections::BTreeSet;

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::Session;

use super::{MemberWatch, WatchError};
use crate::membership::{self, Epoch};
use crate::{Error, NamespaceSession};

impl<S: Session, C: Clock> MemberWatch for NamespaceSession<S, C> {
    async fn dead(&self, members: &[MemberId]) -> Result<BTreeSet<MemberId>, WatchError> {
        let alive = membership::alive(self).await.map_err(watch_error)?;
        let dead = members.iter().filter(|member| !alive.contains(member));
        Ok(dead.cloned().collect())
    }

    /// By a write, like every heartbeat: a server that is cut off from its leader would answer a read with the old
    /// epoch.
    async fn epoch(&self) -> Result<Epoch, WatchError> {
        let stat = membership::heartbeat(self).await.map_err(watch_error)?;
        Ok(Epoch::of_last_write(&stat))
    }
}

fn watch_error(error: Error) -> WatchError {
    match error {
        Error::Unanswered { .. } => WatchError::Unanswered(error.to_string()),
        Error::SessionOver
        | Error::Lost { .. }
        | Error::Refused { .. }
        | Error::NotInitialised { .. }
        | Error::Missing { .. }
        | Error::Corrupt { .. } => WatchError::SessionOver(error.to_string()),
    }
}
