//! Coalesces concurrent identical reads (single flight). The read is cancelled when its last waiter goes away.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

/// Polled by those who wait for it, so that it needs no task of its own.
type SharedRead<V> = Shared<BoxFuture<'static, V>>;

/// Reads in flight, by what they read. Each caller clones a key twice: let that cost little.
pub struct SingleFlight<K: Eq + Hash, V: Clone> {
    flights: Mutex<HashMap<K, Flight<V>>>,
}

struct Flight<V: Clone> {
    read: SharedRead<V>,
    /// At least 1: the last waiter to leave removes the flight.
    waiters: usize,
}

impl<K: Eq + Hash, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self {
            flights: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, V> {
    /// Joins the read of `key` that is in flight, or else starts one. `on_join` is called only if one is joined.
    ///
    /// A completed read is never joined, even while earlier callers still hold it.
    ///
    /// # Cancellation
    /// Drops the read, unless others wait for it.
    pub async fn join(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, V>,
        on_join: impl FnOnce(),
    ) -> V {
        let waiter = self.wait_for(key, start, on_join);
        waiter.read.clone().await
    }

    fn wait_for(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, V>,
        on_join: impl FnOnce(),
    ) -> Waiter<'_, K, V> {
        let mut flights = self.flights();
        let read = match flights.entry(key.clone()) {
            Entry::Occupied(mut flight) if flight.get().read.peek().is_none() => {
                on_join();
                flight.get_mut().waiters += 1;
                flight.get().read.clone()
            }
            entry @ (Entry::Occupied(_) | Entry::Vacant(_)) => {
                let read = start().shared();
                entry.insert_entry(Flight {
                    read: read.clone(),
                    waiters: 1,
                });
                read
            }
        };
        Waiter {
            flights: self,
            key,
            read,
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Flight<V>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller's share of a flight.
struct Waiter<'a, K: Clone + Eq + Hash, V: Clone> {
    flights: &'a SingleFlight<K, V>,
    key: K,
    read: SharedRead<V>,
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Waiter<'_, K, V> {
    fn drop(&mut self) {
        let mut flights = self.flights.flights();
        let Entry::Occupied(mut flight) = flights.entry(self.key.clone()) else {
            return;
        };
        // A completed read may have been replaced by a later one, which has waiters of its own.
        if !flight.get().read.ptr_eq(&self.read) {
            return;
        }
        flight.get_mut().waiters -= 1;
        if flight.get().waiters == 0 {
            flight.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::watch;

    use super::*;

    /// Counts reads, and completes them when they are released.
    struct Source {
        started: AtomicUsize,
        dropped: AtomicUsize,
        released: watch::Sender<bool>,
    }

    /// Counts a read that is dropped, completed or not.
    struct CountsDrop(Arc<Source>);

    impl Drop for CountsDrop {
        fn drop(&mut self) {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Source {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                started: AtomicUsize::new(0),
                dropped: AtomicUsize::new(0),
                released: watch::Sender::new(false),
            })
        }

        fn read(self: &Arc<Self>) -> BoxFuture<'static, usize> {
            let source = Arc::clone(self);
            async move {
                let number = source.started.fetch_add(1, Ordering::SeqCst);
                let counts_drop = CountsDrop(Arc::clone(&source));
                let mut released = source.released.subscribe();
                released.wait_for(|released| *released).await.ok();
                drop(counts_drop);
                number
            }
            .boxed()
        }

        fn counts(&self) -> (usize, usize) {
            let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
            (load(&self.started), load(&self.dropped))
        }
    }

    #[tokio::test]
    async fn concurrent_identical_reads_cost_one() {
        let (source, flights) = (Source::new(), SingleFlight::<u8, usize>::default());
        let joined = AtomicUsize::new(0);
        let ask = |key: u8| {
            let joined = &joined;
            flights.join(
                key,
                || source.read(),
                move || {
                    joined.fetch_add(1, Ordering::SeqCst);
                },
            )
        };
        let callers = join_all((0..100_u8).map(|number| ask(number % 2)));
        let release = async {
            source.released.send_replace(true);
        };
        let (answers, ()) = futures_util::future::join(callers, release).await;
        assert_eq!(source.counts().0, 2, "one for each of two keys");
        assert_eq!(joined.load(Ordering::SeqCst), 98);
        assert!(answers.iter().all(|answer| *answer < 2));
        assert!(flights.flights().is_empty());
        assert_eq!(ask(0).await, 2, "a later caller starts a new read");
    }

    #[tokio::test]
    async fn a_read_ends_with_its_last_waiter() {
        let (source, flights) = (Source::new(), SingleFlight::<u8, usize>::default());
        let mut first = Box::pin(flights.join(1, || source.read(), || {}));
        let mut second = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut second).is_pending());
        let mut third = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut third).is_pending());
        assert_eq!(source.counts(), (1, 0), "the third one joins the same read");
        drop(second);
        assert_eq!(source.counts(), (1, 0));
        drop(third);
        assert_eq!(source.counts(), (1, 1), "dropped before it completed");
        assert!(flights.flights().is_empty());
    }

    #[tokio::test]
    async fn a_completed_read_is_not_joined_even_while_a_caller_holds_it() {
        let (source, flights) = (Source::new(), SingleFlight::<u8, usize>::default());
        let mut slow = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut slow).is_pending());
        let quick = flights.join(1, || source.read(), || {});
        source.released.send_replace(true);
        assert_eq!(quick.await, 0);
        // The slow caller has not been polled since, so it still holds the first read.
        assert_eq!(flights.join(1, || source.read(), || {}).await, 1);
        assert_eq!(slow.await, 0);
        assert!(flights.flights().is_empty());
    }

    #[tokio::test]
    async fn a_waiter_of_a_completed_read_does_not_end_a_later_one() {
        let (source, flights) = (Source::new(), SingleFlight::<u8, usize>::default());
        let mut slow = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut slow).is_pending());
        source.released.send_replace(true);
        assert_eq!(flights.join(1, || source.read(), || {}).await, 0);
        source.released.send_replace(false);
        let mut later = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut later).is_pending());
        drop(slow);
        let mut joined = Box::pin(flights.join(1, || source.read(), || {}));
        assert!(futures_util::poll!(&mut joined).is_pending());
        assert_eq!(source.counts(), (2, 1));
    }
}
