//! A slot in the fleet: its processor is restarted whenever it exits, as by a service manager.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use stitch_harness::process::{Process, Program};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::supervision::{Exit, Order, Orders, alarm_in, excuses_in, supervise};
use crate::timeline::Timeline;

/// Before a restart that follows no order.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Longest graceful stop of a processor: twice its `stop_timeout_ms`, and the shutdown of its runtime.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// Logged by a processor that has started: before, it exits when a server cannot be reached; afterwards it waits.
const STARTED: &str = "counting as a new member";

/// A processor that is restarted.
pub(crate) struct ProcessSlot {
    pub(crate) name: String,
    orders: Orders,
    stopped: CancellationToken,
    task: JoinHandle<Result<()>>,
}

struct SlotTask {
    program: Program,
    timeline: Arc<Timeline>,
    orders: mpsc::UnboundedReceiver<Order>,
    stopped: CancellationToken,
}

impl ProcessSlot {
    /// Starts the processor under this name.
    pub(crate) fn start(name: &str, program: Program, timeline: Arc<Timeline>) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let stopped = CancellationToken::new();
        let task = SlotTask {
            program: Program {
                name: name.to_owned(),
                ..program
            },
            timeline,
            orders: received,
            stopped: stopped.clone(),
        };
        Self {
            name: name.to_owned(),
            orders,
            stopped,
            task: tokio::spawn(task.run()),
        }
    }

    /// Signals the processor, if it runs; if that ends it, it is restarted after `away`.
    pub(crate) fn order(&self, signal: Signal, away: Duration) {
        // Has no effect once the slot is stopped.
        self.orders.send(Order { signal, away }).ok();
    }

    /// Stops the processor, and waits until it has exited.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stopped.cancel();
        let stopped = timeout(STOP_BOUND, &mut self.task).await;
        stopped.with_context(|| {
            let bound = STOP_BOUND.as_secs();
            format!("{} did not stop within {bound} s of SIGTERM", self.name)
        })??
    }
}

impl Drop for ProcessSlot {
    fn drop(&mut self) {
        // The process ends with the task that owns it.
        self.task.abort();
    }
}

impl SlotTask {
    async fn run(mut self) -> Result<()> {
        let name = self.program.name.clone();
        for number in 1.. {
            self.program.name = format!("{name}.{number}");
            let mut process = self.program.start()?;
            // Cancel-safe: the process is awaited again below.
            let exit = tokio::select! {
                exit = supervise(&mut process, &mut self.orders) => Some(exit?),
                () = self.stopped.cancelled() => None,
            };
            let Some(exit) = exit else {
                return self.stop_last(process).await;
            };
            let pause = self.report_exit(&process, &exit);
            if self
                .stopped
                .run_until_cancelled(sleep(pause))
                .await
                .is_none()
            {
                return Ok(());
            }
            // Orders to the process that has exited do not apply to the next.
            while self.orders.try_recv().is_ok() {}
        }
        Ok(())
    }

    /// Records the exit, and returns the pause before the restart.
    fn report_exit(&self, process: &Process, exit: &Exit) -> Duration {
        let errors = process.errors();
        self.report_alarm(&errors);
        let name = &self.program.name;
        let Some(order) = exit.order else {
            let last = errors.lines().last().unwrap_or_default();
            let what = format!("{name} exited on its own with {:?}: {last}", exit.code);
            if errors.contains(STARTED) {
                self.timeline.violation(what);
            } else {
                self.timeline.disturbance(what);
            }
            return RESTART_PAUSE;
        };
        let what = format!(
            "{name} was sent {:?} and exited with {:?}",
            order.signal, exit.code
        );
        let as_ordered = order.signal != Signal::TERM || exit.code == Some(0);
        if as_ordered || !errors.contains(STARTED) {
            self.timeline.disturbance(what);
        } else {
            self.timeline.violation(what);
        }
        order.away
    }

    /// Stops the last process by SIGTERM.
    async fn stop_last(&self, process: Process) -> Result<()> {
        process.thaw().ok();
        let finished = process.stop(STOP_BOUND).await?;
        self.report_alarm(&finished.errors);
        if finished.code != Some(0) {
            let last = finished.errors.lines().last().unwrap_or_default();
            let (name, code) = (&self.program.name, finished.code);
            self.timeline.violation(format!(
                "{name} was stopped and exited with {code:?}: {last}"
            ));
        }
        Ok(())
    }

    fn report_alarm(&self, errors: &str) {
        if let Some(alarm) = alarm_in(errors) {
            self.timeline
                .violation(format!("{} logged: {alarm}", self.program.name));
        }
    }
}

/// How often the processors of a folder have logged so far that counts may be wrong.
pub(crate) fn excuses(folder: &std::path::Path) -> Result<usize> {
    let mut excuses = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("processor-") && name.ends_with(".err") {
            excuses += excuses_in(&String::from_utf8_lossy(&fs::read(&path)?));
        }
    }
    Ok(excuses)
}
