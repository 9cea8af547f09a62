//! The command line: parses the arguments and runs the command.

mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use stitch_app::check::{Findings, Needs, check};
use stitch_app::health;
use stitch_app::init::{self, Request};
use stitch_app::runner::{self, Shared};
use stitch_cassandra::Replication;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-processor",
    version,
    about = "Reads events from Kafka and increments Cassandra counters in real time, once each",
    after_help = "Example, from nothing (deploy/stitch.toml is an annotated configuration to copy):
  stitch-processor check                  # are the servers reachable and configured correctly?
  stitch-processor init --replication 3   # create table, dead-letter topic and namespace, once
  stitch-processor run                    # count; start as many as you like

Exit codes: 0 done, 2 it could not be done, 130 ended by a signal where it was (run: by the second one).
Every value of the configuration can be set by the environment: STITCH_CASSANDRA__NODES='[\"a:9042\"]'.
STITCH_LOG sets what is logged: info, debug, or info,stitch_common=debug."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(InitArguments),
    /// Count until stopped
    ///
    /// Takes its share of the partitions and counts their events; they are rebalanced as processors come and go. Never initialises: a process whose definitions differ from the namespace's refuses to start.
    #[command(after_help = "Example:
  stitch-processor run --config plays.toml

Prints the address of its HTTP server on standard error: /health, /ready, /metrics.
SIGTERM, SIGINT or SIGHUP: finishes requests in flight, hands its partitions over and ends with 0. If a
request stays in doubt it leaves a dead member, which the next restoration waits out. A second
signal ends it at once with 130.")]
    Run,
    /// Check the configuration and the servers
    ///
    /// Connects to ZooKeeper, Cassandra and Kafka and checks the settings that matter. Each finding is ok, a warning or
    /// wrong, with help. Changes nothing.
    #[command(after_help = "Example:
  stitch-processor check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is.")]
    Check,
    /// Ask the program that runs on this host whether it is healthy
    ///
    /// Requests /health where `http.listen` says, for a container's health check. Needs a fixed port.
    #[command(after_help = "Example:
  stitch-processor health

Exit codes: 0 it is, 1 it is not, 2 nothing answers.")]
    Health,
}

/// Create the table, the dead-letter topic and the namespace, or check that they agree
///
/// Harmless when they exist: changes nothing and shows the differences, if any. Without the keyspace and without
/// --replication it prints the statement to run.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-processor init --replication 3            # three replicas, with a single data centre
  stitch-processor init --replication dc1=3,dc2=2  # by data centre
  stitch-processor init --update                   # take up what is new in the file: counters, or a higher
                                                   # write_consistency

After --update: restart the processors with the new file, one by one, then count the past of a new counter by
  stitch-restorator run --now --counter NEW

Exit codes: 0 everything exists and agrees, 2 it differs or could not be created.")]
struct InitArguments {
    /// Replication of a missing keyspace: 3, or dc1=3,dc2=2
    #[arg(long, value_name = "REPLICAS")]
    replication: Option<Replication>,
    /// Add the counters that are new in the file, and raise write_consistency to the file's; running processors go on as
    /// before until they are restarted
    #[arg(long)]
    update: bool,
}

/// Runs the command that `arguments` name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Init(arguments) => runner::run_until_stopped("init", &shared, async |config| {
            let request = Request {
                replication: arguments.replication,
                update: arguments.update,
            };
            init::init(&config, &request).await
        }),
        Command::Run => runner::run("run", &shared, run::run),
        Command::Health => runner::run_until_stopped("health", &shared, async |config| {
            health::ask("http.listen", config.http.listen).await
        }),
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            Ok(check(&config, Needs::Counting, Findings::default()).await)
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(text: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(text.split(' '))
    }

    #[test]
    fn the_help_of_every_command_has_an_example() {
        stitch_testkit::help::check(Arguments::command(), &["Example"]);
    }

    #[test]
    fn init_takes_a_replication_by_number_or_by_data_centre() {
        let by_data_centre =
            [("dc1", 3), ("dc2", 2)].map(|(name, factor)| (name.to_owned(), factor));
        for (text, expected) in [
            ("3", Replication::Factor(3)),
            (
                "dc1=3,dc2=2",
                Replication::ByDatacenter(by_data_centre.into()),
            ),
        ] {
            let parsed = parse(&format!("stitch-processor init --replication {text}")).unwrap();
            let Command::Init(init) = parsed.command else {
                panic!("{text}");
            };
            assert_eq!(init.replication, Some(expected));
        }
        for wrong in ["0", "dc1", "dc1=", "=3", "dc1=3,dc1=2"] {
            let error = parse(&format!("stitch-processor init --replication {wrong}"));
            assert_eq!(error.unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn unknown_commands_and_options_are_refused() {
        for wrong in [
            "stitch-processor",
            "stitch-processor count",
            "stitch-processor run --update",
            "stitch-processor check --output yaml",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
