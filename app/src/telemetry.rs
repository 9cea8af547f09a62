//! Logs on standard error as text or JSON, metrics in Prometheus' format on request.
//!
//! Fields may have data of events, and messages those of servers: none of it reaches a terminal or a log unescaped
//! ([`stitch_common::printable`]), whatever the call that logs it does. A log that cannot be written is lost
//! ([`crate::stderr`]).

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};

use crate::stderr::Stderr;
use stitch_common::printable::{printable_line, write_json};
use stitch_common::user_error::UserError;

/// The variables with the log filter; the first that is set counts.
const FILTERS: [&str; 2] = ["STITCH_LOG", "RUST_LOG"];
/// The filter if none is set: of the client libraries only warnings.
const FILTER_DEFAULT: &str = "info,zookeeper_client=warn,scylla=warn";
/// The variable with the format.
const FORMAT: &str = "STITCH_LOG_FORMAT";

/// Bucket bounds of histograms in seconds: from one request to a quiescence barrier.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. Call it once, before anything else.
///
/// # Errors
/// Filter or format is invalid, or logging has been started already.
pub fn start_logs() -> Result<(), UserError> {
    let filter = filter()?;
    let started = match log_format(std::env::var_os(FORMAT).as_deref())? {
        LogFormat::Text => {
            let ansi = io::stderr().is_terminal();
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .fmt_fields(fields(ansi))
                .with_writer(|| Stderr)
                .with_ansi(ansi)
                .log_internal_errors(false)
                .try_init()
        }
        LogFormat::Json => tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(|| JsonLine(Stderr))
            .log_internal_errors(false)
            .try_init(),
    };
    started.map_err(|error| {
        UserError::new(format!("logging cannot be started: {error}"), "report this")
    })
}

fn filter() -> Result<EnvFilter, UserError> {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let Some(name) = FILTERS.into_iter().find(set) else {
        return Ok(EnvFilter::new(FILTER_DEFAULT));
    };
    EnvFilter::builder()
        .with_env_var(name)
        .try_from_env()
        .map_err(|error| {
            let what = format!("{name} is not a filter of logs: {error}");
            UserError::new(
                what,
                "write a level or some targets: info, or info,stitch_common=debug",
            )
        })
}

fn log_format(value: Option<&std::ffi::OsStr>) -> Result<LogFormat, UserError> {
    match value.map(|value| value.to_str()) {
        None | Some(Some("" | "text")) => Ok(LogFormat::Text),
        Some(Some("json")) => Ok(LogFormat::Json),
        Some(_) => Err(UserError::new(
            format!("{FORMAT} is not a format of logs"),
            "set it to text or json, or unset it",
        )),
    }
}

/// Writes `message` and `name=value`, escaped.
fn fields(ansi: bool) -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    let format = move |writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug| {
        let mut text = String::new();
        write!(text, "{value:?}")?;
        let text = printable_line(&text);
        match (field.name(), ansi) {
            ("message", _) => write!(writer, "{text}"),
            (name, false) => write!(writer, "{name}={text}"),
            // Italic and dim, as the default format.
            (name, true) => write!(writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{text}"),
        }
    };
    debug_fn(format).delimited(" ")
}

/// A line of JSON, in which whatever a terminal would not show as what it is becomes `\u….`.
#[derive(Debug)]
struct JsonLine<W>(W);

impl<W: Write> Write for JsonLine<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = Vec::with_capacity(bytes.len());
        write_json(&String::from_utf8_lossy(bytes), &mut line)?;
        self.0.write_all(&line)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Starts collecting metrics, and returns the handle that renders them. Call it once.
///
/// # Errors
/// Metrics are being collected already.
pub fn metrics_handle() -> Result<PrometheusHandle, UserError> {
    let failure = |error: &dyn std::fmt::Display| {
        UserError::new(
            format!("metrics cannot be collected: {error}"),
            "report this",
        )
    };
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(|error| failure(&error))?
        .install_recorder()
        .map_err(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::{Arc, Mutex};

    use stitch_common::printable::is_printable;
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// What was written: one line, without a control character.
        fn only_line(&self) -> String {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let line = text.strip_suffix('\n').expect("a line");
            assert!(line.chars().all(is_printable), "{text:?}");
            text
        }
    }

    const KEY: &str = "x\u{1b}[2K\r\n2026-01-01T00:00:00Z ERROR forged\u{202e}\u{9b}";

    fn log_everything() {
        let _span = tracing::info_span!("span", key = %KEY).entered();
        let error = io::Error::other(KEY);
        tracing::warn!(key = %KEY, debug = ?KEY, error = &error as &dyn std::error::Error, "given up: {KEY}");
    }

    #[test]
    fn data_forges_no_line_and_drives_no_terminal() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(fields(false))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, log_everything);
        let text = log.only_line();
        assert!(text.contains("key=x\\u{1b}[2K\\r\\n2026"), "{text:?}");
        assert!(text.contains("given up: x\\u{1b}"), "{text:?}");
    }

    #[test]
    fn a_line_of_json_has_the_data_as_it_is_and_nothing_raw() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || JsonLine(writer.clone()))
            .finish();
        with_default(subscriber, log_everything);
        let text = log.only_line();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["fields"]["key"], KEY);
        assert_eq!(line["span"]["key"], KEY);
    }

    #[test]
    fn the_format_is_text_unless_it_is_json() {
        let read = |value: &str| log_format(Some(OsStr::new(value)));
        assert_eq!(log_format(None), Ok(LogFormat::Text));
        assert_eq!(read("text"), Ok(LogFormat::Text));
        assert_eq!(read("json"), Ok(LogFormat::Json));
        for wrong in ["JSON", "json ", "xml"] {
            assert!(read(wrong).unwrap_err().message.contains(FORMAT));
        }
    }
}
