//! Reads that are on their way, so that whoever asks for the same meanwhile gets the same answer: many readers of one
//! cell cost one read. What nobody waits for any more is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

type Flight<V> = Shared<BoxFuture<'static, V>>;
type Listed<V> = WeakShared<BoxFuture<'static, V>>;

/// What is on its way, by what was asked for.
pub(crate) struct SingleFlight<K: Eq + Hash, V: Clone> {
    open: Mutex<HashMap<K, Listed<V>>>,
}

impl<K: Eq + Hash, V: Clone> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self {
            open: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SingleFlight<K, V> {
    /// The answer to `key`: that of the read that is on its way, if there is one, else of the one that `start` makes.
    /// `joined` is called if there is one.
    ///
    /// Dropping it drops the read, unless others wait for it, too.
    pub(crate) async fn join(
        &self,
        key: K,
        start: impl FnOnce() -> BoxFuture<'static, V>,
        joined: impl FnOnce(),
    ) -> V {
        let waiting = {
            let mut open = self.open();
            // One that has ended is of the past, for however long others still look at it.
            let under_way = |flight: &Flight<V>| flight.peek().is_none();
            let found = open
                .get(&key)
                .and_then(WeakShared::upgrade)
                .filter(under_way);
            let flight = if let Some(flight) = found {
                joined();
                flight
            } else {
                let flight = start().shared();
                if let Some(weak) = flight.downgrade() {
                    open.insert(key.clone(), weak);
                }
                flight
            };
            Waiting {
                flights: self,
                key,
                flight: Some(flight),
            }
        };
        let flight = waiting.flight.clone();
        flight.expect("given to none but its own drop").await
    }

    fn open(&self) -> MutexGuard<'_, HashMap<K, Listed<V>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits for a flight. The last one to go takes it out of the list.
struct Waiting<'a, K: Clone + Eq + Hash, V: Clone> {
    flights: &'a SingleFlight<K, V>,
    key: K,
    flight: Option<Flight<V>>,
}

impl<K: Clone + Eq + Hash, V: Clone> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        let Some(ours) = self.flight.take() else {
            return;
        };
        let mut open = self.flights.open();
        let listed = open.get(&self.key).map(WeakShared::upgrade);
        let remove = match &listed {
            Some(None) => true,
            // Nobody has it but this one, and what was just found in the list. Others can come by the list alone.
            Some(Some(flight)) => flight.ptr_eq(&ours) && flight.strong_count() == Some(2),
            None => false,
        };
        if remove {
            open.remove(&self.key);
        }
        // Before others may look: whoever goes last must see that it is the last.
        drop((listed, ours));
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
        assert!(flights.open().is_empty());
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
        assert!(flights.open().is_empty());
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
        assert!(flights.open().is_empty());
    }
}
