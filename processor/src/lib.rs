//! The processor: reads events from Kafka and increments Cassandra counters in real time, once each.
//!
//! A record's way:
//!
//! 1. [`member`] makes the process a member of the fleet, connects it, and runs its event loop;
//! 2. the feed delivers the record to [`event_loop`], the one loop that drives everything and waits for everything;
//! 3. [`engine`] decides: it ingests the record, buffers and coalesces its increments by counter, dispatches batches,
//!    tracks their acknowledgements, and drains what is to be handed over. It returns commands;
//! 4. [`effects`] carries the commands out: it sends batches to Cassandra, those that may be together in one [`request`],
//!    writes the checkpoint to ZooKeeper, and the loop hands the result back to the engine. [`locks`] keeps the locks that
//!    are held meanwhile.
//!
//! [`start_offset`](stitch_protocol::start_offset) decides where a partition is resumed, and refuses what would count twice. Alongside,
//! [`cleanup`] deletes the markers and nodes of dead members, and [`topic_fingerprint`] records the first record of each
//! partition, by which the topic is recognized.

mod member;
mod event_loop;
pub mod engine;
mod locks;
mod request;
mod effects;
mod rejected_records;
mod cleanup;
mod topic_fingerprint;
mod error;
pub mod metrics;
#[cfg(feature = "servers")]
pub mod cli;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::liveness::Liveness;
use stitch_common::ports::{Cql, EventLog, ZooKeeper};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use tokio_util::sync::CancellationToken;

pub use member::Ports;
pub use stitch_protocol::leave::LeaveOutcome;

use member::{MembershipEnd, Process};

/// How long a process pauses before it starts again as a new member.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How often the process records that it is alive.
const BEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Counts until `stop` is cancelled. A process whose session ends, or that loses a server, starts again as a new
/// member, for as long as it takes; one whose servers are away when it starts waits for them, alive and not ready.
///
/// # Errors
/// An error that needs an operator.
///
/// # Cancellation
/// As if the process were killed: it leaves a dead member, which the next quiescence barrier waits out.
pub async fn run<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    config: &Config,
    host: &str,
    status: &Liveness,
    stop: &CancellationToken,
) -> Result<LeaveOutcome, UserError> {
    let process = Process {
        config,
        host,
        status,
        stop,
    };
    let mut said = None;
    loop {
        let membership = Box::pin(member::serve(ports, &process));
        let result = with_beat(ports, status, membership).await;
        status.set_ready(false);
        match result {
            Ok(MembershipEnd { outcome, failure }) => match failure {
                None => return Ok(outcome),
                Some(_) if stop.is_cancelled() => return Ok(outcome),
                Some(error) if error.is_transient() => {
                    said = None;
                    tracing::warn!(%error, "starting again as a new member");
                }
                Some(error) => return Err(error.user_error()),
            },
            // Nothing was sent.
            Err(_) if stop.is_cancelled() => return Ok(LeaveOutcome::Clean),
            // Said once, however often it is tried: a server may be away for hours.
            Err(error) if error.is_transient() => {
                if said.as_ref() != Some(&error) {
                    let UserError { message, help } = error.user_error();
                    tracing::warn!(error = %message, %help, "waiting for the servers: not counting yet");
                }
                said = Some(error);
            }
            Err(error) => return Err(error.user_error()),
        }
        tokio::select! {
            biased;
            // Both only wait.
            () = stop.cancelled() => return Ok(LeaveOutcome::Clean),
            () = ports.clock.sleep(RESTART_PAUSE) => {}
        }
    }
}

/// Runs `work` and records a liveness beat every second; waiting for a server counts as alive. The event loop is part
/// of `work`, so what blocks it stops the beat.
async fn with_beat<K, Q, L, C: Clock, T>(
    ports: &Ports<K, Q, L, C>,
    status: &Liveness,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        status.beat(ports.clock.now());
        tokio::select! {
            biased;
            // Cancel-safe: the work is polled on where it was.
            result = &mut work => return result,
            () = ports.clock.sleep(BEAT_INTERVAL) => {}
        }
    }
}
