//! Whether a node has heard of another lately. Cassandra has no table that tells whom its failure detector takes for
//! down, but every node shows the heartbeat that it last heard of each other node: one that no longer rises belongs
//! to a node that is gone, frozen or cut off. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::ring::Gossip;
use stitch_common::clock::Moment;
use stitch_common::ports::NodeId;

/// A heartbeat rises every second, and reaches every node within a few. After this long without it, a node is taken
/// for down; later than Cassandra itself does, on a quiet network.
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(10);

/// What was heard of whom, by whom, and when it last rose.
#[derive(Debug, Default)]
pub(super) struct Heard(HashMap<(NodeId, NodeId), Beat>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    generation: i32,
    heartbeat: i32,
    rose: Moment,
}

impl Heard {
    /// Takes up what `observer` shows at `now`; whether it has heard of that node lately. What is seen for the first
    /// time is taken for lately heard: to take a node for up is what a calm is careful about.
    pub(super) fn lately(&mut self, observer: NodeId, gossip: &Gossip, now: Moment) -> bool {
        if gossip.has_said_goodbye() {
            return false;
        }
        let Some(subject) = gossip.host() else {
            return true;
        };
        let (Some(generation), Some(heartbeat)) = (gossip.generation, gossip.heartbeat) else {
            return true;
        };
        let seen = Beat {
            generation,
            heartbeat,
            rose: now,
        };
        let beat = self.0.entry((observer, subject)).or_insert(seen);
        if (beat.generation, beat.heartbeat) != (generation, heartbeat) {
            *beat = seen;
        }
        now.since(beat.rose) < DOWN_AFTER
    }
}
