//! Operators who control restorations, as [`stitch_control`] lets them.

use std::rc::Rc;

use chrono::DateTime;
use stitch_control::control_record::{ControlCommand, CorrectionRate};
use stitch_testkit::time::Micros;

use super::Run;
use crate::history::{Fault, Injection};
use crate::world::checker::{Finding, Kind};

/// After this time a restoration that met no fault has seen a pause, and given its locks back.
const SEEN: Micros = 1_500_000;
/// Calendars of this world show any time up to the year 2100, so that a hold is in force at half of all times.
const HELD_UNTIL_S: i64 = 2_051_222_400;

impl Run {
    /// Gives a command. `false` if it changes nothing.
    pub(super) fn control(self: &Rc<Self>, injection: &Injection) -> bool {
        let command = if injection.fault == Fault::AbortRun {
            ControlCommand::Abort
        } else if injection.fault == Fault::ThrottleRun {
            ControlCommand::Throttle(Some(CorrectionRate(1)))
        } else if injection.fault == Fault::HoldRuns {
            let until = DateTime::from_timestamp(HELD_UNTIL_S, 0);
            ControlCommand::HoldUntil(until.unwrap_or_default())
        } else {
            ControlCommand::Pause
        };
        self.world.control(command)
    }

    /// Ends what the command began, unless that has ended by itself.
    pub(super) fn end_control(self: &Rc<Self>, injection: &Injection) {
        let is_undisturbed = self
            .history
            .faults
            .iter()
            .all(|other| other.fault.is_of_operators() || other.fault == Fault::Corrupt);
        let is_seen = injection.length >= SEEN && !self.faults_over.has_fired();
        if injection.fault == Fault::PauseRun && is_undisturbed && is_seen {
            self.check_not_locked_while_paused();
        }
        let command = match injection.fault == Fault::ThrottleRun {
            true => ControlCommand::Throttle(None),
            false => ControlCommand::Resume,
        };
        self.world.control(command);
    }

    fn check_not_locked_while_paused(&self) {
        let Some(paused_at) = self.world.paused_at() else {
            return;
        };
        if self.world.now() - paused_at < SEEN {
            return;
        }
        if let Some(range) = self.world.exclusively_locked() {
            let text = format!("range {range} is locked, and the restoration was paused long ago");
            self.world
                .report(Finding::new(Kind::LockedWhilePaused, text));
        }
    }
}
