//! The operator: plans and restorations at random moments, and the last one, which meets no fault.

use std::rc::Rc;

use stitch_common::ports::Servers;
use stitch_common::progress::NoProgress;
use stitch_common::range::RangeId;
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_restorator::command::{self, CommandContext};
use stitch_restorator::journal::{Journal, Lines};
use stitch_restorator::membership;
use stitch_restorator::options::{Limits, PlanOptions, PlanSource, RunOptions};
use stitch_restorator::report::{PlanReport, RunReport};
use tokio_util::sync::CancellationToken;

use super::Play;
use crate::history::Ordered;
use crate::notes::{Phase, Who};
use crate::process::{Process, Role, Seat};
use crate::slot::Slot;
use crate::world::Handle;

/// What a command answers.
pub(super) enum Answered {
    Plan(Result<PlanReport, UserError>),
    Run(Box<Result<RunReport, UserError>>),
}

/// A journal on a disk that nobody looks at.
struct Nowhere;

impl Lines for Nowhere {
    fn append(&mut self, _lines: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

impl Play {
    /// Gives one order, and waits for its end.
    pub(super) async fn operate(self: Rc<Self>, order: Ordered) {
        self.world.executor.until(order.at).await;
        drop(self.restore(order).await);
        self.busy.set(self.busy.get() - 1);
    }

    /// Runs a command in a process of its own. `None` if that was killed.
    pub(super) async fn restore(self: &Rc<Self>, order: Ordered) -> Option<Answered> {
        let world = Rc::clone(&self.world);
        let seat = self.history.processors;
        let process = world.process(Seat(seat), Role::Restorator, self.drift(seat));
        world.phase(Who::of(&process), Phase::Started);
        let stop = CancellationToken::new();
        self.stops
            .borrow_mut()
            .push((Rc::clone(&process), stop.clone()));
        let ended = Rc::new(Slot::default());
        let (play, told) = (Rc::clone(self), Rc::clone(&ended));
        let (running, wish) = (Rc::clone(&process), stop.clone());
        world.spawn_of(&process, async move {
            told.fill(play.command(&running, wish, order).await);
        });
        if let Some(after) = order.stop_after {
            let world = Rc::clone(&world);
            self.world.spawn(async move {
                world.executor.until(world.now() + after).await;
                stop.cancel();
            });
        }
        let ended = self.ended(&process, &ended).await;
        world.bury(&process);
        self.stops
            .borrow_mut()
            .retain(|(known, _)| !Rc::ptr_eq(known, &process));
        world.notes.step.set(None);
        self.told(&process, ended.as_ref());
        ended
    }

    fn told(&self, process: &Process, ended: Option<&Answered>) {
        let who = Who::of(process);
        self.world.note(who, Phase::Ended, || match ended {
            None => "is dead".to_owned(),
            Some(Answered::Plan(Ok(report))) => format!("plan: {:?}", report.cells),
            Some(Answered::Plan(Err(failure))) => format!("plan: {failure}"),
            Some(Answered::Run(run)) => match &**run {
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
                Err(failure) => format!("run: {failure}"),
            },
        });
        match ended {
            Some(Answered::Plan(Ok(report))) => self.world.audited(report.cells.wrong),
            Some(Answered::Run(run)) => {
                if let Ok(report) = &**run {
                    self.world.reported(process.number, report);
                }
            }
            Some(Answered::Plan(Err(_))) | None => {}
        }
    }

    /// The production code, on the world's ports.
    async fn command(
        &self,
        process: &Rc<Process>,
        stop: CancellationToken,
        order: Ordered,
    ) -> Answered {
        let handle = Handle {
            world: Rc::clone(&self.world),
            process: Rc::clone(process),
        };
        let servers = Servers {
            keeper: handle.clone(),
            cql: handle.clone(),
            log: handle.clone(),
            clock: handle.clock(),
        };
        let this = membership::Process {
            host: "host".to_owned(),
            id: 7,
        };
        let journal = |name: &str| Ok(Journal::new(name.into(), Box::new(Nowhere)));
        let given = CommandContext {
            servers: &servers,
            config: &self.config,
            process: &this,
            stop,
            progress: &NoProgress,
            journal: &journal,
        };
        let ranges = self.world.bits.count();
        let scope = Scope {
            counter: None,
            key: None,
            first: RangeId(order.range.unwrap_or(0)),
            last: RangeId(order.range.unwrap_or(ranges - 1)),
        };
        if order.only_plan {
            let options = PlanOptions {
                scope,
                plan_file: None,
                declared_dead: Vec::new(),
            };
            return Answered::Plan(Box::pin(command::plan(&given, &options)).await);
        }
        let options = RunOptions {
            source: PlanSource::Now(scope),
            limits: Limits::default(),
            declared_dead: Vec::new(),
        };
        Answered::Run(Box::new(Box::pin(command::run(&given, &options)).await))
    }
}
