//! What the HTTP server may know of the counting loop, without asking it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stitch_common::clock::Moment;

/// Shared between the counting loop, which writes, and the HTTP server, which reads.
#[derive(Debug, Default)]
pub struct Status {
    /// When the loop last went round, in milliseconds of the clock; 0: not yet.
    beat_ms: AtomicU64,
    ready: AtomicBool,
}

impl Status {
    /// How long the loop may stand still before it counts as stuck: it beats several times a second.
    pub const STUCK_AFTER: Duration = Duration::from_secs(10);

    /// The loop is alive at `now`.
    pub fn beat(&self, now: Moment) {
        let ms = now.since(Moment::new(Duration::ZERO)).as_millis();
        self.beat_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the process is a member with a valid lease, and in the group.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Whether the loop went round lately, as seen at `now`.
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
    fn a_loop_that_stands_still_is_not_alive() {
        let status = Status::default();
        let start = Moment::new(Duration::from_secs(100));
        status.beat(start);
        assert!(status.is_alive(start.plus(Duration::from_secs(9))));
        assert!(!status.is_alive(start.plus(Duration::from_secs(10))));
    }
}
