//! A partition that is added to the topic during a restoration. Kafka's client tells the restorator at once; processors hear of it
//! up to half a minute later, and then rebalance. Until one has taken it up it has no checkpoint, and no range can be verified.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::Backends;
use stitch_common::wait::within;
use stitch_protocol::{checkpoint_node, origin_node};

use crate::context::{PATIENCE, RestoreContext};

const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Waits, without any lock, until a processor has taken up `partition`. Returns whether one has; no, if it is not new but has lost
/// its checkpoint, or if the work has to end.
pub(super) async fn is_taken_up<B: Backends>(
    context: &RestoreContext<'_, B>,
    partition: Partition,
) -> bool {
    if !matches!(
        origin_node::read(context.session, partition).await,
        Ok(None)
    ) {
        return false;
    }
    context.progress.note(&format!(
        "waiting for a processor to take up partition {partition}, which was added to the topic"
    ));
    let taken_up = async {
        // Without an answer it is asked again.
        while !matches!(
            checkpoint_node::read(context.session, partition).await,
            Ok(Some(_))
        ) {
            context.clock.sleep(POLL_INTERVAL).await;
        }
    };
    let bounded = within(context.clock, PATIENCE, taken_up);
    match select(pin!(bounded), pin!(context.interrupted())).await {
        Either::Left((taken_up, _)) => taken_up.is_some(),
        Either::Right(_) => false,
    }
}
