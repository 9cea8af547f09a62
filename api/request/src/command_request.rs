//! A command that controls restorations, as a form of the operator's page or a JSON object gives it.

use chrono::{DateTime, Utc};
use stitch_control::command_queue::CommandFailure;
use stitch_control::control_record::{ControlCommand, CorrectionRate};

use crate::problem::{Kind, Problem};
use crate::query_string::Query;

pub const COMMAND: &str = "command";
pub const RATE: &str = "rate";
pub const UNTIL: &str = "until";
pub const REASON: &str = "reason";
pub const RESTORATION: &str = "restoration";
pub const CONFIRMED: &str = "confirmed";
/// Every parameter.
pub const NAMES: [&str; 6] = [COMMAND, RATE, UNTIL, REASON, RESTORATION, CONFIRMED];
/// What `confirmed` has to be.
pub const YES: &str = "yes";

/// The longest reason: it is shown in one line.
const REASON_BYTES_MAX: usize = 500;

/// A command, and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRequest {
    pub command: ControlCommand,
    pub reason: String,
    /// The restoration that it is for; without, the one that runs.
    pub restoration: Option<String>,
    /// Whether a person was asked again.
    pub is_confirmed: bool,
}

impl CommandRequest {
    /// Parses it. A parameter without a value is a field of a form that was left empty.
    ///
    /// # Errors
    /// A parameter is missing, invalid, or not one of this command.
    pub fn parse(query: &Query) -> Result<Self, Problem> {
        let given = |name: &str| query.get(name).filter(|value| !value.is_empty());
        let names = "pause, resume, throttle, abort or hold-until";
        let Some(name) = given(COMMAND) else {
            return Err(query.missing(COMMAND, names));
        };
        let command = match name {
            "pause" => ControlCommand::Pause,
            "resume" => ControlCommand::Resume,
            "abort" => ControlCommand::Abort,
            "throttle" => throttle(query, given(RATE))?,
            "hold-until" => hold_until(query, given(UNTIL))?,
            other => {
                return Err(query.invalid(COMMAND, format!("\"{other}\" is none of {names}")));
            }
        };
        for (parameter, of) in [(RATE, "throttle"), (UNTIL, "hold-until")] {
            if given(parameter).is_some() && name != of {
                return Err(query.invalid(parameter, format!("only {of} has one, not {name}")));
            }
        }
        if given(CONFIRMED).is_some_and(|value| value != YES) {
            return Err(query.invalid(CONFIRMED, format!("it can only be {YES}")));
        }
        Ok(Self {
            command,
            reason: reason(query, given(REASON).unwrap_or_default())?,
            restoration: given(RESTORATION).map(str::to_owned),
            is_confirmed: given(CONFIRMED).is_some(),
        })
    }
}

fn throttle(query: &Query, rate: Option<&str>) -> Result<ControlCommand, Problem> {
    let rate = rate.ok_or_else(|| query.missing(RATE, "corrections a second, or off"))?;
    let rate = CorrectionRate::read_limit(rate);
    let rate = rate.map_err(|refusal| query.invalid(RATE, refusal.to_string()))?;
    Ok(ControlCommand::Throttle(rate))
}

fn hold_until(query: &Query, until: Option<&str>) -> Result<ControlCommand, Problem> {
    let example = "a time with its offset, as 2030-01-31T06:00:00Z";
    let until = until.ok_or_else(|| query.missing(UNTIL, example))?;
    let time = DateTime::parse_from_rfc3339(until);
    let time = time.map_err(|_| query.invalid(UNTIL, format!("\"{until}\" is not {example}")))?;
    Ok(ControlCommand::HoldUntil(time.with_timezone(&Utc)))
}

/// Logs, tables and terminals show it: one line, of bounded length.
fn reason(query: &Query, reason: &str) -> Result<String, Problem> {
    let reason = reason.trim();
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        let detail = format!("at most {REASON_BYTES_MAX} bytes in one line");
        return Err(query.invalid(REASON, detail));
    }
    Ok(reason.to_owned())
}

impl From<CommandFailure> for Problem {
    fn from(failure: CommandFailure) -> Self {
        match failure {
            CommandFailure::Refused(error) => Self::new(Kind::CommandRefused, error.to_string()),
            CommandFailure::Unanswered(error) => {
                let detail = format!("{error}; the command may have been carried out");
                Self::new(Kind::NamespaceUnavailable, detail)
            }
            CommandFailure::Overload => Self::new(Kind::Overload, "too many commands wait"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<CommandRequest, Problem> {
        let query = Query::parse(Some(raw), &NAMES, &[], "/operator".to_owned());
        CommandRequest::parse(&query.unwrap())
    }

    #[test]
    fn a_command_is_read_as_it_is_typed_on_the_command_line() {
        let until = DateTime::from_timestamp(1_896_069_600, 0).unwrap();
        let rate = CorrectionRate(500);
        for (raw, command) in [
            ("command=pause", ControlCommand::Pause),
            ("command=resume", ControlCommand::Resume),
            ("command=abort", ControlCommand::Abort),
            (
                "command=throttle&rate=500",
                ControlCommand::Throttle(Some(rate)),
            ),
            ("command=throttle&rate=off", ControlCommand::Throttle(None)),
            (
                "command=hold-until&until=2030-01-31T07:00:00%2B01:00",
                ControlCommand::HoldUntil(until),
            ),
        ] {
            let request = parse(raw).unwrap();
            assert_eq!(request.command, command, "{raw}");
            let typed = raw.replace("command=", "").replace("&rate=", " ");
            if !typed.contains("until") {
                assert_eq!(request.command.to_string(), typed);
            }
        }
        let form = "command=abort&rate=&until=&reason=+wrong+scope+&restoration=a&confirmed=yes";
        let expected = CommandRequest {
            command: ControlCommand::Abort,
            reason: "wrong scope".to_owned(),
            restoration: Some("a".to_owned()),
            is_confirmed: true,
        };
        assert_eq!(parse(form).unwrap(), expected);
    }

    #[test]
    fn a_parameter_that_is_wrong_or_has_no_effect_is_named() {
        let long = format!("command=pause&reason={}", "a".repeat(501));
        for (raw, kind, parameter) in [
            ("", Kind::MissingParameter, COMMAND),
            ("command=stop", Kind::InvalidParameter, COMMAND),
            ("command=throttle", Kind::MissingParameter, RATE),
            ("command=throttle&rate=0", Kind::InvalidParameter, RATE),
            ("command=pause&rate=5", Kind::InvalidParameter, RATE),
            ("command=hold-until", Kind::MissingParameter, UNTIL),
            (
                "command=hold-until&until=2030-01-31T06:00",
                Kind::InvalidParameter,
                UNTIL,
            ),
            (
                "command=resume&until=2030-01-31T06:00:00Z",
                Kind::InvalidParameter,
                UNTIL,
            ),
            (
                "command=abort&confirmed=no",
                Kind::InvalidParameter,
                CONFIRMED,
            ),
            ("command=pause&reason=a%0Ab", Kind::InvalidParameter, REASON),
            (&long, Kind::InvalidParameter, REASON),
        ] {
            let problem = parse(raw).unwrap_err();
            assert_eq!(problem.kind, kind, "{raw}");
            let text = serde_json::to_string(&problem).unwrap();
            let named = format!("\"parameter\":\"{parameter}\"");
            assert!(text.contains(&named), "{raw}: {text}");
        }
    }
}
