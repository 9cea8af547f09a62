//! Reads a request's body, within bounds of size and time: a client that sends slowly, or stops, must not hold what
//! others need. A body of JSON has all parameters of its request.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use stitch_common::cell::Key;
use tokio::time::{Instant, timeout, timeout_at};

use crate::problem::{Kind, Problem};
use crate::query_string::Query;

/// For each counter or key of a body, with the punctuation around it; escaped characters take up to six times their size.
const BYTES_PER_NAME: usize = 6 * Key::BYTES_MAX + 8;
/// For all else in a body.
const OTHER_BYTES: usize = 1024;

/// The longest pause between two parts of a body.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
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
    pub const fn kind(self) -> Kind {
        match self {
            Self::TooLarge { .. } => Kind::PayloadTooLarge,
            Self::Incomplete => Kind::InvalidBody,
            Self::TooSlow { .. } => Kind::RequestTimeout,
        }
    }
}

/// Reads a body of JSON with at most `names` counters and keys, within half of the time that the request may take. The
/// address, whose query is `raw`, has no parameters then.
///
/// # Errors
/// The problem for the client, with an `example` that works.
pub async fn json<T: DeserializeOwned>(
    request_timeout: Duration,
    raw: Option<&str>,
    body: Body,
    names: usize,
    example: &str,
) -> Result<T, Problem> {
    Query::parse(raw, &[], &[], example.to_owned())?;
    let problem = |kind, detail: String| Problem::new(kind, detail).with_example(example);
    // Leaves time for the reads.
    let within = request_timeout / 2;
    let read = read(body, names * BYTES_PER_NAME + OTHER_BYTES, within).await;
    let bytes = read.map_err(|error| problem(error.kind(), error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| problem(Kind::InvalidBody, error.to_string()))
}

/// Reads a field that may be left out, but not be `null`.
pub fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// Reads all of `body`.
///
/// # Errors
/// It has more than `limit` bytes, takes longer than `within`, pauses for longer than [`PAUSE_MAX`], or is incomplete.
pub async fn read(body: Body, limit: usize, within: Duration) -> Result<Vec<u8>, BodyError> {
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
