//! Repeats requests that Cassandra did not answer: inserts and reads of batch counts have the same effect each time.

use std::cell::Cell;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::ports::StoreError;
use stitch_common::progress::Progress;

/// Pauses before each repetition: about a minute in all.
const PAUSES_MS: [u64; 9] = [100, 250, 500, 1000, 2000, 5000, 10_000, 20_000, 20_000];
/// From this repetition on the operator is told.
const NOTED_FROM: usize = 3;

/// Waits for Cassandra, and says so once an outage.
pub struct Patience<'a, C> {
    clock: &'a C,
    progress: &'a dyn Progress,
    noted: Cell<bool>,
}

impl<'a, C: Clock> Patience<'a, C> {
    /// Pauses on this clock.
    pub fn new(clock: &'a C, progress: &'a dyn Progress) -> Self {
        Self {
            clock,
            progress,
            noted: Cell::new(false),
        }
    }

    /// Where it reports.
    pub fn progress(&self) -> &'a dyn Progress {
        self.progress
    }

    /// Repeats `request` while a repetition can help.
    ///
    /// # Errors
    /// The last one's, after about a minute; a refusal at once.
    pub async fn repeat<T>(
        &self,
        request: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        for (repetition, pause) in PAUSES_MS.into_iter().enumerate() {
            match request().await {
                Err(StoreError::Unavailable(why)) => {
                    if repetition >= NOTED_FROM && !self.noted.replace(true) {
                        let note = format!("Cassandra does not answer, waiting: {why}");
                        self.progress.note(&note);
                    }
                    self.clock.sleep(Duration::from_millis(pause)).await;
                }
                Ok(answer) => {
                    self.noted.set(false);
                    return Ok(answer);
                }
                refused => return refused,
            }
        }
        request().await
    }
}
