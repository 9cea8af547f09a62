//! SIGTERM and SIGINT: the first asks the process to stop in order, the next one more than
//! a second later ends it at once, with exit code 130.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use stitch_common::output::Exit;
use stitch_common::user_error::UserError;

/// Signals within this time after the first one ask for the same: `timeout` and some shells send two.
const SAME_WISH: Duration = Duration::from_secs(1);

/// What a signal asks for. A clone asks for the same.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    at_once: CancellationToken,
}

impl Shutdown {
    /// Asked for by nobody but [`Shutdown::ask`]: for tests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asked for by the signals of this process, from now on. Its task ends with the runtime.
    ///
    /// # Errors
    /// The system does not let this process handle its signals.
    pub fn on_signals() -> Result<Self, UserError> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                let what = format!("the process cannot handle its signals: {error}");
                UserError::new(what, "start it in an environment that lets it")
            })
        };
        let signals = [
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        ];
        let shutdown = Self::default();
        tokio::spawn(shutdown.clone().listen(signals));
        tracing::debug!("signals are handled");
        Ok(shutdown)
    }

    /// Asks for a stop.
    pub fn ask(&self) {
        self.stop.cancel();
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until a stop is asked for. Cancel-safe.
    pub async fn asked(&self) {
        self.stop.cancelled().await;
    }

    /// The token that is cancelled when a stop is asked for.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// `work`, unless a second signal comes first: then `work` is dropped where it stands, as a kill would.
    ///
    /// # Errors
    /// A second signal came.
    pub async fn unless_at_once<T>(&self, work: impl Future<Output = T>) -> Result<T, UserError> {
        tokio::select! {
            // Both are this function's own: whichever is not done is dropped for good.
            done = work => Ok(done),
            () = self.at_once.cancelled() => Err(UserError::new(
                "a second signal ended the process before it had stopped in order",
                "nothing; what was in flight is left as after a crash, and the next restoration repairs it",
            )),
        }
    }

    /// Whether a second signal came.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        self.at_once.is_cancelled()
    }

    async fn listen(self, [mut terminate, mut interrupt]: [Signal; 2]) {
        /// A future that blocks its thread cannot be dropped.
        const PATIENCE: Duration = Duration::from_secs(1);
        let mut next = async || {
            tokio::select! {
                // Receiving a signal is cancel-safe.
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        tracing::info!("asked to stop");
        self.stop.cancel();
        // One wish may come as two signals: to the process and to its group.
        let mut same_wish = std::pin::pin!(tokio::time::sleep(SAME_WISH));
        loop {
            tokio::select! {
                biased;
                // Receiving a signal is cancel-safe, and the sleep is polled on where it was.
                () = &mut same_wish => break,
                () = next() => {}
            }
        }
        tracing::info!("another signal ends the process at once");
        next().await;
        tracing::warn!("asked again: ending at once");
        self.at_once.cancel();
        tokio::time::sleep(PATIENCE).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "the process was asked twice and its main thread is stuck: nothing is to be dropped any more"
        )]
        std::process::exit(Exit::Interrupted.code().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_is_asked_for_and_a_second_signal_drops_what_is_left() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.unless_at_once(async { 7 }).await, Ok(7));
        shutdown.ask();
        shutdown.asked().await;
        assert!(shutdown.is_asked() && !shutdown.is_at_once());
        shutdown.at_once.cancel();
        let ended = shutdown.unless_at_once(std::future::pending::<()>()).await;
        assert!(ended.unwrap_err().message.contains("second signal"));
    }
}
