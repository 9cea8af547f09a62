//! Adds up how long the quiet period must last: `W` of design, section 7, term by term. Pure.

use std::time::Duration;

use stitch_common::ports::NodeSettings;

use crate::membership::MemberRecord;
use crate::rule;

/// Clocks do not tick alike: how far two machines may drift apart over one quiet period.
pub const CLOCK_DRIFT: Duration = Duration::from_millis(250);

/// For what is measured nowhere: a thread that is scheduled late, a packet in flight.
pub const MARGIN: Duration = Duration::from_millis(500);

/// `W` without the time that the samples themselves may have missed (see [`Barrier`](super::barrier::Barrier)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuiescenceBound {
    /// A live process may freeze with a request in its driver's queue, for as long as its session outlives that; twice,
    /// if a heartbeat goes out in between.
    pub sessions: Duration,
    /// ZooKeeper ends a session at the first tick of its server after the timeout, and a timeout has at least three.
    pub session_ticks: Duration,
    /// How long a request may wait in the node's queue.
    pub native_transport: Duration,
    /// How long an increment may wait for a thread of its stage, and again for the cell's lock.
    pub counter_writes: Duration,
    /// How late a live process that is cut off from a node closes the connection; zero linger drops what its kernel
    /// still held.
    pub keepalive: Duration,
    /// [`CLOCK_DRIFT`].
    pub clock_drift: Duration,
    /// [`MARGIN`].
    pub margin: Duration,
}

/// The terms of the bound that depend on the members and not on the nodes: the longest of each counts, the observer's own
/// among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// The longest session timeout of any member concerned, as negotiated.
    pub longest_timeout: Duration,
    /// How often members' drivers probe an idle connection.
    pub keepalive_interval: Duration,
    /// How long they wait for the answer to that.
    pub keepalive_timeout: Duration,
}

impl Sessions {
    /// Raises every term to that of a member with this record.
    pub fn cover(&mut self, member: &MemberRecord) {
        let raise = |term: &mut Duration, to: u64| *term = (*term).max(Duration::from_millis(to));
        raise(&mut self.longest_timeout, member.session_timeout_ms);
        if rule::senders_keepalive_counts() {
            raise(&mut self.keepalive_interval, member.keepalive_interval_ms);
            raise(&mut self.keepalive_timeout, member.keepalive_timeout_ms);
        }
    }
}

impl QuiescenceBound {
    /// The bound for nodes with these settings: the longest of each timeout counts.
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

    /// The sum of all terms.
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
    use chrono::DateTime;
    use stitch_common::member::Role;

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
    fn the_longest_terms_of_all_members_count() {
        let mut sessions = Sessions {
            longest_timeout: Duration::from_secs(1),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(5),
        };
        for (session, interval, timeout) in [(9, 60, 2), (4, 3, 70)] {
            sessions.cover(&MemberRecord {
                role: Role::Processor,
                host: String::new(),
                process_id: 1,
                started: DateTime::UNIX_EPOCH,
                session_timeout_ms: session * 1000,
                keepalive_interval_ms: interval * 1000,
                keepalive_timeout_ms: timeout * 1000,
                version: String::new(),
                definition_version: 0,
            });
        }
        let longest = Sessions {
            longest_timeout: Duration::from_secs(9),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(70),
        };
        assert_eq!(sessions, longest);
    }

    #[test]
    fn every_term_counts_with_the_longest_timeouts_of_all_nodes() {
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
