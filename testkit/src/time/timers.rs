//! Pending timers. Most are cancelled long before they are due: cancelling must cost next to nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use super::Micros;

/// Timers in the order in which they are due; those due at the same moment, in the order in which they were set.
#[derive(Default)]
pub(super) struct Timers {
    /// A cancelled timer stays in the heap until it is due.
    due: BinaryHeap<Reverse<(Micros, u64, usize)>>,
    set: Vec<Option<(u64, Waker)>>,
    free: Vec<usize>,
    last: u64,
}

/// A handle to a timer that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    number: u64,
    index: usize,
}

impl Timers {
    pub(super) fn set(&mut self, at: Micros, waker: Waker) -> Timer {
        self.last += 1;
        let number = self.last;
        let index = self.free.pop().unwrap_or_else(|| {
            self.set.push(None);
            self.set.len() - 1
        });
        self.set[index] = Some((number, waker));
        self.due.push(Reverse((at, number, index)));
        Timer { number, index }
    }

    /// Replaces the waker of a timer that is still set.
    pub(super) fn set_waker(&mut self, timer: Timer, waker: &Waker) {
        if let Some((number, known)) = &mut self.set[timer.index]
            && *number == timer.number
        {
            known.clone_from(waker);
        }
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        drop(self.take(timer));
    }

    /// Removes the next timer: when it is due, and its waker.
    pub(super) fn pop(&mut self) -> Option<(Micros, Waker)> {
        while let Some(Reverse((at, number, index))) = self.due.pop() {
            if let Some(waker) = self.take(Timer { number, index }) {
                return Some((at, waker));
            }
        }
        None
    }

    fn take(&mut self, timer: Timer) -> Option<Waker> {
        let set = &mut self.set[timer.index];
        let (_, waker) = set.take_if(|(number, _)| *number == timer.number)?;
        self.free.push(timer.index);
        Some(waker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct WakeCount(AtomicU64);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn timers_fire_in_order_and_a_cancelled_timer_never_fires() {
        let mut timers = Timers::default();
        let wakers: Vec<Arc<WakeCount>> = (0..5).map(|_| Arc::default()).collect();
        let waker = |index: usize| Waker::from(Arc::clone(&wakers[index]));
        timers.set(20, waker(0));
        let cancelled = timers.set(10, waker(1));
        timers.set(10, waker(2));
        let changed = timers.set(10, waker(1));
        timers.cancel(cancelled);
        // Reuses the index of the cancelled timer, whose handle must not reach it.
        timers.set(5, waker(3));
        timers.set_waker(cancelled, &waker(1));
        timers.cancel(cancelled);
        timers.set_waker(changed, &waker(4));
        let mut woken = Vec::new();
        while let Some((at, waker)) = timers.pop() {
            waker.wake();
            let counts = wakers.iter().map(|one| one.0.swap(0, Ordering::Relaxed));
            woken.push((
                at,
                counts.collect::<Vec<_>>().iter().position(|one| *one == 1),
            ));
        }
        assert_eq!(
            woken,
            [(5, Some(3)), (10, Some(2)), (10, Some(4)), (20, Some(0))]
        );
    }
}
