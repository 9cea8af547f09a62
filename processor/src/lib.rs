//! The processor: reads events from Kafka and increments Cassandra counters in real time, once each.
//!
//! The way of an event: [`member`] makes the process a member of the fleet; the one loop of [`event_loop`] takes
//! records from the feed and hands them to the machine in [`engine`], which decodes, parts, coalesces and dispatches
//! them, and says what is to be done; [`effects`] does it. [`start_offset`] says where a partition is taken up, and when it
//! must not be; [`cleanup`] clears away what dead members left.

mod member;
mod event_loop;
pub mod engine;
mod effects;
mod start_offset;
mod cleanup;
mod topic_fingerprint;
mod error;
pub mod metrics;
pub mod status;
#[cfg(feature = "servers")]
pub mod http;
#[cfg(feature = "servers")]
pub mod cli;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::config::Config;
use stitch_common::ports::{Cql, EventLog, ZooKeeper};
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

pub use member::Ports;
pub use stitch_protocol::leave::LeaveOutcome;

use error::Error;
use member::Process;
use status::Status;

/// How long a process pauses before it starts again as a new member.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts until `stop` is cancelled. A process whose session ends, or that loses a server, starts again as a new
/// member, for as long as it takes; what a person must mend first is an error, and so is a server that cannot be
/// reached at the very start.
///
/// # Errors
/// What a person must mend.
///
/// # Cancellation
/// As if the process were killed: its member node stays as a tombstone, which the next calm waits out.
pub async fn run<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    ports: &Ports<K, Q, L, C>,
    config: &Config,
    host: &str,
    status: &Status,
    stop: &CancellationToken,
) -> Result<LeaveOutcome, UserError> {
    let process = Process {
        config,
        host,
        status,
        stop,
    };
    let mut has_counted = false;
    loop {
        let serving = Box::pin(member::serve(ports, &process, &mut has_counted));
        let ended = beating(ports, status, serving).await;
        status.set_ready(false);
        match ended {
            Ok(departure) => return Ok(departure),
            Err(error) if stop.is_cancelled() => {
                return Ok(LeaveOutcome::Dead {
                    why: error.to_string(),
                });
            }
            // A session that ends during the start, of a frozen process for one, says nothing against the servers.
            Err(error) if error.passes() && (has_counted || error == Error::Over) => {
                tracing::warn!(%error, "starting again as a new member");
            }
            Err(error) => return Err(error.failure()),
        }
        tokio::select! {
            biased;
            // Both only wait.
            () = stop.cancelled() => return Ok(LeaveOutcome::Clean),
            () = ports.clock.sleep(PAUSE) => {}
        }
    }
}

/// `work`, telling once a second that the process goes round: it may wait long for servers, and that is not being
/// stuck. The counting loop is part of `work`, so what blocks it stops the beat.
async fn beating<K, Q, L, C: Clock, T>(
    ports: &Ports<K, Q, L, C>,
    status: &Status,
    work: impl Future<Output = T>,
) -> T {
    let mut work = pin!(work);
    loop {
        status.beat(ports.clock.now());
        tokio::select! {
            biased;
            // The work is polled on where it was.
            done = &mut work => return done,
            () = ports.clock.sleep(PAUSE) => {}
        }
    }
}
