//! Cleans up after dead members in the background, so that crash loops do not pile them up, markers of slow spells do
//! not stay, and the next restoration finds few to wait for. One member of the fleet does it at a time.

mod schedule;

use std::convert::Infallible;

use stitch_common::clock::Clock;
use stitch_common::ports::{Cql, Session};
use stitch_config::Config;
use stitch_protocol::NamespaceSession;
use stitch_protocol::cleanup::{self, CleanupOutcome};

use schedule::Schedule;

/// Cleans up soon and then now and then, and logs the results. Never ends: it runs while the member counts, and is
/// dropped with it.
pub(crate) async fn run<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Infallible {
    let mut schedule = Schedule::new(session);
    loop {
        schedule.next(session).await;
        match cleanup::run(session, cql, config).await {
            Ok(CleanupOutcome::Deleted(deleted)) if deleted.is_empty() => {}
            Ok(CleanupOutcome::Deleted(deleted)) => tracing::info!(
                dead_members = deleted.dead_members.len(),
                markers = deleted.markers.len(),
                "no request of dead members is in flight any more: they and their in-doubt markers are deleted"
            ),
            Ok(CleanupOutcome::Busy) => tracing::debug!("another member cleans up"),
            Err(error) => tracing::info!(%error, "dead members not cleaned up, retrying later"),
        }
    }
}
