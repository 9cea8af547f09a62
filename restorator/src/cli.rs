//! The command line: what can be asked for, checked against the configuration, then done.

mod scope;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stitch_app::check::check;
use stitch_app::runner::{self, Shared};
use stitch_app::status;
use stitch_common::config::Config;
use stitch_common::ports::Level;
use stitch_common::user_error::UserError;

use crate::command;
use crate::options::{DeclaredDead, Limits, PlanOptions, PlanSource, RunOptions};
use crate::wiring::with_servers;
use scope::ScopeArguments;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-restorator",
    version,
    about = "Finds counts that have drifted and makes them right while the fleet keeps counting",
    after_help = "Example, when counts look wrong:
  stitch-restorator plan --plan-file plan.json   # what is wrong? changes nothing
  stitch-restorator run plan.json                # make exactly that right
Or both in one go, for one counter:
  stitch-restorator run --now --counter plays

Exit codes: 0 every cell in scope is right, 1 something is wrong, 2 it could not be done or proved,
130 ended at once by a second signal.
Every value of the configuration can be set by the environment: STITCH_CASSANDRA__NODES='[\"a:9042\"]'."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look whether configuration and servers are as they must be
    ///
    /// Reaches ZooKeeper, Cassandra and Kafka, looks at their settings that matter, and says for each thing whether it
    /// is ok, worth a warning or wrong, and the way out. Tells how long a calm takes: what a restoration waits after a
    /// fault. Changes nothing.
    #[command(after_help = "Example:
  stitch-restorator check --config plays.toml

Exit codes: 0 nothing is wrong, 2 something is.")]
    Check,
    Plan(PlanArguments),
    Run(RunArguments),
    /// Show members, tombstones, locked ranges and restorations
    ///
    /// As they stand in ZooKeeper; takes no lock.
    #[command(after_help = "Example: who holds which range exclusively?
  stitch-restorator status --output json | jq '.locks[] | select(.kind == \"exclusive\")'

Exit codes: 0 it could be read, 2 it could not.")]
    Status,
}

/// Audit: find the cells that are wrong, and by how much
///
/// Reads the event log and the counts while the fleet keeps counting; locks nothing and changes nothing in the store.
/// Closes in until few cells remain unjudged.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: what is wrong with the plays of one track?
  stitch-restorator plan --counter plays --key 3135556

Exit codes: 0 nothing is wrong, 1 something is wrong, 2 it could not be done.")]
struct PlanArguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Write the plan to this file, for `run FILE`
    #[arg(long, value_name = "FILE")]
    plan_file: Option<PathBuf>,
    #[command(flatten)]
    word: Exceptions,
}

/// Restore: make the counts right, range by range, and prove it
///
/// Nothing asks for confirmation: --max-cells and --max-change refuse what is more than you expected.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-restorator run plan.json --max-cells 500
  stitch-restorator run --now --ranges 0-15

Exit codes: 0 every cell in scope is proved right, 1 known drift remains, 2 something is not proved.
The first SIGINT or SIGTERM gives all locks back and ends with 2; the second ends at once with 130.")]
struct RunArguments {
    /// The plan to carry out
    #[arg(
        value_name = "PLAN",
        required_unless_present = "now",
        conflicts_with = "now"
    )]
    plan: Option<PathBuf>,
    /// Plan and carry out in one go
    #[arg(long)]
    now: bool,
    /// Refuse to correct more cells than this
    #[arg(long, value_name = "N")]
    max_cells: Option<u64>,
    /// Refuse corrections that add up to more than this, each taken without its sign
    #[arg(long, value_name = "N")]
    max_change: Option<u64>,
    #[command(flatten)]
    word: Exceptions,
    #[command(flatten, next_help_heading = "With --now")]
    scope: ScopeArguments,
}

/// The operator's word on what is down for good.
#[derive(Args, Clone, Debug)]
struct Exceptions {
    /// Read at this level instead of ALL: a timed-out increment on a replica that is down may be missed
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    read_consistency: Option<ReadConsistency>,
    /// A Cassandra node (host id or address) or a member that is down for good: nothing waits for it; repeatable
    #[arg(long, value_name = "NODE-OR-MEMBER")]
    declare_dead: Vec<DeclaredDead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadConsistency {
    #[value(name = "QUORUM")]
    Quorum,
}

/// Does what `arguments` ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = crate::failpoint::setup();
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Check => runner::run("check", &shared, async |config, _| Ok(check(&config).await)),
        // Each command is one large future, so it is boxed.
        Command::Plan(arguments) => runner::run("plan", &shared, async |mut config, shutdown| {
            let options = arguments.options(&mut config)?;
            with_servers(&config, runner::host(), &shutdown, async |context| {
                Box::pin(command::plan(context, &options)).await
            })
            .await
        }),
        Command::Run(arguments) => runner::run("run", &shared, async |mut config, shutdown| {
            let options = arguments.options(&mut config)?;
            with_servers(&config, runner::host(), &shutdown, async |context| {
                Box::pin(command::run(context, &options)).await
            })
            .await
        }),
        Command::Status => runner::run("status", &shared, async |config, _| {
            status::read(&config).await
        }),
    })
}

impl PlanArguments {
    fn options(self, config: &mut Config) -> Result<PlanOptions, UserError> {
        Ok(PlanOptions {
            scope: self.scope.scope(&config.definitions)?,
            plan_file: self.plan_file,
            declared_dead: self.word.given(config),
        })
    }
}

impl RunArguments {
    fn options(self, config: &mut Config) -> Result<RunOptions, UserError> {
        let source = match self.plan {
            Some(file) if self.scope == ScopeArguments::default() => PlanSource::File(file),
            Some(_) => {
                let what = "a plan has its scope: --counter, --key and --ranges go with --now";
                let help = "leave them out, or make another plan by `stitch-restorator plan`";
                return Err(UserError::new(what, help));
            }
            None => PlanSource::Now(self.scope.scope(&config.definitions)?),
        };
        Ok(RunOptions {
            source,
            limits: Limits {
                max_cells: self.max_cells,
                max_change: self.max_change,
            },
            declared_dead: self.word.given(config),
        })
    }
}

impl Exceptions {
    /// What is gone; what is accepted goes into the configuration, where no file can set it.
    fn given(self, config: &mut Config) -> Vec<DeclaredDead> {
        if let Some(ReadConsistency::Quorum) = self.read_consistency {
            config.restorator.read_level = Level::Quorum;
        }
        self.declare_dead
    }
}

#[cfg(test)]
mod tests;
