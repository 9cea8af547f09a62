//! The command line: what can be asked for, then done.

mod run;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use stitch_app::check::check;
use stitch_app::init::{self, Request};
use stitch_app::runner::{self, Shared};
use stitch_cassandra::Replication;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-processor",
    version,
    about = "Reads events from Kafka and increments Cassandra counters in real time, once each",
    after_help = "Example, from nothing (deploy/stitch.toml is an annotated configuration to copy):
  stitch-processor check                  # are the servers there, and set as they must be?
  stitch-processor init --replication 3   # make table, topic of rejects and namespace, once
  stitch-processor run                    # count; start as many as you like

Exit codes: 0 done, 2 it could not be done, 130 ended at once by a second signal.
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
    /// Count until told to stop
    ///
    /// Takes its share of the partitions, counts their events, and shares them again as processors come and go. Never
    /// initialises: a process whose definitions differ from the namespace's refuses to start.
    #[command(after_help = "Example:
  stitch-processor run --config plays.toml

Prints the address of its HTTP server on standard error: /health, /ready, /metrics.
SIGTERM or SIGINT: finishes what is on its way, hands its partitions over and ends with 0; what could not settle
in time leaves a tombstone, which the next restoration waits out. A second signal ends it at once with 130.")]
    Run,
    /// Look whether configuration and servers are as they must be
    ///
    /// Reaches ZooKeeper, Cassandra and Kafka, looks at their settings that matter, and says for each thing whether it
    /// is ok, worth a warning or wrong, and the way out. Changes nothing.
    #[command(after_help = "Example:
  stitch-processor check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is.")]
    Check,
}

/// Make the table, the topic of rejects and the namespace, or see that they agree
///
/// Harmless when they exist: it changes nothing and shows the difference, if there is one. Without the keyspace and
/// without --replication it prints the statement to run.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-processor init --replication 3            # three replicas, in the one data centre there is
  stitch-processor init --replication dc1=3,dc2=2  # by data centre
  stitch-processor init --update                   # take up counters that were added to the file

After --update: start the processors with the new file, then count the past by
  stitch-restorator run --now --counter NEW

Exit codes: 0 it is there and agrees, 2 it differs or could not be made.")]
struct InitArguments {
    /// How a missing keyspace is replicated: 3, or dc1=3,dc2=2
    #[arg(long, value_name = "REPLICAS")]
    replication: Option<Replication>,
    /// Take up added counters; no member may be alive
    #[arg(long)]
    update: bool,
}

/// Does what `arguments` ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Init(given) => runner::run("init", &shared, async |config, _| {
            let request = Request {
                replication: given.replication,
                update: given.update,
            };
            init::init(&config, &request).await
        }),
        Command::Run => runner::run("run", &shared, run::run),
        Command::Check => runner::run("check", &shared, async |config, _| Ok(check(&config).await)),
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
    fn the_arguments_are_declared_without_contradiction() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn init_takes_a_replication_by_number_or_by_data_centre() {
        for (given, factor) in [("3", Some(3)), ("dc1=3,dc2=2", None)] {
            let parsed = parse(&format!("stitch-processor init --replication {given}")).unwrap();
            let Command::Init(init) = parsed.command else {
                panic!("{given}");
            };
            let expected = given.parse().unwrap();
            assert_eq!(init.replication, Some(expected));
            assert_eq!(
                factor.map(Replication::Factor).is_some(),
                !given.contains('=')
            );
        }
        for wrong in ["0", "dc1", "dc1=", "=3", "dc1=3,dc1=2"] {
            let error = parse(&format!("stitch-processor init --replication {wrong}"));
            assert_eq!(error.unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn what_no_command_takes_is_refused() {
        for wrong in [
            "stitch-processor",
            "stitch-processor count",
            "stitch-processor run --update",
            "stitch-processor check --output yaml",
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn every_help_teaches_by_an_example() {
        let mut program = Arguments::command();
        program.build();
        for command in program
            .get_subcommands_mut()
            .filter(|c| c.get_name() != "help")
        {
            let name = command.get_name().to_owned();
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{name}: {help}");
        }
    }
}
