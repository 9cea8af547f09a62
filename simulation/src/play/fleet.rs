//! The processors: each seat has one, and another one when that has ended.

use std::rc::Rc;

use stitch_common::user_error::UserError;
use stitch_processor::status::Status;
use stitch_processor::{LeaveOutcome, Ports};
use tokio_util::sync::CancellationToken;

use super::Play;
use crate::checker::{Finding, Kind};
use crate::notes::{Phase, Who};
use crate::process::{Process, Role, Seat};
use crate::slot::Slot;
use crate::world::Handle;

impl Play {
    /// Keeps a processor on this seat until the end.
    pub(super) async fn staff(self: Rc<Self>, seat: usize) {
        let world = Rc::clone(&self.world);
        while !self.closing.get() {
            let process = world.process(Seat(seat), Role::Processor, self.drift(seat));
            let stop = CancellationToken::new();
            self.stops
                .borrow_mut()
                .push((Rc::clone(&process), stop.clone()));
            world.phase(Who::of(&process), Phase::Started);
            let ended = Rc::new(Slot::default());
            let (play, told) = (Rc::clone(&self), Rc::clone(&ended));
            let running = Rc::clone(&process);
            world.spawn_of(&process, async move {
                told.fill(play.count(&running, &stop).await);
            });
            let ended = self.ended(&process, &ended).await;
            world.bury(&process);
            self.stops
                .borrow_mut()
                .retain(|(known, _)| !Rc::ptr_eq(known, &process));
            world.note(Who::of(&process), Phase::Ended, || {
                format!("ends: {ended:?}")
            });
            self.judge(ended);
            let pause = world.rng.below(400_000);
            world.executor.until(world.now() + pause).await;
        }
    }

    /// The production code, on the world's ports.
    async fn count(
        &self,
        process: &Rc<Process>,
        stop: &CancellationToken,
    ) -> Result<LeaveOutcome, UserError> {
        let handle = Handle {
            world: Rc::clone(&self.world),
            process: Rc::clone(process),
        };
        let ports = Ports {
            keeper: handle.clone(),
            cql: handle.clone(),
            log: handle.clone(),
            clock: handle.clock(),
        };
        let status = Status::default();
        Box::pin(stitch_processor::run(
            &ports,
            &self.config,
            "host",
            &status,
            stop,
        ))
        .await
    }

    /// How the process ended; `None` if it was killed.
    pub(super) async fn ended<T>(&self, process: &Rc<Process>, ended: &Slot<T>) -> Option<T> {
        let died = async {
            let dies = || process.is_dead().then_some(());
            process.death().until(dies).await;
        };
        match crate::slot::either(ended.taken(), died).await {
            crate::slot::Either::Left(ended) => Some(ended),
            crate::slot::Either::Right(()) => None,
        }
    }

    /// Once faults have stopped, no processor gives up, and each leaves cleanly.
    fn judge(&self, ended: Option<Result<LeaveOutcome, UserError>>) {
        if !self.calm_down.has_fired() {
            return;
        }
        let what = match ended {
            Some(Err(failure)) if self.closing.get() => failure.to_string(),
            Some(Ok(LeaveOutcome::DeadMember { why })) if self.closing.get() => why,
            None | Some(Ok(_) | Err(_)) => return,
        };
        self.world.find(Finding::new(Kind::GaveUp, what));
    }

    /// Asks a process to end cleanly.
    pub(crate) fn stop(&self, process: &Rc<Process>) -> bool {
        let stops = self.stops.borrow();
        let found = stops.iter().find(|(known, _)| Rc::ptr_eq(known, process));
        let Some((_, stop)) = found else { return false };
        for partition in 0..self.history.partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let now = self.world.now();
            self.world.checker.borrow_mut().leaving(partition, now);
        }
        stop.cancel();
        self.stopping.borrow_mut().push(Rc::clone(process));
        true
    }

    /// Whether all that were asked to stop have ended, and left behind what they leave.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopping
            .borrow()
            .iter()
            .all(|process| process.is_dead())
    }

    pub(super) fn stop_all(&self) {
        self.closing.set(true);
        let running: Vec<_> = self
            .stops
            .borrow()
            .iter()
            .map(|(one, _)| Rc::clone(one))
            .collect();
        for process in running {
            self.stop(&process);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stops.borrow().is_empty()
    }
}
