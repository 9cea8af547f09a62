//! The command line: parses the arguments and runs the command.

mod build;
mod list;
mod map;
mod prune;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stitch_app::check::{Needs, check};
use stitch_app::runner::{self, Shared};
use stitch_config::Engine;

use crate::servers;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-totals",
    version,
    about = "Adds up what all events count, as Parquet files at a cut of the topic",
    after_help = "Example:
  stitch-totals check         # will it work?
  stitch-totals build         # from the newest totals on; the first time, from the first record on
  stitch-totals list          # which there are
  stitch-totals verify ID     # recount them from the records, and compare
  stitch-totals prune --keep 3

Exit codes: 0 done, 1 totals differ from the records (verify), 2 it could not be done or is wrong (check), 130 ended
by a signal; run it again. Where totals are: `url` in [totals], else that of [archive], else the folder stitch-totals.
The files are read by DuckDB, Spark and pandas: SELECT * FROM 'totals/v1/plays/ID/*.parquet'"
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
    /// Connects to ZooKeeper, Kafka and the stores of totals and archive. Reports each finding as ok, warning or wrong, with help. Changes
    /// nothing, but for a small object by which a store is tried.
    #[command(after_help = "Example:
  stitch-totals check --output json | jq '.findings[] | select(.verdict == \"wrong\")'

Exit codes: 0 nothing is wrong, 2 something is wrong.")]
    Check,
    Build(BuildArguments),
    /// List the totals of this namespace
    ///
    /// The newest last, with cut, cells and size; also what cannot be read, and what a build that was killed has left.
    #[command(after_help = "Example:
  stitch-totals list --output json | jq -r '.totals[-1].id'

Exit codes: 0 done, 2 it could not be done.")]
    List,
    /// Recount totals from the records, and compare
    ///
    /// Reads every record that is in them, and every file of them. Changes nothing.
    #[command(after_help = "Example:
  stitch-totals verify 0f3c62a1b2d4e5f6

Exit codes: 0 they are right, 1 they differ from the records or are damaged, 2 it could not be found out.")]
    Verify {
        /// Which totals: an id that `list` shows
        id: String,
    },
    /// Add up segments of the archive, on an executor of a cluster
    ///
    /// Reads tasks from standard input, puts the partial sums of each into the object store, and prints a receipt for each.
    /// A task may be repeated. `build --engine spark` has executors run it; needs no configuration.
    #[command(after_help = "Example:
  stitch-totals map --job stitch-job.json < stitch-tasks.jsonl

Exit codes: 0 done, 2 it could not be done: no receipt was printed.")]
    Map {
        /// The job, as `build` has written it
        #[arg(long, value_name = "FILE")]
        job: PathBuf,
    },
    /// Delete old totals
    ///
    /// Keeps those that batch counts need, and refuses while a restoration runs. An audit (`plan`) may have begun with totals that
    /// are not the newest: run this when none does.
    #[command(after_help = "Example:
  stitch-totals prune --keep 3

Exit codes: 0 done, 2 it could not be done.")]
    Prune {
        /// How many to keep: the newest, of this namespace and of each earlier one of its name
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Also delete files without a manifest, and partial sums of a cluster: left by a build that was killed. No build may be
        /// running
        #[arg(long)]
        incomplete: bool,
    },
}

/// Build totals at the cut that archive and log allow now
///
/// Begins with the newest totals of the same definitions and reads the records since, from the archive where it reaches,
/// else from Kafka's log; refuses if records are missing between them. Prints the id.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-totals build
  stitch-totals build --from-beginning       # read every record again
  stitch-totals build --counter downloads    # a counter that was added: count its past, too
  stitch-totals build --engine spark         # on a cluster: docs/operations/totals.md, \"On Spark\"

Takes no lock and needs no quiet: processors go on. Memory: memory_mib_max in [totals]; the rest is spilled to
the folder `spill`.

Exit codes: 0 done, 2 it could not be done: nothing of it counts then.")]
struct BuildArguments {
    /// What adds up, instead of the `engine` that is configured
    #[arg(long, value_enum)]
    engine: Option<EngineArgument>,
    /// Read every record, whatever totals there are
    #[arg(long)]
    from_beginning: bool,
    /// A counter that the newest totals lack: it is counted from the beginning, or from as far back as records reach. Once
    /// for each
    #[arg(
        long = "counter",
        value_name = "NAME",
        conflicts_with = "from_beginning"
    )]
    counters: Vec<String>,
}

/// The engine as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EngineArgument {
    /// This process
    Local,
    /// A Spark cluster, by `submit` in [totals.spark]: it reads what is archived
    Spark,
}

impl From<EngineArgument> for Engine {
    fn from(argument: EngineArgument) -> Self {
        match argument {
            EngineArgument::Local => Self::Local,
            EngineArgument::Spark => Self::Spark,
        }
    }
}

/// Runs the command that `arguments` name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            let stores = servers::check_stores(&config).await;
            Ok(check(&config, Needs::Totals, stores).await)
        }),
        Command::Build(arguments) => runner::run_until_stopped("build", &shared, async |config| {
            build::build(&config, &arguments).await
        }),
        Command::List => {
            runner::run_until_stopped("list", &shared, async |config| list::list(&config).await)
        }
        Command::Verify { id } => runner::run_until_stopped("verify", &shared, async |config| {
            verify::verify(&config, id).await
        }),
        Command::Map { job } => runner::run_without_config("map", &shared, async |shutdown| {
            shutdown.unless_asked(map::map(&job)).await?
        }),
        Command::Prune { keep, incomplete } => {
            runner::run_until_stopped("prune", &shared, async |config| {
                prune::prune(&config, keep, incomplete).await
            })
        }
    })
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
    fn contradictions_and_unknown_engines_are_refused() {
        for wrong in [
            "stitch-totals build --engine flink",
            "stitch-totals map",
            "stitch-totals build --from-beginning --counter plays",
            "stitch-totals prune",
            "stitch-totals prune --keep 0",
            "stitch-totals verify",
        ] {
            let error = Arguments::try_parse_from(wrong.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
