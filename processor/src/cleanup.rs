//! Cleans up after dead members in the background, so that crash loops do not pile them up, and the next restoration
//! finds few to wait for. Any member may; a starting one does.

use std::convert::Infallible;
use std::future::pending;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::ports::{Cql, Session};
use stitch_protocol::{NamespaceSession, cleanup};

/// Cleans up once, logs the result, and never ends: it runs while the member counts, and is dropped with it.
pub(crate) async fn once<S: Session, C: Clock, Q: Cql>(
    session: &NamespaceSession<S, C>,
    cql: &Q,
    config: &Config,
) -> Infallible {
    match cleanup::run(session, cql, config).await {
        Ok(deleted) if deleted.is_empty() => {}
        Ok(deleted) => tracing::info!(
            dead_members = deleted.dead_members.len(),
            markers = deleted.markers.len(),
            "no request of dead members is in flight any more: they and their in-doubt markers are deleted"
        ),
        Err(error) => tracing::info!(
            %error,
            "dead members not cleaned up, the next member that starts tries again"
        ),
    }
    pending().await
}
