//! What happened in a history, and when: to understand a failure, and to decide the verdict.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use crate::kind::Kind;

/// Shared by all parts of a history.
pub(crate) struct Timeline {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    faults: Vec<InjectedFault>,
    last_disturbance_ms: u64,
    violations: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct InjectedFault {
    pub(crate) at_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl Timeline {
    /// Starts now, writing to this file.
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let inner = Inner {
            file: File::create(path)?,
            faults: Vec::new(),
            last_disturbance_ms: 0,
            violations: Vec::new(),
        };
        Ok(Self {
            start: Instant::now(),
            inner: Mutex::new(inner),
        })
    }

    /// Milliseconds since the start of the history.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Records an event that is no fault.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.write(|at_ms, inner| inner.line(at_ms, &what.into()));
    }

    /// Records the start of a fault.
    pub(crate) fn fault(&self, kind: Kind, what: impl Into<String>) {
        let what = what.into();
        self.write(|at_ms, inner| {
            inner.last_disturbance_ms = at_ms;
            inner.line(at_ms, &format!("{kind}: {what}"));
            inner.faults.push(InjectedFault { at_ms, kind, what });
        });
    }

    /// Records the end or a consequence of a fault: the history is disturbed until now.
    pub(crate) fn disturbance(&self, what: impl Into<String>) {
        self.write(|at_ms, inner| {
            inner.last_disturbance_ms = at_ms;
            inner.line(at_ms, &what.into());
        });
    }

    /// Records what must not happen under any fault.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.write(|at_ms, inner| {
            inner.line(at_ms, &format!("VIOLATION: {what}"));
            inner.violations.push(what);
        });
    }

    /// Whether there was no disturbance since then.
    pub(crate) fn is_undisturbed_since(&self, ms: u64) -> bool {
        self.lock().last_disturbance_ms < ms
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// All faults so far.
    pub(crate) fn faults(&self) -> Vec<InjectedFault> {
        self.lock().faults.clone()
    }

    fn write(&self, change: impl FnOnce(u64, &mut Inner)) {
        // The time is read under the lock, so that lines are in order.
        let mut inner = self.lock();
        change(self.now_ms(), &mut inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn line(&mut self, at_ms: u64, what: &str) {
        let (seconds, millis) = (at_ms / 1000, at_ms % 1000);
        // A failure to write is ignored: the verdict does not depend on the file.
        writeln!(self.file, "{seconds:>4}.{millis:03}  {what}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_history_is_undisturbed_only_after_its_last_disturbance() {
        let folder = tempfile::tempdir().unwrap();
        let timeline = Timeline::start(&folder.path().join("timeline.txt")).unwrap();
        let before = timeline.now_ms();
        timeline.fault(Kind::KillProcessor, "first");
        assert!(!timeline.is_undisturbed_since(before));
        let after = timeline.now_ms() + 1;
        timeline.note("nothing");
        assert!(timeline.is_undisturbed_since(after));
        timeline.lock().last_disturbance_ms = 0;
        timeline.disturbance("undone");
        assert!(!timeline.is_undisturbed_since(before));
        assert_eq!(timeline.faults().len(), 1);
    }
}
