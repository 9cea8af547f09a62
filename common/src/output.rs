//! The output of a command, the same for every program: with `--output json` one object on standard output, errors
//! included; otherwise text. Nothing else writes to standard output.
//!
//! A command returns `Result<R, UserError>` where `R: Report`; [`write()`] writes it and yields the exit code.

use std::io::{self, Write};

use serde::Serialize;

use crate::printable::{json, printable_line, printable_lines};
use crate::user_error::UserError;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything is right.
    Success,
    /// Counts are known to be wrong.
    DriftFound,
    /// A command that only looks has found something that an operator must act on.
    ActionNeeded,
    /// It failed, or something could not be verified.
    Failed,
    /// Everything is right as far as the operator let it be seen: with exceptions that the report names.
    Exceptions,
    /// An operator ended it early by `abort`: what it did is right, and the rest is left as it was.
    Aborted,
    /// A signal ended it where it was: the first, if the command has nothing to stop cleanly, else the second.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::DriftFound | Self::ActionNeeded => 1,
            Self::Failed => 2,
            Self::Exceptions => 3,
            Self::Aborted => 4,
            Self::Interrupted => 130,
        }
    }
}

/// The report of a command. Its fields are in the JSON object next to `command`, `outcome` and `error`, so it has no
/// fields of these names (mark them `#[serde(skip)]`).
pub trait Report: Serialize {
    /// The outcome in one word, or a few with underscores: `verified`, `agrees`, …
    fn outcome(&self) -> &'static str;

    fn exit(&self) -> Exit;

    /// The error, if there is one.
    fn error(&self) -> Option<&UserError> {
        None
    }

    /// Writes it as text, without the error, which [`write()`] adds.
    ///
    /// # Errors
    /// `out` fails.
    fn text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

#[derive(Serialize)]
struct Object<'a, R> {
    command: &'a str,
    outcome: &'a str,
    #[serde(flatten)]
    report: Option<&'a R>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a UserError>,
}

/// The JSON object of a report, as [`write()`] writes it; for the API.
///
/// # Errors
/// The report does not serialise.
pub fn object<R: Report>(command: &str, report: &R) -> serde_json::Result<Vec<u8>> {
    json(&Object {
        command,
        outcome: report.outcome(),
        report: Some(report),
        error: report.error(),
    })
}

/// Writes the object or the text to `out`, and in text mode the error to `errors`. Returns how the command ends.
///
/// # Errors
/// `out` or `errors` fails.
pub fn write<R: Report>(
    command: &str,
    result: &Result<R, UserError>,
    output: Output,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<Exit> {
    let (report, outcome, exit, error) = match result {
        Ok(report) => (
            Some(report),
            report.outcome(),
            report.exit(),
            report.error(),
        ),
        Err(failure) => (None, "error", Exit::Failed, Some(failure)),
    };
    match output {
        Output::Json => {
            let object = Object {
                command,
                outcome,
                report,
                error,
            };
            out.write_all(&json(&object)?)?;
            writeln!(out)?;
        }
        Output::Text => {
            if let Some(report) = report {
                // Whatever a report has from outside: no terminal obeys it.
                let mut text = Vec::new();
                report.text(&mut text)?;
                let text = String::from_utf8_lossy(&text);
                out.write_all(printable_lines(&text).as_bytes())?;
            }
            if let Some(UserError { message, help }) = error {
                out.flush()?;
                let (message, help) = (printable_line(message), printable_line(help));
                writeln!(errors, "error: {message}\nhelp: {help}")?;
            }
        }
    }
    out.flush()?;
    Ok(exit)
}

/// The report of a command that has none: it can only fail.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum NoReport {}

impl Report for NoReport {
    fn outcome(&self) -> &'static str {
        match *self {}
    }

    fn exit(&self) -> Exit {
        match *self {}
    }

    fn text(&self, _out: &mut dyn Write) -> io::Result<()> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Cells {
        judged: u64,
        #[serde(skip)]
        failure: Option<UserError>,
    }

    impl Report for Cells {
        fn outcome(&self) -> &'static str {
            "drift"
        }
        fn exit(&self) -> Exit {
            Exit::DriftFound
        }
        fn error(&self) -> Option<&UserError> {
            self.failure.as_ref()
        }
        fn text(&self, out: &mut dyn Write) -> io::Result<()> {
            writeln!(out, "{} cells judged", self.judged)
        }
    }

    fn written(result: &Result<Cells, UserError>, output: Output) -> (String, String, u8) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let exit = write("plan", result, output, &mut out, &mut errors).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(errors), exit.code())
    }

    fn cells(failure: Option<UserError>) -> Result<Cells, UserError> {
        Ok(Cells { judged: 7, failure })
    }

    #[test]
    fn no_control_character_is_written_and_json_means_the_same() {
        #[derive(Serialize)]
        struct Key {
            key: &'static str,
        }
        impl Report for Key {
            fn outcome(&self) -> &'static str {
                "drift"
            }
            fn exit(&self) -> Exit {
                Exit::DriftFound
            }
            fn text(&self, out: &mut dyn Write) -> io::Result<()> {
                writeln!(out, "key {}", self.key)
            }
        }
        let data = "x\u{1b}[2K\r\u{9b}\u{202e}";
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        write(
            "plan",
            &Ok(Key { key: data }),
            Output::Text,
            &mut out,
            &mut errors,
        )
        .unwrap();
        assert_eq!(out, b"key x\\u{1b}[2K\\r\\u{9b}\\u{202e}\n");
        let failure: Result<Key, _> =
            Err(UserError::new(format!("key {data}\nhelp: forged"), data));
        write("plan", &failure, Output::Text, &mut out, &mut errors).unwrap();
        let text = String::from_utf8(errors).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']));
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        write("plan", &failure, Output::Json, &mut out, &mut errors).unwrap();
        let json = String::from_utf8(out).unwrap();
        assert!(!json.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}']));
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["error"]["help"], data);
    }

    #[test]
    fn json_is_one_object_with_the_reports_fields() {
        let (out, errors, code) = written(&cells(None), Output::Json);
        let elsewhere = object("plan", &cells(None).unwrap()).unwrap();
        assert_eq!(out.trim_end().as_bytes(), elsewhere);
        assert_eq!(
            out,
            "{\"command\":\"plan\",\"outcome\":\"drift\",\"judged\":7}\n"
        );
        assert_eq!((errors.as_str(), code), ("", 1));
    }

    #[test]
    fn an_error_is_part_of_the_object() {
        let failure = UserError::new("a node is down", "start it");
        let error = "\"error\":{\"message\":\"a node is down\",\"help\":\"start it\"}}\n";
        let (out, errors, code) = written(&Err(failure.clone()), Output::Json);
        assert_eq!(
            out,
            format!("{{\"command\":\"plan\",\"outcome\":\"error\",{error}")
        );
        assert_eq!((errors.as_str(), code), ("", 2));
        let (out, _, _) = written(&cells(Some(failure)), Output::Json);
        assert!(
            out.ends_with(error) && out.contains("\"judged\":7"),
            "{out}"
        );
    }

    #[test]
    fn no_control_character_of_an_error_reaches_a_terminal_and_json_has_it_as_it_is() {
        let failure = || Err(UserError::new("key \u{1b}[2K", "look\r"));
        let (_, errors, _) = written(&failure(), Output::Text);
        assert_eq!(errors, "error: key \\u{1b}[2K\nhelp: look\\r\n");
        let (out, _, _) = written(&failure(), Output::Json);
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["error"]["message"], "key \u{1b}[2K");
    }

    #[test]
    fn text_goes_to_standard_output_and_its_error_to_standard_error() {
        let (out, errors, code) = written(&cells(Some(UserError::new("x", "y"))), Output::Text);
        assert_eq!(out, "7 cells judged\n");
        assert_eq!((errors.as_str(), code), ("error: x\nhelp: y\n", 1));
    }
}
