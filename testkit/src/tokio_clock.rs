//! Tokio's clock, for what runs on its runtime: a test pauses and advances it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};
use tokio::time::Instant;

/// The time since it was started; its calendar begins with 1970.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock(Instant);

impl TokioClock {
    /// Starts the clock now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::new(self.0.elapsed())
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
