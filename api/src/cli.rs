//! The command line: what can be asked for, then done.

mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stitch_app::check::check;
use stitch_app::runner::{self, Shared};

use crate::server::tls;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-api",
    version,
    about = "Serves counts, timelines and how fresh they are over HTTP",
    after_help = "Example (deploy/stitch.toml is an annotated configuration to copy, its section [api] is for this program):
  stitch-api check
  stitch-api run
  curl 'http://127.0.0.1:8080/v1/counters/plays/keys/abc/series?granularity=day'

Exit codes: 0 done, 2 it could not be done, 130 ended at once by a second signal.
Every value of the configuration can be set by the environment: STITCH_API__LISTEN='127.0.0.1:0'.
STITCH_LOG sets what is logged: info, debug, or info,stitch_api=debug."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve counts until told to stop
    ///
    /// Reads the table of counts and writes nothing anywhere. Beside every count stands how fresh it is, as ZooKeeper
    /// and Kafka tell it. Start as many as you like, on as many hosts.
    #[command(after_help = "Example:
  stitch-api run --config plays.toml

Prints its address on standard error: /openapi.json describes it; /health, /ready and /metrics are for machines.
SIGTERM or SIGINT: takes no more connections, answers what was begun and ends with 0. A second signal ends it at once
with 130.")]
    Run,
    /// Look whether configuration and servers are as they must be
    ///
    /// Reaches ZooKeeper, Cassandra and Kafka, and says for each thing whether it is ok, worth a warning or wrong, and
    /// the way out. Changes nothing.
    #[command(after_help = "Example:
  stitch-api check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is.")]
    Check,
}

/// Does what `arguments` ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Run => runner::run("run", &shared, run::run),
        Command::Check => runner::run("check", &shared, async |config, _| {
            if let Some(files) = &config.api.tls {
                tls::acceptor(files)?;
            }
            Ok(check(&config).await)
        }),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_declared_without_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_no_command_takes_is_refused() {
        for wrong in ["stitch-api", "stitch-api serve", "stitch-api run --port 1"] {
            let error = Arguments::try_parse_from(wrong.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn every_help_teaches_by_an_example() {
        let mut program = Arguments::command();
        program.build();
        let commands = program.get_subcommands_mut();
        for command in commands.filter(|command| command.get_name() != "help") {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{help}");
        }
    }
}
