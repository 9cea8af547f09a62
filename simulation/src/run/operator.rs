//! The operator: runs the restorator's commands.

use std::rc::Rc;

use stitch_common::cell::CounterName;
use stitch_common::ports::{Servers, Stores};
use stitch_common::progress::NoProgress;
use stitch_common::range::RangeId;
use stitch_common::scope::{RangeSet, Scope};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_restorator::command::{self, CommandContext};
use stitch_restorator::journal::{Journal, Lines};
use stitch_restorator::membership;
use stitch_restorator::options::{Limits, PlanOptions, PlanSource, RunOptions, TotalsOptions};
use stitch_restorator::report::{PlanReport, RunReport};
use stitch_testkit::wait::OneShot;
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::history::Command;
use crate::process::{Process, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::Handle;

/// The result of a command.
pub(crate) enum CommandResult {
    Plan(Box<Result<PlanReport, UserError>>),
    Run(Box<Result<RunReport, UserError>>),
}

/// A journal that is not kept.
struct NoJournal;

impl Lines for NoJournal {
    fn append(&mut self, _lines: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Run {
    /// Runs a command at its time.
    pub(super) async fn operate(self: Rc<Self>, command: Command) {
        self.world.executor.until(command.at).await;
        drop(self.run_command(command).await);
        self.one_finished();
    }

    /// Runs a command in a process of its own. `None` if that was killed.
    pub(super) async fn run_command(self: &Rc<Self>, command: Command) -> Option<CommandResult> {
        let (world, counter) = (Rc::clone(&self.world), command.counter);
        let (process, stop) = self.start(self.history.processors, Role::Restorator);
        let ended = Rc::new(OneShot::default());
        let (run, end) = (Rc::clone(self), Rc::clone(&ended));
        let (running, token) = (Rc::clone(&process), stop.clone());
        world.spawn_of(&process, async move {
            end.send(run.restorator(&running, token, command).await);
        });
        if let Some(after) = command.stop_after {
            let world = Rc::clone(&world);
            self.world.spawn(async move {
                world.executor.until(world.now() + after).await;
                stop.cancel();
            });
        }
        let result = self.end_of(&process, &ended).await;
        world.trace.step.set(None);
        self.check_result(&process, counter, result.as_ref());
        result
    }

    fn check_result(
        &self,
        process: &Process,
        counter: Option<&str>,
        result: Option<&CommandResult>,
    ) {
        let actor = Actor::of(process);
        self.world
            .record(actor, Tracepoint::Ended, || match result {
                None => "was killed".to_owned(),
                Some(CommandResult::Plan(plan)) => match &**plan {
                    Ok(report) => format!("plan: {:?}", report.cells),
                    Err(error) => format!("plan: {error}"),
                },
                Some(CommandResult::Run(run)) => match &**run {
                    Ok(report) => {
                        let ranges = report.ranges.iter();
                        let ranges: Vec<_> = ranges
                            .map(|range| {
                                let why = range.error.as_ref().map(ToString::to_string);
                                format!(
                                    "{} {:?} {}",
                                    range.range,
                                    range.outcome,
                                    why.unwrap_or_default()
                                )
                            })
                            .collect();
                        format!("run: {}", ranges.join("; "))
                    }
                    Err(error) => format!("run: {error}"),
                },
            });
        match result {
            Some(CommandResult::Plan(plan)) => {
                if let Ok(report) = &**plan {
                    self.world.check_audit(report.cells.wrong);
                }
            }
            Some(CommandResult::Run(run)) => {
                if let Ok(report) = &**run {
                    self.world.check_report(process.number, counter, report);
                }
            }
            None => {}
        }
    }

    /// The production code, over the world's ports.
    async fn restorator(
        &self,
        process: &Rc<Process>,
        stop: CancellationToken,
        command: Command,
    ) -> CommandResult {
        let handle = self.handle(process);
        let stores = Stores {
            archive: (self.history.archivers > 0).then(|| handle.clone()),
            totals: self.history.totals.then(|| handle.clone()),
        };
        carry_out(&handle, &self.config_of(process), stores, stop, command).await
    }
}

/// Carries out a command in the process of `handle`.
pub(crate) async fn carry_out(
    handle: &Handle,
    config: &Config,
    stores: Stores<Handle>,
    stop: CancellationToken,
    command: Command,
) -> CommandResult {
    let servers = Servers {
        keeper: handle.clone(),
        cql: handle.clone(),
        log: handle.clone(),
        stores,
        clock: handle.clock(),
    };
    let this = membership::Process {
        host: "host".to_owned(),
        id: 7,
    };
    let journal = |name: &str| Ok(Journal::new(name.into(), Box::new(NoJournal)));
    let given = CommandContext {
        servers: &servers,
        config,
        process: &this,
        stop,
        progress: &NoProgress,
        journal: &journal,
    };
    let ranges = handle.world.bits.count();
    let first = RangeId(command.range.unwrap_or(0));
    let last = RangeId(command.range.unwrap_or(ranges - 1));
    let mut scope = Scope::of_ranges(RangeSet::interval(first, last));
    scope.counter = command.counter.map(|name| CounterName(name.into()));
    if command.only_plan {
        let options = PlanOptions {
            scope,
            only_doubtful: false,
            plan_file: None,
            max_unjudged: None,
            declared_dead: Vec::new(),
            totals: TotalsOptions::default(),
        };
        let planned = Box::pin(command::plan(&given, &options)).await;
        return CommandResult::Plan(Box::new(planned));
    }
    let options = RunOptions {
        source: PlanSource::Now(scope),
        limits: Limits::default(),
        declared_dead: Vec::new(),
        totals: TotalsOptions::default(),
    };
    CommandResult::Run(Box::new(Box::pin(command::run(&given, &options)).await))
}
