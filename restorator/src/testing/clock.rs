//! Virtual time, and an executor that lets it pass only when nothing else can happen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};

#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Rc<Timers>);

#[derive(Default)]
struct Timers {
    now: Cell<Duration>,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<(Duration, u64), Waker>>,
}

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        Moment::new(self.0.now.get())
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap() + self.0.now.get()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        Sleep {
            timers: Rc::clone(&self.0),
            key: (self.0.now.get() + duration, id),
        }
    }
}

struct Sleep {
    timers: Rc<Timers>,
    key: (Duration, u64),
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.timers.now.get() >= self.key.0 {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        self.timers.waiting.borrow_mut().insert(self.key, waker);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.timers.waiting.borrow_mut().remove(&self.key);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl VirtualClock {
    pub(crate) fn seconds(&self) -> u64 {
        self.0.now.get().as_secs()
    }

    /// Runs `future` to its end.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            if !flag.0.swap(false, Ordering::Relaxed) {
                let next = self.0.waiting.borrow_mut().pop_first();
                let ((at, _), waker) = next.expect("nothing can ever happen again");
                self.0.now.set(at.max(self.0.now.get()));
                waker.wake();
            }
        }
    }
}

/// Wakes whoever waits when anything changed.
#[derive(Clone, Default)]
pub(crate) struct Changes(Rc<(Cell<u64>, RefCell<Vec<Waker>>)>);

impl Changes {
    pub(crate) fn tell(&self) {
        self.0.0.set(self.0.0.get() + 1);
        for waker in self.0.1.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    pub(crate) fn next(&self) -> Changed {
        Changed {
            changes: self.clone(),
            seen: self.0.0.get(),
        }
    }
}

pub(crate) struct Changed {
    changes: Changes,
    seen: u64,
}

impl Future for Changed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (generation, wakers) = &*self.changes.0;
        if generation.get() != self.seen {
            return Poll::Ready(());
        }
        wakers.borrow_mut().push(context.waker().clone());
        Poll::Pending
    }
}
