//! Handles SIGTERM, SIGINT and SIGHUP: the first starts a clean stop; another one more than a second later ends the
//! process at once, with exit code 130. A command that has nothing to stop cleanly ends so by the first. A SIGHUP that was ignored when the process started, as under `nohup`, stays
//! ignored.

use std::future::Future;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use stitch_common::output::Exit;
use stitch_common::user_error::UserError;

/// Signals within this time after the first count as the same request: `timeout` and some shells send two.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// A request to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    at_once: CancellationToken,
    /// Cancelled with the work that a signal ended where it was.
    dropped: CancellationToken,
}

impl Shutdown {
    /// A request that only [`Shutdown::ask`] makes: for tests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request that the signals of this process make, from now on. Its task ends with the runtime.
    ///
    /// # Errors
    /// The system does not let this process handle its signals.
    pub fn on_signals() -> Result<Self, UserError> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                let what = format!("the process cannot handle its signals: {error}");
                UserError::new(what, "start it in an environment that allows it")
            })
        };
        let mut signals = vec![
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
        ];
        // A terminal that closes sends it. Unhandled it kills the process, whose locks then stay for a session timeout.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if !is_ignored(&status, SignalKind::hangup()) {
            signals.push(listen(SignalKind::hangup())?);
        }
        let shutdown = Self::default();
        tokio::spawn(shutdown.clone().listen(signals));
        tracing::debug!("signals are handled");
        Ok(shutdown)
    }

    /// Requests a stop.
    pub fn ask(&self) {
        self.stop.cancel();
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until a stop is requested. Cancel-safe.
    pub async fn asked(&self) {
        self.stop.cancelled().await;
    }

    /// The token that is cancelled when a stop is requested.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `work`, unless a stop is requested first: then `work` is dropped where it is, as by a kill.
    ///
    /// # Errors
    /// A stop was requested.
    pub async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Result<T, UserError> {
        tokio::select! {
            biased;
            // This function owns both futures: the one that is not finished is dropped.
            output = work => Ok(output),
            () = self.stop.cancelled() => {
                self.dropped.cancel();
                Err(UserError::new(
                    "a signal ended the command before it had finished",
                    "run it again: it goes on with what it finds",
                ))
            }
        }
    }

    /// Runs `work`, unless a second signal comes first: then `work` is dropped where it is, as by a kill.
    ///
    /// # Errors
    /// A second signal came.
    pub async fn unless_at_once<T>(&self, work: impl Future<Output = T>) -> Result<T, UserError> {
        tokio::select! {
            // This function owns both futures: the one that is not finished is dropped.
            output = work => Ok(output),
            () = self.at_once.cancelled() => {
                self.dropped.cancel();
                Err(UserError::new(
                    "a second signal ended the process before its clean stop had finished",
                    "nothing; requests in flight are left as after a crash, and the next restoration repairs them",
                ))
            }
        }
    }

    /// Whether a signal has ended work where it was.
    #[must_use]
    pub fn has_dropped_work(&self) -> bool {
        self.dropped.is_cancelled()
    }

    async fn listen(self, mut signals: Vec<Signal>) {
        /// A future that blocks its thread cannot be dropped.
        const PATIENCE: Duration = Duration::from_secs(1);
        let mut next = async || {
            // Receiving a signal is cancel-safe.
            let received = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
            select_all(received).await;
        };
        next().await;
        tracing::info!("stop requested");
        self.stop.cancel();
        // One request may come as two signals: to the process and to its group.
        let mut same_request = std::pin::pin!(tokio::time::sleep(SAME_REQUEST));
        loop {
            tokio::select! {
                biased;
                // Receiving a signal is cancel-safe, and the sleep is kept between iterations.
                () = &mut same_request => break,
                () = next() => {}
            }
        }
        tracing::info!("another signal will end the process at once");
        next().await;
        tracing::warn!("stop requested again: ending at once");
        self.at_once.cancel();
        tokio::time::sleep(PATIENCE).await;
        #[expect(
            clippy::disallowed_methods,
            reason = "a second signal came and the main thread is stuck: nothing is left to be dropped"
        )]
        std::process::exit(Exit::Interrupted.code().into());
    }
}

/// Whether `status` (`/proc/self/status`, see proc(5)) says that the process ignores a signal.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or(u32::MAX);
    mask.and_then(|mask| mask.checked_shr(bit))
        .is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hangup_is_ignored_if_it_was_when_the_process_started() {
        let hangup = |status: &str| is_ignored(status, SignalKind::hangup());
        assert!(hangup("Name:\tx\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"));
        assert!(!hangup("SigIgn:\t0000000000001000\nSigCgt:\t1\n"));
        assert!(!hangup(""), "a system without it");
    }

    #[tokio::test]
    async fn a_stop_is_requested_and_a_second_signal_drops_the_work() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.unless_at_once(async { 7 }).await, Ok(7));
        shutdown.ask();
        shutdown.asked().await;
        assert!(shutdown.is_asked() && !shutdown.has_dropped_work());
        assert_eq!(shutdown.unless_at_once(async { 7 }).await, Ok(7));
        shutdown.at_once.cancel();
        let ended = shutdown.unless_at_once(std::future::pending::<()>()).await;
        assert!(ended.unwrap_err().message.contains("second signal"));
        assert!(shutdown.has_dropped_work());
    }

    #[tokio::test]
    async fn the_first_signal_drops_work_that_has_nothing_to_stop_cleanly() {
        let shutdown = Shutdown::new();
        shutdown.ask();
        assert_eq!(
            shutdown.unless_asked(async { 7 }).await,
            Ok(7),
            "it had finished"
        );
        assert!(!shutdown.has_dropped_work());
        let ended = shutdown.unless_asked(std::future::pending::<()>()).await;
        assert!(ended.unwrap_err().message.contains("a signal ended"));
        assert!(shutdown.has_dropped_work());
    }
}
