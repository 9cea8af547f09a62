//! Probes: events of keys of their own among the others, looked for until the table has them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use stitch_harness::events::Record;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::system::Prepared;
use super::table;
use crate::load::{Load, play};

/// Probes a second.
const PER_SECOND: u32 = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A probe that was sent and is not seen yet.
struct Waiting {
    sent: Instant,
    key: String,
}

/// Events with probes among them; notes what was sent.
pub(super) struct Probed {
    load: Load,
    every: u32,
    sent: u32,
    waiting: Arc<Mutex<Vec<Waiting>>>,
    /// Events by track.
    pub(super) events: HashMap<String, i64>,
}

impl Iterator for Probed {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let record = if self.sent.is_multiple_of(self.every) {
            let key = format!("probe-{}", self.sent);
            let waiting = Waiting {
                sent: Instant::now(),
                key: key.clone(),
            };
            self.waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(waiting);
            play(key, self.sent)
        } else {
            self.load.next()?
        };
        self.sent += 1;
        let key = String::from_utf8_lossy(&record.key).into_owned();
        *self.events.entry(key).or_default() += 1;
        Some(record)
    }
}

/// Looks for probes.
#[derive(Clone)]
pub(super) struct Probes {
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

/// How long a probe was not seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) sent: Instant,
    pub(super) after: Duration,
}

impl Probes {
    /// `load` with probes, to be sent at so many events a second.
    pub(super) fn among(load: Load, per_second: u32) -> (Self, Probed) {
        let waiting = Arc::default();
        let probes = Self {
            waiting: Arc::clone(&waiting),
        };
        let probed = Probed {
            load,
            every: (per_second / PER_SECOND).max(1),
            sent: 0,
            waiting,
            events: HashMap::new(),
        };
        (probes, probed)
    }

    /// Looks for them until `enough` is cancelled and all are seen; returns when each was.
    pub(super) async fn look(
        &self,
        prepared: &Prepared,
        enough: CancellationToken,
    ) -> Result<Vec<Seen>> {
        let mut all = Vec::new();
        loop {
            let waiting =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            if waiting.is_empty() && enough.is_cancelled() {
                return Ok(all);
            }
            let mut unseen = Vec::new();
            for probe in waiting {
                if table::count(&prepared.session, &prepared.keyspace, &probe.key).await? > 0 {
                    all.push(Seen {
                        sent: probe.sent,
                        after: probe.sent.elapsed(),
                    });
                } else {
                    unseen.push(probe);
                }
            }
            self.waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(unseen);
            sleep(POLL_INTERVAL).await;
        }
    }
}
