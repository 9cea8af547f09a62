//! Waits for a process while other tasks signal it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use stitch_harness::process::Process;
use tokio::sync::mpsc;

/// Longer than any history: callers have bounds of their own.
const UNBOUNDED: Duration = Duration::from_secs(3600);

/// A signal for a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) signal: Signal,
    /// The pause before its restart, if the signal ends it.
    pub(crate) away: Duration,
}

/// Sends orders to a process.
pub(crate) type Orders = mpsc::UnboundedSender<Order>;

/// How a process exited.
#[derive(Clone, Debug)]
pub(crate) struct Exit {
    /// None: by a signal.
    pub(crate) code: Option<i32>,
    /// The last order that may have caused it.
    pub(crate) order: Option<Order>,
}

/// Waits until the process has exited, and carries out orders meanwhile.
pub(crate) async fn supervise(
    process: &mut Process,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Result<Exit> {
    let mut last = None;
    loop {
        // Both branches are cancel-safe: waiting for a process can be repeated.
        let order = tokio::select! {
            status = process.wait(UNBOUNDED) => return Ok(Exit { code: status?.code(), order: last }),
            Some(order) = orders.recv() => order,
        };
        // Fails if the process exits at this moment.
        process.signal(order.signal).ok();
        if ends(order.signal) {
            last = Some(order);
        }
    }
}

fn ends(signal: Signal) -> bool {
    [Signal::KILL, Signal::TERM, Signal::INT].contains(&signal)
}

/// The first line with what no process may log.
pub(crate) fn alarm_in(errors: &str) -> Option<&str> {
    const ALARMS: [&str; 2] = ["invariant broken", "panicked at"];
    errors
        .lines()
        .find(|line| ALARMS.iter().any(|alarm| line.contains(alarm)))
}

/// How often a processor logged that counts may be wrong, or lost its session before it could record that.
pub(crate) fn excuses_in(errors: &str) -> usize {
    const EXCUSES: [&str; 2] = ["suspect", "starting again as a new member"];
    let is_excuse = |line: &&str| EXCUSES.iter().any(|excuse| line.contains(excuse));
    errors.lines().filter(is_excuse).count()
}
