//! The command line: parses the arguments and runs the command.

mod compare;
mod init;
mod loads;
mod session;
mod status;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stitch_app::check::{Needs, check};
use stitch_app::runner::{self, Shared};
use stitch_cassandra::Replication;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_totals_program::servers;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-batch",
    version,
    about = "Counts in batch: loads what all events add up to into the table batch_counts, and publishes it",
    after_help = "Example:
  stitch-batch check                  # are the servers and the stores as this needs them?
  stitch-batch init --replication 3   # the table batch_counts, once
  stitch-batch run                    # build totals, load what changed, read it back, publish it; once an hour or a day
  stitch-batch status
  stitch-batch compare                # a drift alarm: batch and real time of closed buckets

Needs `enabled = true` in [batch]. Exit codes: 0 done, 1 counts differ (compare), 2 it could not be done or is
wrong (check), 130 ended by a signal.
May be killed at any time and run again."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration, and what this program needs of the servers
    ///
    /// Connects to ZooKeeper, Kafka, the cluster of the table and the stores of totals and archive. Reports each finding as ok, warning or wrong, with help. Changes
    /// nothing, but for a small object by which a store is tried.
    #[command(after_help = "Example:
  stitch-batch check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is wrong.")]
    Check,
    /// Create the table of batch counts
    ///
    /// In the cluster and the keyspace of batch.cassandra, by default those of cassandra. Changes nothing that is there.
    #[command(after_help = "Example:
  stitch-batch init --replication 3

Exit codes: 0 done, 2 it could not be done.")]
    Init {
        /// Replication of a keyspace that has to be created: 3, or dc1=3,dc2=2
        #[arg(long, value_name = "REPLICATION")]
        replication: Option<Replication>,
    },
    /// Build totals, load what changed, read it back, and publish it
    ///
    /// Builds totals as `stitch-totals build` does, with the engine that is configured, writes the cells that differ from the
    /// published ones, scans the table at level ALL and compares digests. Until it is published, readers have the former
    /// as-of. A counter that was added is loaded, too.
    #[command(after_help = "Example:
  stitch-batch run --output json | jq -r .as_of

Takes no lock of processors or restorations. Two at once: one waits, and says for whom.

Exit codes: 0 published, 2 it could not be done: the published batch is as it was.")]
    Run,
    /// Load these totals, against what the table holds, and publish them
    ///
    /// Nothing is taken for granted of the table: it is scanned, and every cell that differs is written. Repairs what
    /// something else has written, and goes back to older totals.
    #[command(after_help = "Example:
  stitch-totals list
  stitch-batch load 0f3c62a1b2d4e5f6

Exit codes: 0 published, 2 it could not be done: the published batch is as it was.")]
    Load {
        /// Which totals: an id that `stitch-totals list` shows
        id: String,
    },
    /// Show what is published, and whether a load has not ended
    #[command(after_help = "Example:
  stitch-batch status --output json | jq .published.as_of

Exit codes: 0 done, 2 it could not be done.")]
    Status,
    /// Compare batch and real-time counts of closed buckets
    ///
    /// Scans both tables at level ALL, without a lock. Late events differ until the next batch: what differs at two
    /// looks needs an audit (stitch-restorator plan), which alone says what is right.
    #[command(after_help = "Example:
  stitch-batch compare || stitch-restorator plan

Exit codes: 0 they are equal, 1 cells differ, 2 it could not be found out.")]
    Compare,
}

/// Runs the command that `arguments` name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Init { replication } => {
            runner::run_until_stopped("init", &shared, async |config| {
                init::init(enabled(&config)?, replication.as_ref()).await
            })
        }
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            let config = enabled(&config)?;
            let stores = servers::check_stores(config).await;
            Ok(check(config, Needs::Batch, stores).await)
        }),
        Command::Run => runner::run_until_stopped("run", &shared, async |config| {
            loads::run(enabled(&config)?).await
        }),
        Command::Load { id } => runner::run_until_stopped("load", &shared, async |config| {
            loads::load(enabled(&config)?, id).await
        }),
        Command::Status => runner::run_until_stopped("status", &shared, async |config| {
            status::status(enabled(&config)?).await
        }),
        Command::Compare => runner::run_until_stopped("compare", &shared, async |config| {
            compare::compare(enabled(&config)?).await
        }),
    })
}

/// The configuration, if batch is switched on.
fn enabled(config: &Config) -> Result<&Config, UserError> {
    if config.batch.enabled {
        return Ok(config);
    }
    Err(UserError::new(
        "batch.enabled is false: this namespace has no batch counts",
        "write enabled = true in [batch]",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_help_of_every_command_has_an_example_and_its_exit_codes() {
        stitch_testkit::help::check(Arguments::command(), &["Example", "Exit codes"]);
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for wrong in [
            "stitch-batch",
            "stitch-batch load",
            "stitch-batch publish",
            "stitch-batch init --replication x",
        ] {
            let error = Arguments::try_parse_from(wrong.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn nothing_is_done_where_batch_is_switched_off() {
        let text = include_str!("../../../deploy/stitch.toml");
        let parse = |variables: &[(&str, &str)]| {
            Config::parse("stitch.toml", text, &variables.iter().copied().collect()).unwrap()
        };
        let error = enabled(&parse(&[])).unwrap_err();
        assert!(error.help.contains("[batch]"), "{error:?}");
        assert!(enabled(&parse(&[("STITCH_BATCH__ENABLED", "true")])).is_ok());
    }
}
