//! Reads a request's body, within bounds of size and time: a client that sends slowly, or stops, must not hold what
//! others need.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::problem::Kind;

/// The longest pause between two parts of a body.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body has more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the connection ended before the body did")]
    Incomplete,
    #[error(
        "the body did not arrive: all of it has to within {} ms, without a pause of {} ms",
        within.as_millis(),
        PAUSE_MAX.as_millis()
    )]
    TooSlow { within: Duration },
}

impl BodyError {
    /// The kind of problem that it is for the client.
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::TooLarge { .. } => Kind::PayloadTooLarge,
            Self::Incomplete => Kind::InvalidBody,
            Self::TooSlow { .. } => Kind::RequestTimeout,
        }
    }
}

/// Reads all of `body`.
///
/// # Errors
/// It has more than `limit` bytes, takes longer than `within`, pauses for longer than [`PAUSE_MAX`], or is incomplete.
pub(crate) async fn read(body: Body, limit: usize, within: Duration) -> Result<Vec<u8>, BodyError> {
    let deadline = Instant::now() + within;
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        let part = timeout_at(deadline, timeout(PAUSE_MAX, parts.next())).await;
        match part {
            Ok(Ok(Some(Ok(part)))) if part.len() <= limit - bytes.len() => {
                bytes.extend_from_slice(&part);
            }
            Ok(Ok(Some(Ok(_)))) => return Err(BodyError::TooLarge { limit }),
            Ok(Ok(Some(Err(_)))) => return Err(BodyError::Incomplete),
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Err(_)) | Err(_) => return Err(BodyError::TooSlow { within }),
        }
    }
}
