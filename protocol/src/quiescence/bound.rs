//! How long the stretch of a calm is: `W` of design, section 7, term by term. Pure.

use std::time::Duration;

use stitch_common::ports::NodeSettings;

/// Clocks do not tick alike: what two machines may differ by over one stretch.
pub const CLOCK_DRIFT: Duration = Duration::from_millis(250);

/// For what is measured nowhere: a thread that is scheduled late, a packet on its way.
pub const MARGIN: Duration = Duration::from_millis(500);

/// `W` without what the observations themselves may have missed (see [`Barrier`](super::machine::Machine)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuiescenceBound {
    /// A live process may freeze with a request in its driver's queue, for as long as its session outlives that; twice,
    /// if a heartbeat goes out in between.
    pub sessions: Duration,
    /// ZooKeeper ends a session at the first tick of its server after the timeout, and a timeout has at least three.
    pub session_ticks: Duration,
    /// A request may wait so long in the node's queue.
    pub native_transport: Duration,
    /// An increment may wait so long for a thread of its stage, and again for the cell's lock.
    pub counter_writes: Duration,
    /// A live process that is cut off from a node closes the connection so late; zero linger drops what its kernel
    /// still held.
    pub keepalive: Duration,
    /// [`CLOCK_DRIFT`].
    pub clock_drift: Duration,
    /// [`MARGIN`].
    pub margin: Duration,
}

/// What of a calm's bound does not depend on the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The longest session timeout of any member concerned, as negotiated.
    pub longest_timeout: Duration,
    /// How often members' drivers try an idle connection.
    pub keepalive_interval: Duration,
    /// How long they wait for its answer.
    pub keepalive_timeout: Duration,
}

impl QuiescenceBound {
    /// The bound at nodes of these settings: the longest of each timeout counts.
    #[must_use]
    pub fn new<'a>(
        sessions: Sessions,
        settings: impl IntoIterator<Item = &'a NodeSettings>,
    ) -> Self {
        let mut native_transport = Duration::ZERO;
        let mut counter_write = Duration::ZERO;
        for node in settings {
            native_transport = native_transport.max(node.native_transport_timeout);
            counter_write = counter_write.max(node.counter_write_request_timeout);
        }
        Self {
            sessions: sessions.longest_timeout * 2,
            session_ticks: sessions.longest_timeout * 2 / 3,
            native_transport,
            counter_writes: counter_write * 2,
            keepalive: sessions.keepalive_interval + sessions.keepalive_timeout,
            clock_drift: CLOCK_DRIFT,
            margin: MARGIN,
        }
    }

    /// All terms together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.sessions
            + self.session_ticks
            + self.native_transport
            + self.counter_writes
            + self.keepalive
            + self.clock_drift
            + self.margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(native_s: u64, counter_s: u64) -> NodeSettings {
        NodeSettings {
            native_transport_timeout: Duration::from_secs(native_s),
            counter_write_request_timeout: Duration::from_secs(counter_s),
            native_transport_idle_timeout: None,
            internode_timeout: true,
        }
    }

    #[test]
    fn every_term_counts_and_of_several_nodes_the_longest_timeouts() {
        let sessions = Sessions {
            longest_timeout: Duration::from_secs(9),
            keepalive_interval: Duration::from_secs(4),
            keepalive_timeout: Duration::from_secs(3),
        };
        let bound = QuiescenceBound::new(sessions, &[node(12, 1), node(2, 5)]);
        assert_eq!(bound.sessions, Duration::from_secs(18));
        assert_eq!(bound.session_ticks, Duration::from_secs(6));
        assert_eq!(bound.native_transport, Duration::from_secs(12));
        assert_eq!(bound.counter_writes, Duration::from_secs(10));
        assert_eq!(bound.keepalive, Duration::from_secs(7));
        let terms = Duration::from_secs(18 + 6 + 12 + 10 + 7);
        assert_eq!(bound.total(), terms + CLOCK_DRIFT + MARGIN);
    }
}
