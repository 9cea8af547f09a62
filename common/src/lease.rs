//! The lease (rule P3): how long a process may go on sending after ZooKeeper last acknowledged a write.

use std::time::Duration;

use crate::clock::Moment;
use crate::mutation::{Rule, out};

/// A process's knowledge of its session.
///
/// The lease runs from the moment *before* the last acknowledged ZooKeeper write was sent, for two thirds of the
/// negotiated session timeout. A read proves nothing: a server that is cut off from its quorum still answers reads.
#[derive(Clone, Debug)]
pub struct Lease {
    length: Duration,
    renewed: Option<Moment>,
    connected: bool,
}

impl Lease {
    /// A lease that is not valid yet, for a session with this negotiated timeout.
    #[must_use]
    pub fn new(session_timeout: Duration) -> Self {
        Self {
            length: session_timeout * 2 / 3,
            renewed: None,
            connected: true,
        }
    }

    /// The interval of heartbeats: a quarter of the lease.
    #[must_use]
    pub fn heartbeat_interval(&self) -> Duration {
        self.length / 4
    }

    /// Renews the lease: a write sent at `sent` has been acknowledged.
    pub fn renew(&mut self, sent: Moment) {
        if self.renewed.is_none_or(|renewed| renewed < sent) {
            self.renewed = Some(sent);
        }
    }

    /// The session lost its connection: nothing is sent until a write is acknowledged over a new one.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.renewed = None;
    }

    /// The session is connected again. The lease stays invalid until the next acknowledged write.
    pub fn reconnected(&mut self) {
        self.connected = true;
    }

    /// The remaining time at `now`.
    #[must_use]
    pub fn left(&self, now: Moment) -> Duration {
        match self.renewed {
            Some(renewed) if self.connected => renewed.plus(self.length).since(now),
            Some(_) | None => Duration::ZERO,
        }
    }

    /// Permission to send until the lease ends, if it is valid at `now`.
    #[must_use]
    pub fn permit(&self, now: Moment) -> Option<Permit> {
        if out(Rule::Lease) {
            let until = Moment::new(Duration::MAX);
            return Some(Permit { until });
        }
        let renewed = self.renewed.filter(|_| self.connected)?;
        let until = renewed.plus(self.length);
        (now < until).then_some(Permit { until })
    }
}

/// Permission to send requests that change the store, until a moment. Only [`Lease::permit`] creates it, and the counter
/// store checks it again right before sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    until: Moment,
}

impl Permit {
    /// Whether a request may still be sent at `now`.
    #[must_use]
    pub fn allows(self, now: Moment) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Moment {
        Moment::new(Duration::from_millis(ms))
    }

    fn lease() -> Lease {
        Lease::new(Duration::from_millis(3000))
    }

    #[test]
    fn a_lease_runs_from_before_the_write_for_two_thirds_of_the_session() {
        let mut lease = lease();
        assert_eq!(
            lease.permit(at(0)),
            None,
            "not valid before the first acknowledged write"
        );
        lease.renew(at(100));
        assert!(lease.permit(at(2099)).is_some());
        assert_eq!(lease.permit(at(2100)), None);
        assert_eq!(lease.left(at(1100)), Duration::from_millis(1000));
    }

    #[test]
    fn a_late_acknowledgement_of_an_older_write_does_not_shorten_it() {
        let mut lease = lease();
        lease.renew(at(500));
        lease.renew(at(100));
        assert!(lease.permit(at(2400)).is_some());
    }

    #[test]
    fn a_disconnected_session_has_no_permit_until_a_write_after_its_reconnect() {
        let mut lease = lease();
        lease.renew(at(100));
        lease.disconnected();
        assert_eq!(lease.permit(at(101)), None);
        lease.reconnected();
        assert_eq!(lease.permit(at(102)), None);
        lease.renew(at(103));
        assert!(lease.permit(at(104)).is_some());
    }

    #[test]
    fn a_permit_ends_with_its_lease() {
        let mut lease = lease();
        lease.renew(at(0));
        let permit = lease.permit(at(1)).unwrap();
        assert!(permit.allows(at(1999)));
        assert!(!permit.allows(at(2000)));
    }
}
