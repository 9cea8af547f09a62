//! The processors: each slot has one, which is restarted when it ends.

use std::rc::Rc;

use stitch_common::liveness::Liveness;
use stitch_common::user_error::UserError;
use stitch_processor::{LeaveOutcome, Ports};
use stitch_testkit::wait::{Either, OneShot, either};
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::process::{Process, ProcessSlot, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::checker::{Finding, Kind};

impl Run {
    /// Runs a processor in this slot, and another one when it has ended, until the history closes.
    pub(super) async fn keep_processor_running(self: Rc<Self>, slot: usize) {
        let world = Rc::clone(&self.world);
        while !self.closing.get() {
            let (process, stop) = self.start(slot, Role::Processor);
            let ended = Rc::new(OneShot::default());
            let (run, end) = (Rc::clone(&self), Rc::clone(&ended));
            let running = Rc::clone(&process);
            world.spawn_of(&process, async move {
                end.send(run.processor(&running, &stop).await);
            });
            let ended = self.end_of(&process, &ended).await;
            world.record(Actor::of(&process), Tracepoint::Ended, || {
                format!("ends: {ended:?}")
            });
            self.check_exit(ended);
            let pause = world.rng.below(400_000);
            world.executor.until(world.now() + pause).await;
        }
    }

    /// Starts a process in which nothing runs yet.
    pub(super) fn start(&self, slot: usize, role: Role) -> (Rc<Process>, CancellationToken) {
        let (drift, keepalive) = (self.drift(slot), self.history.keepalive_of(role));
        let process = self
            .world
            .add_process(ProcessSlot(slot), role, drift, keepalive);
        let stop = CancellationToken::new();
        self.stops
            .borrow_mut()
            .push((Rc::clone(&process), stop.clone()));
        self.world
            .record_point(Actor::of(&process), Tracepoint::Started);
        (process, stop)
    }

    /// The production code, over the world's ports.
    async fn processor(
        &self,
        process: &Rc<Process>,
        stop: &CancellationToken,
    ) -> Result<LeaveOutcome, UserError> {
        let handle = self.handle(process);
        let ports = Ports {
            keeper: handle.clone(),
            cql: handle.clone(),
            log: handle.clone(),
            clock: handle.clock(),
        };
        let status = Liveness::default();
        Box::pin(stitch_processor::run(
            &ports,
            &self.config_of(process),
            "host",
            &status,
            stop,
        ))
        .await
    }

    /// Waits until the process has ended, and returns its result; `None` if it was killed.
    pub(super) async fn end_of<T>(&self, process: &Rc<Process>, ended: &OneShot<T>) -> Option<T> {
        let result = match either(ended.recv(), process.death()).await {
            Either::Left(result) => Some(result),
            Either::Right(()) => None,
        };
        self.world.terminate(process);
        self.stops
            .borrow_mut()
            .retain(|(one, _)| !Rc::ptr_eq(one, process));
        result
    }

    /// Checks that, once faults have ended, no processor gives up, and each leaves cleanly.
    fn check_exit(&self, ended: Option<Result<LeaveOutcome, UserError>>) {
        if !self.faults_over.has_fired() {
            return;
        }
        let text = match ended {
            Some(Err(error)) if self.closing.get() => error.to_string(),
            Some(Ok(LeaveOutcome::DeadMember { why })) if self.closing.get() => why,
            None | Some(Ok(_) | Err(_)) => return,
        };
        self.world.report(Finding::new(Kind::GaveUp, text));
    }

    /// Asks a process to stop.
    pub(super) fn stop(&self, process: &Rc<Process>) -> bool {
        let stops = self.stops.borrow();
        let running = stops.iter().find(|(one, _)| Rc::ptr_eq(one, process));
        let Some((_, stop)) = running else {
            return false;
        };
        if matches!(process.role, Role::Processor | Role::Restorator) {
            self.note_stop(process);
        }
        stop.cancel();
        self.stopping.borrow_mut().push(Rc::clone(process));
        true
    }

    /// Notes that a process stops, asked or because its work fails: it hands over what it has.
    pub(super) fn note_stop(&self, process: &Process) {
        self.world.stop_begins(process);
        for partition in 0..self.history.partitions {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let now = self.world.now();
            self.world.checker.borrow_mut().hand_over(partition, now);
        }
    }

    /// Whether all processes that were asked to stop have ended.
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

    pub(super) fn has_no_process(&self) -> bool {
        self.stops.borrow().is_empty()
    }
}
