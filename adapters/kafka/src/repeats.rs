//! How often an error that repeats is reported: the client says of a broker that is away, several times a second, that it
//! is away, and whoever hears it logs it.

use std::collections::HashMap;
use std::time::Duration;

use stitch_common::clock::Moment;
use stitch_common::ports::LogError;

/// Between two reports of the same error.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The errors of one client that were reported within [`REPORT_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct Repeats {
    reported: HashMap<String, Moment>,
}

impl Repeats {
    /// Whether the error is to be reported now: it was not within [`REPORT_INTERVAL`].
    pub(super) fn is_due(&mut self, error: &LogError, now: Moment) -> bool {
        self.reported
            .retain(|_, reported| now.since(*reported) < REPORT_INTERVAL);
        let text = error.to_string();
        if self.reported.contains_key(&text) {
            return false;
        }
        self.reported.insert(text, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::clock::{Clock, SystemClock};

    #[test]
    fn an_error_that_repeats_is_reported_once_in_an_interval_and_another_at_once() {
        let start = SystemClock.now();
        let mut repeats = Repeats::default();
        let away = LogError::Unavailable("all brokers are down".to_owned());
        let refused = LogError::Refused("no such topic".to_owned());
        assert!(repeats.is_due(&away, start));
        let mut reports = 0;
        for tenths in 1..=300 {
            let now = start.plus(Duration::from_millis(100 * tenths));
            reports += u32::from(repeats.is_due(&away, now));
        }
        assert_eq!(reports, 3);
        assert!(repeats.is_due(&refused, start.plus(Duration::from_secs(30))));
    }
}
