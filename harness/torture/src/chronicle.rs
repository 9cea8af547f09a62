//! What happened in a history, when: for the person who has to understand a failure, and for the judgement.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::time::Instant;

use crate::kind::Kind;

/// Written by everybody who takes part in a history.
pub(crate) struct Chronicle {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    file: File,
    struck: Vec<Struck>,
    last_trouble_ms: u64,
    complaints: Vec<String>,
}

/// A fault that happened.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Struck {
    pub(crate) at_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

impl Chronicle {
    /// Begins now, in this file.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let inner = Inner {
            file: File::create(path)?,
            struck: Vec::new(),
            last_trouble_ms: 0,
            complaints: Vec::new(),
        };
        Ok(Self {
            began: Instant::now(),
            inner: Mutex::new(inner),
        })
    }

    /// Milliseconds since the history began.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something that is no fault.
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.write(|at_ms, inner| inner.line(at_ms, &what.into()));
    }

    /// A fault begins.
    pub(crate) fn struck(&self, kind: Kind, what: impl Into<String>) {
        let what = what.into();
        self.write(|at_ms, inner| {
            inner.last_trouble_ms = at_ms;
            inner.line(at_ms, &format!("{kind}: {what}"));
            inner.struck.push(Struck { at_ms, kind, what });
        });
    }

    /// A fault is undone, or something came of it: until now there was trouble.
    pub(crate) fn trouble(&self, what: impl Into<String>) {
        self.write(|at_ms, inner| {
            inner.last_trouble_ms = at_ms;
            inner.line(at_ms, &what.into());
        });
    }

    /// Something that must not happen, whatever else does.
    pub(crate) fn complain(&self, what: impl Into<String>) {
        let what = what.into();
        self.write(|at_ms, inner| {
            inner.line(at_ms, &format!("MUST NOT BE: {what}"));
            inner.complaints.push(what);
        });
    }

    /// Whether nothing has gone wrong since then.
    pub(crate) fn is_quiet_since(&self, ms: u64) -> bool {
        self.lock().last_trouble_ms < ms
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.lock().complaints.clone()
    }

    /// Every fault that happened.
    pub(crate) fn faults(&self) -> Vec<Struck> {
        self.lock().struck.clone()
    }

    fn write(&self, change: impl FnOnce(u64, &mut Inner)) {
        // The time is taken under the lock, so that lines stand in its order.
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
        // A history goes on without its chronicle: what is judged does not hang on it.
        writeln!(self.file, "{seconds:>4}.{millis:03}  {what}").ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_quiet_only_after_the_last_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::begin(&folder.path().join("chronicle.txt")).unwrap();
        let before = chronicle.now_ms();
        chronicle.struck(Kind::KillProcessor, "first");
        assert!(!chronicle.is_quiet_since(before));
        let after = chronicle.now_ms() + 1;
        chronicle.note("nothing");
        assert!(chronicle.is_quiet_since(after));
        chronicle.lock().last_trouble_ms = 0;
        chronicle.trouble("undone");
        assert!(!chronicle.is_quiet_since(before));
        assert_eq!(chronicle.faults().len(), 1);
    }
}
