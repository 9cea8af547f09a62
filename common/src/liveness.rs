//! The state of a program's event loop as its HTTP server sees it, without asking the loop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;

/// Written by the event loop, read by the HTTP server.
#[derive(Debug, Default)]
pub struct Liveness {
    /// The last beat, in milliseconds of the clock; 0: none yet.
    beat_ms: AtomicU64,
    ready: AtomicBool,
}

impl Liveness {
    /// How long the beat may be missing before the loop counts as stuck.
    pub const STUCK_AFTER: Duration = Duration::from_secs(10);

    /// Records that the loop is alive at `now`.
    pub fn beat(&self, now: Moment) {
        let ms = now.since(Moment::new(Duration::ZERO)).as_millis();
        self.beat_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Records whether the process does its work: a processor that it is a member with a valid lease, and has been assigned
    /// its partitions.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether the process does its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether there was a beat lately, as of `now`.
    #[must_use]
    pub fn is_alive(&self, now: Moment) -> bool {
        let beat = Moment::new(Duration::from_millis(self.beat_ms.load(Ordering::Relaxed)));
        now.since(beat) < Self::STUCK_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_without_a_beat_for_ten_seconds_is_not_alive() {
        let status = Liveness::default();
        let start = Moment::new(Duration::from_secs(100));
        status.beat(start);
        assert!(status.is_alive(start.plus(Duration::from_secs(9))));
        assert!(!status.is_alive(start.plus(Duration::from_secs(10))));
    }
}
