//! What operators want of the restoration that runs, and of those to come. Pure: [`crate::control_node`] reads and writes
//! it.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use stitch_common::plain_number::plain_number;
use stitch_common::user_error::UserError;
use stitch_protocol::envelope::Payload;

use crate::restoration_id::RestorationId;

/// Who asked for something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRequest {
    /// The user and host, or the token and host.
    pub by: String,
    /// When, by the calendar of that host.
    pub at: DateTime<Utc>,
    /// Why; empty if no reason was given.
    pub reason: String,
}

impl fmt::Display for ControlRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {} at {}", self.by, time(self.at))?;
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, ": {reason}"),
        }
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The most corrections a second that may be sent without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorrectionRate(pub u32);

impl CorrectionRate {
    /// Reads a limit as it is typed: a number from 1 on, or `off` for none.
    ///
    /// # Errors
    /// It is neither.
    pub fn read_limit(text: &str) -> Result<Option<Self>, ControlRefusal> {
        if text == "off" {
            return Ok(None);
        }
        let rate = plain_number(text).filter(|rate| *rate > 0);
        let rate = rate.ok_or_else(|| ControlRefusal::NoRate(text.to_owned()))?;
        Ok(Some(Self(rate)))
    }
}

/// A limit on the corrections of a restoration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// The limit.
    pub rate: CorrectionRate,
    /// Who set it.
    pub request: ControlRequest,
}

/// A time until which no restoration corrects anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When it ends by itself.
    pub until: DateTime<Utc>,
    /// Who set it.
    pub request: ControlRequest,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {}, {}", time(self.until), self.request)
    }
}

/// What operators want. The orders to one restoration mean nothing to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// The restoration that pause, abort and throttle are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restoration: Option<RestorationId>,
    /// It waits until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<ControlRequest>,
    /// It ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<ControlRequest>,
    /// It corrects more slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
    /// No restoration begins, and one that runs waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

impl Payload for ControlRecord {
    const FORMAT: u32 = 1;
    const HELP: &'static str = "delete that node, which lifts every pause and hold, or run the version of the program that wrote it";
}

/// A command of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// The restoration that runs waits, without a lock.
    Pause,
    /// It goes on; a hold is lifted.
    Resume,
    /// It ends.
    Abort,
    /// It sends at most so many corrections a second without a lock; `None` lifts the limit.
    Throttle(Option<CorrectionRate>),
    /// No restoration corrects anything until then.
    HoldUntil(DateTime<Utc>),
}

impl ControlCommand {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Throttle(_) => "throttle",
            Self::HoldUntil(_) => "hold-until",
        }
    }
}

impl fmt::Display for ControlCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttle(Some(CorrectionRate(rate))) => write!(f, "throttle {rate}"),
            Self::Throttle(None) => f.write_str("throttle off"),
            Self::HoldUntil(until) => write!(f, "hold-until {}", time(*until)),
            Self::Pause | Self::Resume | Self::Abort => f.write_str(self.name()),
        }
    }
}

/// Why a command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlRefusal {
    /// There is nothing that it could act on.
    #[error("no restoration runs in this namespace")]
    NothingRuns,
    /// Another one than the operator means.
    #[error("restoration {wanted} does not run; {running} does")]
    OtherRuns {
        /// The one that the operator named.
        wanted: String,
        /// The one that runs.
        running: RestorationId,
    },
    /// Nothing is paused or held.
    #[error("neither a pause nor a hold is in force")]
    NothingToResume,
    /// It is so already.
    #[error("it is already {state} {request}")]
    Already {
        /// A word for what it is: paused, aborted.
        state: &'static str,
        /// Who asked for it.
        request: ControlRequest,
    },
    /// A hold has to end later than now.
    #[error("the time {} has passed", time(*.0))]
    Past(DateTime<Utc>),
    /// A limit is a number, or `off`.
    #[error("\"{0}\" is neither `off` nor a number of corrections a second, from 1 on")]
    NoRate(String),
}

impl From<ControlRefusal> for UserError {
    fn from(refusal: ControlRefusal) -> Self {
        let help = match &refusal {
            ControlRefusal::NothingRuns => {
                "nothing was changed; `stitch-restorator hold-until TIME` keeps new ones from beginning, and a restoration \
                 that has just begun can be controlled a moment later"
            }
            ControlRefusal::OtherRuns { .. } => {
                "nothing was changed; `stitch-restorator status` shows the restoration that runs"
            }
            ControlRefusal::NothingToResume => {
                "nothing was changed; `stitch-restorator status` shows what runs"
            }
            ControlRefusal::Already { .. } => "nothing was changed",
            ControlRefusal::Past(_) => "give a time to come, as 2030-01-31T06:00:00Z",
            ControlRefusal::NoRate(_) => "give a limit, as 500",
        };
        Self::new(refusal, help)
    }
}

impl ControlRecord {
    /// The record after a command, given the restoration that runs and the one that the operator wants to control, if it
    /// was named.
    ///
    /// # Errors
    /// The command changes nothing.
    pub fn after(
        self,
        command: ControlCommand,
        request: ControlRequest,
        running: Option<&RestorationId>,
        wanted: Option<&str>,
    ) -> Result<Self, ControlRefusal> {
        if let Some(wanted) = wanted {
            match running {
                Some(running) if running.as_str() == wanted => {}
                Some(running) => {
                    return Err(ControlRefusal::OtherRuns {
                        wanted: wanted.to_owned(),
                        running: running.clone(),
                    });
                }
                None => return Err(ControlRefusal::NothingRuns),
            }
        }
        let mut next = self.at(request.at);
        // One that lost its session does not run until it goes on as a new member: orders to it stay, and can be lifted.
        if running.is_some() {
            next = next.of(running);
        }
        match command {
            ControlCommand::HoldUntil(until) if until <= request.at => {
                return Err(ControlRefusal::Past(until));
            }
            ControlCommand::HoldUntil(until) => next.hold = Some(Hold { until, request }),
            ControlCommand::Resume if next.pause.is_none() && next.hold.is_none() => {
                return Err(ControlRefusal::NothingToResume);
            }
            ControlCommand::Resume => (next.pause, next.hold) = (None, None),
            _ if running.is_none() => return Err(ControlRefusal::NothingRuns),
            ControlCommand::Throttle(None) => next.throttle = None,
            ControlCommand::Throttle(Some(rate)) => {
                next.throttle = Some(Throttle { rate, request });
            }
            ControlCommand::Abort => set(&mut next.abort, "aborted", request)?,
            ControlCommand::Pause => set(&mut next.pause, "paused", request)?,
        }
        Ok(next)
    }

    /// The record without orders to any other restoration than this one.
    #[must_use]
    pub fn of(self, restoration: Option<&RestorationId>) -> Self {
        if self.restoration.as_ref() == restoration {
            return self;
        }
        Self {
            restoration: restoration.cloned(),
            hold: self.hold,
            ..Self::default()
        }
    }

    /// The record without a hold that has ended.
    #[must_use]
    pub fn at(mut self, now: DateTime<Utc>) -> Self {
        self.hold = self.hold.filter(|hold| now < hold.until);
        self
    }
}

fn set(
    order: &mut Option<ControlRequest>,
    state: &'static str,
    request: ControlRequest,
) -> Result<(), ControlRefusal> {
    match order.replace(request) {
        None => Ok(()),
        Some(request) => Err(ControlRefusal::Already { state, request }),
    }
}

/// What operators had a restoration do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlEvent {
    /// When the restoration took notice, by its own calendar.
    pub when: DateTime<Utc>,
    /// The command, as it is typed; `hold ended` for a hold that ended by itself.
    pub command: String,
    /// Who asked for it; nobody if it came by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ControlRequest>,
}

impl ControlEvent {
    /// How many of a restoration are kept.
    pub const KEPT: usize = 20;

    /// What a restoration takes notice of when the record changes from `old` to `new`, both without what is not for it.
    #[must_use]
    pub fn between(old: &ControlRecord, new: &ControlRecord, when: DateTime<Utc>) -> Vec<Self> {
        let mut events = Vec::new();
        let mut note = |command: &str, request: Option<&ControlRequest>| {
            events.push(Self {
                when,
                command: command.to_owned(),
                request: request.cloned(),
            });
        };
        if let Some(throttle) = new
            .throttle
            .as_ref()
            .filter(|_| old.throttle != new.throttle)
        {
            let command = ControlCommand::Throttle(Some(throttle.rate)).to_string();
            note(&command, Some(&throttle.request));
        } else if old.throttle.is_some() && new.throttle.is_none() {
            note("throttle off", None);
        }
        if let Some(hold) = new.hold.as_ref().filter(|_| old.hold != new.hold) {
            let command = ControlCommand::HoldUntil(hold.until).to_string();
            note(&command, Some(&hold.request));
        }
        if let Some(pause) = new.pause.as_ref().filter(|_| old.pause != new.pause) {
            note("pause", Some(pause));
        }
        let waits = |record: &ControlRecord| record.pause.is_some() || record.hold.is_some();
        if waits(old) && !waits(new) {
            let ended = old.hold.as_ref().is_some_and(|hold| hold.until <= when);
            note(if ended { "hold ended" } else { "resume" }, None);
        }
        if let Some(abort) = new.abort.as_ref().filter(|_| old.abort.is_none()) {
            note("abort", Some(abort));
        }
        events
    }
}

#[cfg(test)]
mod tests;
