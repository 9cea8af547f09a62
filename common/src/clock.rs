//! The clock seam: everything that waits or measures takes a [`Clock`], so that a test can drive time.
//!
//! Leases count suspended time, so the clock of production is `CLOCK_BOOTTIME`, which `std::time::Instant` is not.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// A moment on a clock that counts suspension. Comparable within one process only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since` after the clock's start.
    #[must_use]
    pub const fn new(since: Duration) -> Self {
        Self(since)
    }

    /// The moment `later` after this one.
    #[must_use]
    pub const fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// The time since `earlier`; zero if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A source of time.
pub trait Clock: Clone {
    /// The current moment. Monotonic, and counts the time in which the machine was suspended.
    fn now(&self) -> Moment;

    /// The calendar time, for reports and records only: no decision depends on it.
    fn wall(&self) -> DateTime<Utc>;

    /// Waits. Cancel-safe.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("time since boot is not negative");
        let nanos = u32::try_from(time.tv_nsec).expect("a timespec has less than 10^9 ns");
        Moment(Duration::new(seconds, nanos))
    }

    fn wall(&self) -> DateTime<Utc> {
        Utc::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
