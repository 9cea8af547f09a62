//! Permits for requests in flight: how many a request takes, and how long it may wait for them.
//!
//! A request waits, but not for long: a burst is answered instead of refused, and a client that waits for its answer
//! asks for nothing else meanwhile, which is what slows down those that share many connections. Permits are granted in
//! the order in which they were requested, so that a request for many keys, which takes several, is not overtaken
//! forever.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request};
use stitch_common::config::Api;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Keys that one request reads at once, so that it does not keep out all others. It takes as many permits.
pub(crate) const KEYS_AT_ONCE: usize = 32;
/// Addresses with these prefixes are answered from counts, and shed; the others are for monitoring this process.
const SHED: [&str; 3] = ["/v1/", "/stats/", "/operator"];

/// Grants permits to requests, with a bounded wait.
#[derive(Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    permits_max: usize,
    timeout: Duration,
}

impl Admission {
    pub(crate) fn new(limits: &Api) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.requests_in_flight_max)),
            permits_max: limits.requests_in_flight_max,
            timeout: limits.admission_timeout,
        }
    }

    /// The number of permits in use.
    pub(crate) fn in_use(&self) -> usize {
        self.permits_max - self.permits.available_permits()
    }

    /// How many permits a request takes: one for each read that it may have in flight at once; `None` if it needs none.
    ///
    /// Decided without parsing the parameters: one permit more than was needed keeps no other request out, and a
    /// request that is alone always fits.
    pub(crate) fn permits_for<B>(&self, request: &Request<B>) -> Option<u32> {
        let address = request.uri();
        if !SHED.iter().any(|prefix| address.path().starts_with(prefix)) {
            return None;
        }
        let reads = if !address.path().ends_with("/counts") {
            1
        } else if request.method() == Method::POST {
            KEYS_AT_ONCE
        } else {
            address.query().map_or(1, |query| query.split('&').count())
        };
        u32::try_from(reads.min(KEYS_AT_ONCE).min(self.permits_max)).ok()
    }

    /// Waits for `count` permits, which are held until they are dropped; `None` if they were not granted in time.
    pub(crate) async fn acquire(&self, count: u32) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.permits);
        if let Ok(permits) = Arc::clone(&permits).try_acquire_many_owned(count) {
            return Some(permits);
        }
        let acquired = tokio::time::timeout(self.timeout, permits.acquire_many_owned(count)).await;
        acquired.ok()?.ok()
    }

    /// Why a request was refused, for its client.
    pub(crate) fn refusal(&self) -> String {
        let (max, timeout) = (self.permits_max, self.timeout.as_millis());
        format!(
            "{max} requests are in flight, which is this server's limit, and none of them ended within {timeout} ms; \
             a request for many keys counts as several"
        )
    }
}
