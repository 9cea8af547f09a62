//! Reads the file of tokens again when it has changed, so that tokens and keys are added and revoked without a restart. A
//! file that cannot be used changes nothing: the last good one remains in use, and the log and a metric say so.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_common::user_error::UserError;
use stitch_config::Api;
use tokio::sync::watch;

use crate::access_token::AccessTokens;
use crate::token_file;

/// How long a revoked token is still let in, at most.
const PAUSE: Duration = Duration::from_secs(2);

/// The tokens of the configuration and of its file, as they are now.
///
/// # Errors
/// The file cannot be used.
pub fn read(api: &Api) -> Result<AccessTokens, UserError> {
    read_file(api.tokens_file.clone(), AccessTokens::unnamed(&api.tokens))
}

fn read_file(path: Option<PathBuf>, configured: AccessTokens) -> Result<AccessTokens, UserError> {
    match path {
        Some(path) => token_file::read(&path, configured),
        None => Ok(configured),
    }
}

/// Keeps [`AccessTokens`] as the file has them.
#[derive(Debug)]
pub struct TokenFilePoller {
    path: Option<PathBuf>,
    configured: AccessTokens,
    tokens: watch::Sender<Arc<AccessTokens>>,
    /// What the file was found to be last.
    last: Result<AccessTokens, UserError>,
    /// Is told whether the file can be used, each time that it was found different.
    usable: fn(bool),
}

impl TokenFilePoller {
    /// Reads the file for the first time. `usable` is told whether it can be used: now, and whenever it has changed.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn new(api: &Api, usable: fn(bool)) -> Result<Self, UserError> {
        let tokens = read(api)?;
        usable(true);
        Ok(Self {
            path: api.tokens_file.clone(),
            configured: AccessTokens::unnamed(&api.tokens),
            tokens: watch::Sender::new(Arc::new(tokens.clone())),
            last: Ok(tokens),
            usable,
        })
    }

    /// The tokens that are in use, and the ones to come.
    pub fn subscribe(&self) -> watch::Receiver<Arc<AccessTokens>> {
        self.tokens.subscribe()
    }

    /// Reads the file once more, and uses it if it has changed and can be used.
    ///
    /// # Cancellation
    /// Nothing is changed.
    pub async fn poll(&mut self) {
        let (path, configured) = (self.path.clone(), self.configured.clone());
        let Ok(found) = tokio::task::spawn_blocking(move || read_file(path, configured)).await
        else {
            // The runtime ends.
            return;
        };
        if found == self.last {
            return;
        }
        (self.usable)(found.is_ok());
        match &found {
            Ok(tokens) => {
                let names: Vec<_> = tokens.names().collect();
                tracing::info!(?names, "the file of tokens has changed, and is in use");
                self.tokens.send_replace(Arc::new(tokens.clone()));
            }
            Err(UserError { message, help }) => {
                tracing::warn!(
                    error = message,
                    help,
                    "the file of tokens has changed and cannot be used: the last good one remains in use"
                );
            }
        }
        self.last = found;
    }

    /// Polls until it is dropped.
    ///
    /// # Cancellation
    /// As of [`TokenFilePoller::poll`].
    pub async fn run(mut self, clock: impl Clock) -> Infallible {
        loop {
            clock.sleep(PAUSE).await;
            self.poll().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use stitch_config::Config;

    use super::*;

    const A: &str = "0123456789abcdef";
    const B: &str = "fedcba9876543210";

    static USABLE: AtomicBool = AtomicBool::new(false);

    #[tokio::test]
    async fn a_changed_file_is_used_and_an_unusable_one_keeps_the_last_good_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("cdn read {A}\n")).unwrap();
        let text = include_str!("../../deploy/stitch.toml");
        let variable = path.display().to_string();
        let environment = [("STITCH_API__TOKENS_FILE", variable.as_str())];
        let config = Config::parse("stitch.toml", text, &environment.into_iter().collect());
        let mut poller = TokenFilePoller::new(&config.unwrap().api, |usable| {
            USABLE.store(usable, Ordering::Relaxed)
        })
        .unwrap();
        assert!(USABLE.load(Ordering::Relaxed));
        let tokens = poller.subscribe();
        let known = |secret: &str| tokens.borrow().find(secret.as_bytes()).is_some();
        assert!(known(A) && !known(B));
        for unusable in [Some("cdn read short"), Some(""), None] {
            match unusable {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            poller.poll().await;
            assert!(known(A) && !USABLE.load(Ordering::Relaxed), "{unusable:?}");
        }
        std::fs::write(&path, format!("cdn read {B}\n")).unwrap();
        poller.poll().await;
        assert!(!known(A) && known(B) && USABLE.load(Ordering::Relaxed));
    }
}
