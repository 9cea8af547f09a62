//! A place in the fleet: a processor that is started again whenever it has ended, as a service manager does.

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

use crate::chronicle::Chronicle;
use crate::ward::{Ended, Order, Orders, alarm_in, excuses_in, until_end};

/// After an end that nobody asked for.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long a processor may take to stop: twice its `stop_timeout_ms`, and its runtime.
const STOP_BOUND: Duration = Duration::from_secs(20);
/// By this a processor says that it has begun: until then it ends when a server cannot be reached, from then on it waits.
const BEGUN: &str = "counting as a new member";

/// A processor that comes back.
pub(crate) struct ProcessSlot {
    pub(crate) name: String,
    orders: Orders,
    dismissed: CancellationToken,
    task: JoinHandle<Result<()>>,
}

struct Occupant {
    program: Program,
    chronicle: Arc<Chronicle>,
    orders: mpsc::UnboundedReceiver<Order>,
    dismissed: CancellationToken,
}

impl ProcessSlot {
    /// Starts the processor, under this name.
    pub(crate) fn fill(name: &str, program: Program, chronicle: Arc<Chronicle>) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let dismissed = CancellationToken::new();
        let occupant = Occupant {
            program: Program {
                name: name.to_owned(),
                ..program
            },
            chronicle,
            orders: received,
            dismissed: dismissed.clone(),
        };
        Self {
            name: name.to_owned(),
            orders,
            dismissed,
            task: tokio::spawn(occupant.stay()),
        }
    }

    /// Does this to the processor, if one is there; it stays `away` for so long if that ends it.
    pub(crate) fn order(&self, signal: Signal, away: Duration) {
        // Nobody hears it once the seat is given up.
        self.orders.send(Order { signal, away }).ok();
    }

    /// Asks the processor to end and waits until it has.
    pub(crate) async fn dismiss(mut self) -> Result<()> {
        self.dismissed.cancel();
        let left = timeout(STOP_BOUND, &mut self.task).await;
        left.with_context(|| {
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

impl Occupant {
    async fn stay(mut self) -> Result<()> {
        let name = self.program.name.clone();
        for number in 1.. {
            self.program.name = format!("{name}.{number}");
            let mut process = self.program.start()?;
            // Cancel-safe: the process is waited for again below.
            let ended = tokio::select! {
                ended = until_end(&mut process, &mut self.orders) => Some(ended?),
                () = self.dismissed.cancelled() => None,
            };
            let Some(ended) = ended else {
                return self.leave(process).await;
            };
            let pause = self.look_back(&process, &ended);
            if self
                .dismissed
                .run_until_cancelled(sleep(pause))
                .await
                .is_none()
            {
                return Ok(());
            }
            // What was meant for the one that is gone is not meant for the next.
            while self.orders.try_recv().is_ok() {}
        }
        Ok(())
    }

    /// How it ended, and for how long the seat stays empty.
    fn look_back(&self, process: &Process, ended: &Ended) -> Duration {
        let errors = process.errors();
        self.hear(&errors);
        let name = &self.program.name;
        let Some(order) = ended.order else {
            let last = errors.lines().last().unwrap_or_default();
            let what = format!("{name} ended by itself with {:?}: {last}", ended.code);
            if errors.contains(BEGUN) {
                self.chronicle.complain(what);
            } else {
                self.chronicle.trouble(what);
            }
            return RESTART_PAUSE;
        };
        let what = format!(
            "{name} was sent {:?} and ended with {:?}",
            order.signal, ended.code
        );
        let drained = order.signal != Signal::TERM || ended.code == Some(0);
        if drained || !errors.contains(BEGUN) {
            self.chronicle.trouble(what);
        } else {
            self.chronicle.complain(what);
        }
        order.away
    }

    /// The end of the last one, by SIGTERM.
    async fn leave(&self, process: Process) -> Result<()> {
        process.thaw().ok();
        let finished = process.stop(STOP_BOUND).await?;
        self.hear(&finished.errors);
        if finished.code != Some(0) {
            let last = finished.errors.lines().last().unwrap_or_default();
            let (name, code) = (&self.program.name, finished.code);
            self.chronicle.complain(format!(
                "{name} was asked to end and ended with {code:?}: {last}"
            ));
        }
        Ok(())
    }

    fn hear(&self, errors: &str) {
        if let Some(alarm) = alarm_in(errors) {
            self.chronicle
                .complain(format!("{} said: {alarm}", self.program.name));
        }
    }
}

/// How often the processors of a folder have said so far that counts may be wrong from now on.
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
