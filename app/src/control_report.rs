//! What a command that controls restorations reports, given on the command line or to the API.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::output::{Exit, Report};
use stitch_control::control_record::{ControlCommand, ControlRecord};

/// The control that is in force after a command.
#[derive(Debug, Serialize)]
pub struct ControlReport {
    /// The command, as it is typed.
    issued: String,
    control: ControlRecord,
}

impl ControlReport {
    /// Of a command that was carried out, and the record after it.
    #[must_use]
    pub fn new(command: ControlCommand, control: ControlRecord) -> Self {
        Self {
            issued: command.to_string(),
            control,
        }
    }
}

impl Report for ControlReport {
    fn outcome(&self) -> &'static str {
        "recorded"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.control.restoration {
            Some(restoration) => writeln!(
                out,
                "{} is recorded: restoration {restoration} takes notice at its next step (`stitch-restorator status`)",
                self.issued
            ),
            None => writeln!(out, "{} is recorded", self.issued),
        }
    }
}
