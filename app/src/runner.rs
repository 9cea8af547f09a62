//! What the command lines of both binaries share: the options that every command has, and the way from the arguments
//! to one answer and an exit code.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, ValueEnum};

use crate::shutdown::Shutdown;
use crate::telemetry;
use stitch_common::config::{Config, Environment};
use stitch_common::output::{self, Exit, NoReport, Output, Report};
use stitch_common::user_error::UserError;

/// How long the runtime's threads may take to end once all is answered.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(2);

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

/// A program: does `work` by its arguments as `P` understands them, unless these are answered already.
pub fn main<P: Parser>(
    given: impl IntoIterator<Item = OsString>,
    work: impl FnOnce(P) -> ExitCode,
) -> ExitCode {
    match arguments(given) {
        Ok(arguments) => work(arguments),
        Err(exit) => exit,
    }
}

/// The arguments as `P` understands them.
///
/// # Errors
/// The answer has been given, be it help, the version or what is wrong with the arguments: the process is to end.
pub fn arguments<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let error = match P::try_parse_from(&arguments) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let asked_for = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if asked_for || !wants_json(&arguments) {
        let exit = if asked_for {
            Exit::Success
        } else {
            Exit::Failed
        };
        return Err(after(error.print().map(|()| exit)));
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
    Err(give::<NoReport>(&command, &Err(failure), Output::Json))
}

fn wants_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    let apart = |(option, value): (&OsString, &OsString)| option == "--output" && value == "json";
    pairs.into_iter().any(apart) || arguments.iter().any(|argument| argument == "--output=json")
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

/// Reads the configuration, does `work`, and gives its answer. Whatever `work` leaves behind ends with the process.
pub fn run<R, F>(
    command: &str,
    shared: &Shared,
    work: impl FnOnce(Config, Shutdown) -> F,
) -> ExitCode
where
    R: Report,
    F: Future<Output = Result<R, UserError>>,
{
    let mut interrupted = false;
    let result = (|| {
        telemetry::start_logs()?;
        let config = Config::load(shared.config.as_deref(), &Environment::of_process())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                let what = format!("threads cannot be started: {error}");
                UserError::new(what, "raise the limit of processes of this user")
            })?;
        let result = runtime.block_on(async {
            let shutdown = Shutdown::on_signals()?;
            let work = work(config, shutdown.clone());
            let done = shutdown.unless_at_once(work).await;
            interrupted = shutdown.is_at_once();
            done?
        });
        // Not waited for when the process is to end at once.
        let patience = if interrupted {
            Duration::ZERO
        } else {
            RUNTIME_PATIENCE
        };
        runtime.shutdown_timeout(patience);
        result
    })();
    let given = give(command, &result, shared.output.into());
    if interrupted {
        ExitCode::from(Exit::Interrupted.code())
    } else {
        given
    }
}

fn give<R: Report>(command: &str, result: &Result<R, UserError>, output: Output) -> ExitCode {
    let (mut out, mut errors) = (io::stdout().lock(), io::stderr());
    after(output::write(
        command,
        result,
        output,
        &mut out,
        &mut errors,
    ))
}

fn after(given: io::Result<Exit>) -> ExitCode {
    // Nobody reads the answer any more: the exit code is all that is left to say so.
    ExitCode::from(given.unwrap_or(Exit::Failed).code())
}

#[cfg(test)]
mod tests {
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
        Check,
    }

    fn given(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn shared_options_stand_before_or_behind_the_command() {
        for text in [
            "program check --output json --config a.toml",
            "program --output=json --config=a.toml check",
        ] {
            let parsed: Arguments = arguments(given(text)).unwrap();
            let Command::Check = parsed.command;
            assert_eq!(parsed.shared.config, Some(PathBuf::from("a.toml")));
            assert_eq!(Output::from(parsed.shared.output), Output::Json);
            assert!(wants_json(&given(text)));
        }
        let parsed: Arguments = arguments(given("program check")).unwrap();
        assert_eq!(Output::from(parsed.shared.output), Output::Text);
    }

    #[test]
    fn a_usage_error_is_one_sentence_with_a_way_out() {
        let error = Arguments::try_parse_from(given("program check --colour red")).unwrap_err();
        let failure = usage(&error, "program", Some("check"));
        assert!(failure.message.contains("'--colour'"), "{failure}");
        assert!(!failure.message.contains('\n') && !failure.message.starts_with("error"));
        assert!(failure.help.contains("`program check --help`"), "{failure}");
    }
}
