//! Decides whether a node has recently heard from another. Cassandra has no table with its failure detector's verdicts,
//! but every node shows the last heartbeat it heard from each other node: one that no longer rises belongs to a node that
//! is dead, frozen or cut off. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::ring::Gossip;
use stitch_common::clock::Moment;
use stitch_common::ports::NodeId;

/// A heartbeat rises every second and reaches every node within a few seconds. After this long without a rise, a node
/// counts as down; on a quiet network that is later than Cassandra's own verdict.
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(10);

/// The last heartbeat of each node that each observer shows, and when it last rose.
#[derive(Debug, Default)]
pub(super) struct GossipLiveness(HashMap<(NodeId, NodeId), Beat>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    generation: i32,
    heartbeat: i32,
    rose: Moment,
}

impl GossipLiveness {
    /// Records the heartbeat that `observer` shows at `now`, and returns whether it rose recently. A heartbeat seen for
    /// the first time counts as recent: taking a node for up is the safe side for the barrier.
    pub(super) fn is_recent(&mut self, observer: NodeId, gossip: &Gossip, now: Moment) -> bool {
        if gossip.announced_down() {
            return false;
        }
        let Some(subject) = gossip.host() else {
            return true;
        };
        let (Some(generation), Some(heartbeat)) = (gossip.generation, gossip.heartbeat) else {
            return true;
        };
        let current = Beat {
            generation,
            heartbeat,
            rose: now,
        };
        let beat = self.0.entry((observer, subject)).or_insert(current);
        if (beat.generation, beat.heartbeat) != (generation, heartbeat) {
            *beat = current;
        }
        now.since(beat.rose) < DOWN_AFTER
    }
}
