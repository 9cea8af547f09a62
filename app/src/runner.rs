//! Runs a command: from the arguments to one report and an exit code. The same for every program.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, ValueEnum};

use crate::shutdown::Shutdown;
use crate::stderr::Stderr;
use crate::telemetry;
use stitch_common::output::{self, Exit, NoReport, Output, Report};
use stitch_common::printable::{printable_line, printable_lines};
use stitch_common::user_error::UserError;
use stitch_config::{Config, Environment};

/// How long the runtime's threads may take to end after the command.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(2);

/// The options that every command has.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The configuration; else what STITCH_CONFIG names, else stitch.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to answer: text for people, or one JSON object on standard output, errors included
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: OutputArgument,
}

/// [`Output`] as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputArgument {
    /// Text for people
    #[default]
    Text,
    /// One JSON object
    Json,
}

impl From<OutputArgument> for Output {
    fn from(argument: OutputArgument) -> Self {
        match argument {
            OutputArgument::Text => Self::Text,
            OutputArgument::Json => Self::Json,
        }
    }
}

/// The name of this machine, for people.
#[must_use]
pub fn host() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Runs `work` with the arguments parsed as `P`, unless parsing has answered them already.
pub fn main<P: Parser>(
    raw: impl IntoIterator<Item = OsString>,
    work: impl FnOnce(P) -> ExitCode,
) -> ExitCode {
    match arguments(raw) {
        Ok(arguments) => work(arguments),
        Err(exit) => exit,
    }
}

/// Parses the arguments as `P`.
///
/// # Errors
/// Help, the version or a usage error has been printed: the process has to end with this code.
pub fn arguments<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let error = match P::try_parse_from(&arguments) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => printable_error::<P>(&arguments, error),
    };
    let requested = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if requested || !wants_json(&arguments) {
        let exit = if requested {
            Exit::Success
        } else {
            Exit::Failed
        };
        return Err(exit_code(error.print().map(|()| exit)));
    }
    let program = P::command();
    let known = |name: &OsString| {
        let commands = program.get_subcommands().map(clap::Command::get_name);
        commands
            .into_iter()
            .find(|command| name == *command)
            .map(str::to_owned)
    };
    let command = arguments.iter().skip(1).find_map(known);
    let failure = usage(&error, program.get_name(), command.as_deref());
    let command = command.unwrap_or_else(|| program.get_name().to_owned());
    Err(print::<NoReport>(&command, &Err(failure), Output::Json))
}

fn wants_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let apart = |(option, value): (&OsString, &OsString)| option == "--output" && value == "json";
    pairs.into_iter().any(apart) || arguments.iter().any(|argument| argument == "--output=json")
}

/// The same help or usage error for a terminal: clap repeats arguments as they are, and they may come from anywhere.
fn printable_error<P: Parser>(arguments: &[OsString], error: clap::Error) -> clap::Error {
    let escaped = arguments
        .iter()
        .map(|argument| printable_line(&argument.to_string_lossy()).into_owned());
    let escaped = P::try_parse_from(escaped);
    // If only the characters themselves were wrong, clap has nothing to say of the escaped ones.
    escaped.err().unwrap_or_else(|| {
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        clap::Error::raw(error.kind(), printable_lines(message).into_owned())
    })
}

fn usage(error: &clap::Error, program: &str, command: Option<&str>) -> UserError {
    let text = error.render().to_string();
    let mut parts = text
        .split("\n\n")
        .map(|part| part.trim().replace('\n', " "));
    let what = parts.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let command = command.map(|name| format!(" {name}")).unwrap_or_default();
    UserError::new(
        what,
        format!("`{program}{command} --help` shows the options and an example"),
    )
}

/// Loads the configuration, runs `work`, and prints its report. Tasks that `work` leaves behind end with the process.
pub fn run<R, F>(
    command: &str,
    shared: &Shared,
    work: impl FnOnce(Config, Shutdown) -> F,
) -> ExitCode
where
    R: Report,
    F: Future<Output = Result<R, UserError>>,
{
    let load = || Config::load(shared.config.as_deref(), &Environment::of_process());
    run_after(command, shared, load, work)
}

/// As [`run`], for work that may be dropped at any await, as by a kill: the first signal ends it.
pub fn run_until_stopped<R, F>(
    command: &str,
    shared: &Shared,
    work: impl FnOnce(Config) -> F,
) -> ExitCode
where
    R: Report,
    F: Future<Output = Result<R, UserError>>,
{
    run(command, shared, async |config, shutdown| {
        shutdown.unless_asked(Box::pin(work(config))).await?
    })
}

/// As [`run`], without a configuration.
pub fn run_without_config<R, F>(
    command: &str,
    shared: &Shared,
    work: impl FnOnce(Shutdown) -> F,
) -> ExitCode
where
    R: Report,
    F: Future<Output = Result<R, UserError>>,
{
    let work = |(), shutdown| work(shutdown);
    run_after(command, shared, || Ok(()), work)
}

fn run_after<T, R, F>(
    command: &str,
    shared: &Shared,
    load: impl FnOnce() -> Result<T, UserError>,
    work: impl FnOnce(T, Shutdown) -> F,
) -> ExitCode
where
    R: Report,
    F: Future<Output = Result<R, UserError>>,
{
    let mut interrupted = false;
    let result = (|| {
        telemetry::start_logs()?;
        let loaded = load()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                let what = format!("threads cannot be started: {error}");
                UserError::new(what, "raise the limit of processes of this user")
            })?;
        let result = runtime.block_on(async {
            let shutdown = Shutdown::on_signals()?;
            let work = work(loaded, shutdown.clone());
            let output = shutdown.unless_at_once(work).await;
            interrupted = shutdown.has_dropped_work();
            output?
        });
        // No waiting when the process has to end at once.
        let timeout = if interrupted {
            Duration::ZERO
        } else {
            RUNTIME_TIMEOUT
        };
        runtime.shutdown_timeout(timeout);
        result
    })();
    let code = print(command, &result, shared.output.into());
    if interrupted {
        ExitCode::from(Exit::Interrupted.code())
    } else {
        code
    }
}

fn print<R: Report>(command: &str, result: &Result<R, UserError>, output: Output) -> ExitCode {
    let (mut out, mut errors) = (io::stdout().lock(), io::stderr());
    exit_code(output::write(
        command,
        result,
        output,
        &mut out,
        &mut errors,
    ))
}

fn exit_code(written: io::Result<Exit>) -> ExitCode {
    let exit = written.unwrap_or_else(|error| {
        // Where this is lost, too, the exit code says it.
        Stderr.line(&format!("error: the output could not be written: {error}"));
        Stderr.line(
            "help: see where standard output and standard error lead, and run the command again",
        );
        Exit::Failed
    });
    ExitCode::from(exit.code())
}

#[cfg(test)]
mod tests {
    use stitch_common::printable::is_printable;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "program")]
    struct Arguments {
        #[command(flatten)]
        shared: Shared,
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Command {
        Check {
            #[arg(long)]
            number: Option<u32>,
            #[arg(long, value_parser = plain)]
            plain: Option<String>,
        },
    }

    fn plain(text: &str) -> Result<String, &'static str> {
        if !text.chars().all(is_printable) {
            return Err("no such character");
        }
        Ok(text.to_owned())
    }

    fn split(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn shared_options_may_precede_or_follow_the_command() {
        for text in [
            "program check --output json --config a.toml",
            "program --output=json --config=a.toml check",
        ] {
            let parsed: Arguments = arguments(split(text)).unwrap();
            let Command::Check { number, plain } = parsed.command;
            assert!(number.is_none() && plain.is_none());
            assert_eq!(parsed.shared.config, Some(PathBuf::from("a.toml")));
            assert_eq!(Output::from(parsed.shared.output), Output::Json);
            assert!(wants_json(&split(text)));
        }
        let parsed: Arguments = arguments(split("program check")).unwrap();
        assert_eq!(Output::from(parsed.shared.output), Output::Text);
    }

    #[test]
    fn arguments_that_clap_repeats_do_not_control_the_terminal() {
        for (text, shown) in [
            ("program check --\u{1b}[2Kcolour", "--\\u{1b}[2Kcolour"),
            ("program \u{9b}2K\u{202e}", "\\u{9b}2K\\u{202e}"),
            ("program check --output \r\u{7}", "\\r\\u{7}"),
            ("program check a\u{1b}[31m b", "a\\u{1b}[31m"),
            ("pro\u{1b}[31mgram", "pro\\u{1b}[31mgram"),
            ("program check --number 1\u{1b}[31m", "1\\u{1b}[31m"),
        ] {
            let text = split(text);
            let error = Arguments::try_parse_from(&text).unwrap_err();
            let error = printable_error::<Arguments>(&text, error).to_string();
            let raw = error.chars().find(|c| *c != '\n' && !is_printable(*c));
            assert!(raw.is_none() && error.contains(shown), "{error:?}");
        }
    }

    #[test]
    fn an_argument_that_is_wrong_for_its_characters_alone_is_refused_in_printable_ones() {
        let text = split("program check --plain \u{202e}x");
        let error = Arguments::try_parse_from(&text).unwrap_err();
        let error = printable_error::<Arguments>(&text, error).to_string();
        assert!(
            error.contains("'\\u{202e}x'") && error.contains("no such character"),
            "{error:?}"
        );
    }

    #[test]
    fn a_usage_error_is_one_sentence_with_help() {
        let error = Arguments::try_parse_from(split("program check --colour red")).unwrap_err();
        let failure = usage(&error, "program", Some("check"));
        assert!(failure.message.contains("'--colour'"), "{failure}");
        assert!(!failure.message.contains('\n') && !failure.message.starts_with("error"));
        assert!(failure.help.contains("`program check --help`"), "{failure}");
    }
}
