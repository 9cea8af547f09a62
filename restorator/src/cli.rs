//! The command line: arguments, checked against the configuration, and the command that they name.

mod control;
mod scope;
mod sums;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stitch_app::check::{Needs, check};
use stitch_app::runner::{self, Shared};
use stitch_app::status;
use stitch_common::ports::Level;
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_totals::build::BaseChoice;
use stitch_totals::manifest::TotalsId;
use stitch_totals::totals_folder;

use crate::command;
use crate::options::{DeclaredDead, Limits, PlanOptions, PlanSource, RunOptions, TotalsOptions};
use crate::wiring::with_servers;
use control::{AbortArguments, HoldArguments, PauseArguments, ResumeArguments, ThrottleArguments};
use scope::ScopeArguments;
use sums::SumsArguments;

#[derive(Debug, Parser)]
#[command(
    name = "stitch-restorator",
    version,
    about = "Audits counters against the event log and repairs them while processors keep counting",
    after_help = "Example, when counts look wrong:
  stitch-restorator plan --plan-file plan.jsonl  # audit: what is wrong? changes nothing
  stitch-restorator run plan.jsonl               # audit the plan's scope again, and repair it
Or in one go, for one counter:
  stitch-restorator run --now --counter plays

Exit codes: 0 every cell in scope is right, 1 drift was found, 2 the command failed or could not verify
every range, 3 right with exceptions (--read-consistency, --declare-dead), 4 aborted by an operator, 130 ended by a
signal where it was (plan, run and sums: by the second one).
A plan is a scope that was reviewed, not a list of corrections: `run` audits that scope again.
Every configuration key can be set by an environment variable: STITCH_CASSANDRA__NODES='[\"a:9042\"]'."
)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and the servers
    ///
    /// Connects to ZooKeeper, Cassandra and Kafka, checks the settings that matter, and reports for each whether it is
    /// ok, a warning or wrong, with help. Shows how long a quiescence barrier takes: the time that a restoration waits
    /// after a fault. Changes nothing.
    #[command(after_help = "Example:
  stitch-restorator check --config plays.toml

Exit codes: 0 nothing is wrong, 2 something is wrong.")]
    Check,
    Plan(PlanArguments),
    Run(RunArguments),
    Sums(SumsArguments),
    Pause(PauseArguments),
    Resume(ResumeArguments),
    Abort(AbortArguments),
    Throttle(ThrottleArguments),
    HoldUntil(HoldArguments),
    /// Show members, dead members, locked ranges and restorations
    ///
    /// Reads them from ZooKeeper; takes no lock.
    #[command(after_help = "Example: who holds which range exclusively?
  stitch-restorator status --output json | jq '.locks[] | select(.kind == \"exclusive\")'

Exit codes: 0 the status was read, 2 it was not.")]
    Status,
}

/// Audit: find the cells that are wrong, and by how much
///
/// Reads the records since the newest totals, and the counts, while processors keep counting; takes no lock and changes
/// nothing in the store. Repeats the audit at later cuts until few cells remain dirty. Leaves totals for the next audit.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example: what is wrong with the plays of one track?
  stitch-restorator plan --counter plays --key 3135556

Exit codes: 0 nothing is wrong, 1 drift was found, 2 the audit failed, or too many cells could not be judged,
3 nothing is wrong, with exceptions (--read-consistency, --declare-dead).")]
struct PlanArguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// Write the plan to this file (JSON lines), for `run FILE`
    #[arg(long, value_name = "FILE")]
    plan_file: Option<PathBuf>,
    /// How many cells may remain unjudged, because events change them all the time [default: 1 % of the cells in scope]
    #[arg(long, value_name = "N")]
    max_unjudged: Option<u64>,
    #[command(flatten)]
    totals: TotalsArguments,
    #[command(flatten)]
    exceptions: Exceptions,
}

/// Restore: repair the counts range by range, and verify them
///
/// Audits the scope first; with a plan, the scope of that plan. There is no confirmation prompt: --max-cells and
/// --max-change refuse more than you expect.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  stitch-restorator run plan.jsonl --max-cells 500
  stitch-restorator run --now --doubtful
  stitch-restorator run --now --ranges 0-15

Exit codes: 0 every cell in scope is verified, 1 known drift remains, 2 a range could not be verified,
3 verified with exceptions (--read-consistency, --declare-dead), 4 aborted (`stitch-restorator abort`).
The first SIGINT, SIGTERM or SIGHUP releases all locks and ends with 2; the second ends at once with 130.")]
struct RunArguments {
    /// A reviewed plan: its scope is restored
    #[arg(
        value_name = "PLAN",
        required_unless_present = "now",
        conflicts_with = "now"
    )]
    plan: Option<PathBuf>,
    /// Restore without a plan file
    #[arg(long)]
    now: bool,
    /// Refuse to correct more cells than this
    #[arg(long, value_name = "N")]
    max_cells: Option<u64>,
    /// Refuse corrections that add up to more than this, by absolute value
    #[arg(long, value_name = "N")]
    max_change: Option<u64>,
    #[command(flatten)]
    totals: TotalsArguments,
    #[command(flatten)]
    exceptions: Exceptions,
    #[command(flatten, next_help_heading = "With --now")]
    scope: ScopeArguments,
}

/// Which totals the audit starts from.
#[derive(Args, Clone, Debug)]
struct TotalsArguments {
    /// Start from these totals (`stitch-totals list`), or from none and read every record [default: the newest that can
    /// be used]
    #[arg(long, value_name = "ID|none")]
    base: Option<String>,
    /// Leave no totals behind for the next audit; only an audit of everything leaves some
    #[arg(long)]
    no_totals: bool,
}

impl TotalsArguments {
    fn options(self) -> TotalsOptions {
        TotalsOptions {
            base: match self.base.as_deref() {
                None => BaseChoice::Newest,
                Some("none") => BaseChoice::FromBeginning,
                Some(id) => BaseChoice::Only(TotalsId(id.to_owned())),
            },
            leave: !self.no_totals,
        }
    }
}

/// What the operator accepts while nodes or members are permanently gone.
#[derive(Args, Clone, Debug)]
struct Exceptions {
    /// Read at this level instead of ALL; a timed-out increment that only a down replica has may be missed
    #[arg(long, value_name = "LEVEL", value_enum, ignore_case = true)]
    read_consistency: Option<ReadConsistency>,
    /// A Cassandra node (host id or address) or a member that is permanently dead: nothing waits for it; repeatable
    #[arg(long, value_name = "NODE-OR-MEMBER")]
    declare_dead: Vec<DeclaredDead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadConsistency {
    #[value(name = "QUORUM")]
    Quorum,
}

/// Runs the command that `arguments` name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _points = crate::failpoint::setup();
    runner::main(arguments, |Arguments { shared, command }| match command {
        Command::Check => runner::run_until_stopped("check", &shared, async |config| {
            let totals = totals_folder::check_name(&config.namespace);
            let stores = stitch_archive::check::totals(&config, &totals).await;
            Ok(check(&config, Needs::Restoring, stores).await)
        }),
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
        Command::Sums(arguments) => runner::run("sums", &shared, async |mut config, shutdown| {
            let options = arguments.options(&mut config)?;
            with_servers(&config, runner::host(), &shutdown, async |context| {
                Box::pin(command::sums(context, &options)).await
            })
            .await
        }),
        Command::Pause(arguments) => runner::run_until_stopped("pause", &shared, async |config| {
            arguments.carry_out(&config).await
        }),
        Command::Resume(arguments) => {
            runner::run_until_stopped("resume", &shared, async |config| {
                arguments.carry_out(&config).await
            })
        }
        Command::Abort(arguments) => runner::run_until_stopped("abort", &shared, async |config| {
            arguments.carry_out(&config).await
        }),
        Command::Throttle(arguments) => {
            runner::run_until_stopped("throttle", &shared, async |config| {
                arguments.carry_out(&config).await
            })
        }
        Command::HoldUntil(arguments) => {
            runner::run_until_stopped("hold-until", &shared, async |config| {
                arguments.carry_out(&config).await
            })
        }
        Command::Status => runner::run_until_stopped("status", &shared, async |config| {
            status::read(&config).await
        }),
    })
}

impl PlanArguments {
    fn options(self, config: &mut Config) -> Result<PlanOptions, UserError> {
        Ok(PlanOptions {
            only_doubtful: self.scope.only_doubtful(),
            scope: self.scope.scope(&config.definitions)?,
            plan_file: self.plan_file,
            max_unjudged: self.max_unjudged,
            declared_dead: self.exceptions.apply(config),
            totals: self.totals.options(),
        })
    }
}

impl RunArguments {
    fn options(self, config: &mut Config) -> Result<RunOptions, UserError> {
        let source = match self.plan {
            Some(file) if self.scope == ScopeArguments::default() => PlanSource::File(file),
            Some(_) => {
                let message = "a plan has its own scope: --counter, --key, --ranges and --doubtful go with --now";
                let help = "leave them out, or make another plan by `stitch-restorator plan`";
                return Err(UserError::new(message, help));
            }
            None if self.scope.only_doubtful() => {
                PlanSource::Doubtful(self.scope.scope(&config.definitions)?)
            }
            None => PlanSource::Now(self.scope.scope(&config.definitions)?),
        };
        Ok(RunOptions {
            source,
            limits: Limits {
                max_cells: self.max_cells,
                max_change: self.max_change,
            },
            declared_dead: self.exceptions.apply(config),
            totals: self.totals.options(),
        })
    }
}

impl Exceptions {
    /// Puts the read level into the configuration, where no file can set it, and returns what is declared dead.
    fn apply(self, config: &mut Config) -> Vec<DeclaredDead> {
        if let Some(ReadConsistency::Quorum) = self.read_consistency {
            config.restorator.read_level = Level::Quorum;
        }
        self.declare_dead
    }
}

#[cfg(test)]
mod tests;
