//! The clock of one process.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};
use stitch_testkit::time::micros;

use super::Executor;
use crate::process::Process;

/// Shows the world's time with the drift of its process.
#[derive(Clone)]
pub(crate) struct ProcessClock {
    pub(crate) executor: Rc<Executor>,
    pub(crate) process: Rc<Process>,
}

impl Clock for ProcessClock {
    fn now(&self) -> Moment {
        let shown = self.process.shown(self.executor.now());
        Moment::new(Duration::from_micros(1_000_000 + shown))
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.process.calendar(), 0).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let real = self.process.real(micros(duration));
        self.executor
            .until(self.executor.now().saturating_add(real))
    }
}
