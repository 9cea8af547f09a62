//! Says at most once in an interval what many would say at once, or one again and again.

use std::cell::Cell;
use std::time::Duration;

use crate::clock::Moment;

/// A limit of once in an interval.
#[derive(Debug)]
pub struct RateLimit {
    interval: Duration,
    last: Cell<Option<Moment>>,
}

impl RateLimit {
    /// Once in `interval`, and the first time at once.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            last: Cell::new(None),
        }
    }

    /// Whether it is time again; if so, the interval begins.
    pub fn is_due(&self, now: Moment) -> bool {
        let last = self.last.get();
        let is_due = last.is_none_or(|last| now.since(last) >= self.interval);
        if is_due {
            self.last.set(Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_once_and_then_once_in_an_interval() {
        let limit = RateLimit::every(Duration::from_secs(10));
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let due: Vec<_> = (0..31).filter(|second| limit.is_due(at(*second))).collect();
        assert_eq!(due, [0, 10, 20, 30]);
    }
}
