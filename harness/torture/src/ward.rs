//! A process that one task waits for while others do things to it.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use stitch_harness::process::Process;
use tokio::sync::mpsc;

/// Longer than any history: whoever waits longer for a process has another bound.
const LONG: Duration = Duration::from_secs(3600);

/// What is to be done to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) signal: Signal,
    /// How long it stays away if that ends it.
    pub(crate) away: Duration,
}

/// Through this, orders reach a process.
pub(crate) type Orders = mpsc::UnboundedSender<Order>;

/// What a process ended with.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// None: a signal ended it.
    pub(crate) code: Option<i32>,
    /// The last order that can have ended it.
    pub(crate) order: Option<Order>,
}

/// Waits until the process has ended, and passes orders on to it meanwhile.
pub(crate) async fn until_end(
    process: &mut Process,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Result<Ended> {
    let mut last = None;
    loop {
        // Both branches are cancel-safe: an end that was not waited for can be waited for again.
        let order = tokio::select! {
            status = process.wait(LONG) => return Ok(Ended { code: status?.code(), order: last }),
            Some(order) = orders.recv() => order,
        };
        // One that ends at this moment takes no signal any more.
        process.signal(order.signal).ok();
        if ends(order.signal) {
            last = Some(order);
        }
    }
}

fn ends(signal: Signal) -> bool {
    [Signal::KILL, Signal::TERM, Signal::INT].contains(&signal)
}

/// What no process may say, with the line in which it said it.
pub(crate) fn alarm_in(errors: &str) -> Option<&str> {
    const ALARMS: [&str; 2] = ["invariant broken", "panicked at"];
    errors
        .lines()
        .find(|line| ALARMS.iter().any(|alarm| line.contains(alarm)))
}

/// How often a processor said that counts may be wrong from now on, or lost its session with what it had not told yet.
pub(crate) fn excuses_in(errors: &str) -> usize {
    const EXCUSES: [&str; 2] = ["suspect", "starting again as a new member"];
    let is_excuse = |line: &&str| EXCUSES.iter().any(|excuse| line.contains(excuse));
    errors.lines().filter(is_excuse).count()
}
