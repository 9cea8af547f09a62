//! What operators want of restorations, as far as it is in force.

use chrono::{DateTime, Utc};
use serde::Serialize;

use stitch_control::control_record::{ControlRecord, ControlRequest, Hold, Throttle};
use stitch_control::restoration_record::RestorationRecord;
use stitch_protocol::restoration::LockHolder;

/// What operators want of the restoration that runs, and of those to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ControlLine {
    /// The restoration that runs, if it has a record yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restoration: Option<String>,
    /// Who has paused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<ControlRequest>,
    /// Who has aborted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub abort: Option<ControlRequest>,
    /// The most corrections a second that it sends, and who has limited them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// Until when no restoration corrects anything, and who wants that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

impl ControlLine {
    /// What of `control` is in force `now`.
    pub(super) fn of(
        control: ControlRecord,
        records: &[RestorationRecord],
        restoring: Option<&LockHolder>,
        now: DateTime<Utc>,
    ) -> Self {
        let runs = |record: &&RestorationRecord| {
            record.ended.is_none()
                && restoring.is_some_and(|holder| holder.member == record.holder.member)
        };
        let running = records.iter().rev().find(runs).map(|record| &record.id);
        let ControlRecord {
            restoration: _,
            pause,
            abort,
            throttle,
            hold,
        } = control.of(running).at(now);
        Self {
            restoration: running.map(ToString::to_string),
            pause,
            abort,
            throttle,
            hold,
        }
    }

    /// Each of them in a few words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let order = |word: &str, request: &Option<ControlRequest>| {
            request.as_ref().map(|request| format!("{word} {request}"))
        };
        let throttle = self.throttle.as_ref().map(|throttle| {
            let rate = throttle.rate.0;
            format!(
                "throttled to {rate} corrections a second {}",
                throttle.request
            )
        });
        let hold = self.hold.as_ref().map(|hold| format!("held {hold}"));
        let lines = [
            order("aborted", &self.abort),
            order("paused", &self.pause),
            throttle,
            hold,
        ];
        lines.into_iter().flatten().collect()
    }
}
