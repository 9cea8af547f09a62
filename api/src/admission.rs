//! Permits for requests in flight: how many a request takes, and how long it may wait for them.
//!
//! A request waits, but not for long: a burst is answered instead of refused, and a client that waits for its answer
//! asks for nothing else meanwhile, which is what slows down those that share many connections. Permits are granted in
//! the order in which they were requested, so that a request for many keys, which takes several, is not overtaken
//! forever.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Request;
use stitch_config::Api;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Keys that one request reads at once, so that it does not keep out all others. It takes as many permits.
pub(crate) const KEYS_AT_ONCE: usize = 32;
/// Addresses with these prefixes are answered from counts, and shed; the others are for monitoring this process.
const SHED: [&str; 3] = ["/v1/", "/stats", "/operator"];

/// Grants permits to requests, with a bounded wait.
#[derive(Debug)]
pub(crate) struct Admission {
    permits: Arc<Semaphore>,
    permits_max: usize,
    timeout: Duration,
}

/// The permits that one request holds. The load-shedding layer acquires them, and passes them on with the request: one
/// with a body holds none until the body has arrived, and only then as many as it needs.
#[derive(Clone, Debug)]
pub(crate) struct HeldPermits(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl HeldPermits {
    /// Gives all of them back, until [`Admission::exchange`].
    pub(crate) fn give_back(&self) {
        self.replace(None);
    }

    fn count(&self) -> usize {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn replace(&self, permits: Option<OwnedSemaphorePermit>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = permits;
    }
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
    /// request that is alone always fits. A request with a body takes one, so that it is refused before its body is read
    /// if there is none, and gives it back at once: how many keys are in it is not known yet, and it may never arrive.
    pub(crate) fn permits_for<B>(&self, request: &Request<B>) -> Option<u32> {
        let address = request.uri();
        if !SHED.iter().any(|prefix| address.path().starts_with(prefix)) {
            return None;
        }
        let keys = if address.path().ends_with("/counts") {
            address.query().map_or(1, |query| query.split('&').count())
        } else {
            1
        };
        Some(self.permits_for_keys(keys))
    }

    fn permits_for_keys(&self, keys: usize) -> u32 {
        let reads = keys.min(KEYS_AT_ONCE).min(self.permits_max);
        u32::try_from(reads).unwrap_or(u32::MAX)
    }

    /// Waits for `count` permits, which are held until the last copy is dropped; `None` if they were not granted in time.
    pub(crate) async fn acquire(&self, count: u32) -> Option<HeldPermits> {
        let permits = self.granted(count).await?;
        Some(HeldPermits(Arc::new(Mutex::new(Some(permits)))))
    }

    /// Gives back what a request holds, and waits for as many permits as it needs for `keys` keys; `false` if they were
    /// not granted in time. Gives back first: requests that waited for more than they hold could block each other.
    pub(crate) async fn exchange(&self, held: &HeldPermits, keys: usize) -> bool {
        let count = self.permits_for_keys(keys);
        if count == 1 && held.count() == 1 {
            return true;
        }
        held.give_back();
        let permits = self.granted(count).await;
        let granted = permits.is_some();
        held.replace(permits);
        granted
    }

    async fn granted(&self, count: u32) -> Option<OwnedSemaphorePermit> {
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
