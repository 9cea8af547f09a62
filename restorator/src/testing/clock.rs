//! A clock in virtual time, and an executor of one future, which lets time pass only when nothing else can happen.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};
use stitch_testkit::time::{VirtualTime, micros};
use stitch_testkit::wait::{Fired, Signal};

#[derive(Clone, Default)]
pub(crate) struct VirtualClock(Rc<VirtualTime>);

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        Moment::new(Duration::from_micros(self.0.now()))
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap() + Duration::from_micros(self.0.now())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        self.0.until(self.0.now().saturating_add(micros(duration)))
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
        self.0.now() / 1_000_000
    }

    /// Runs `future` to its end.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let woken = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            if !woken.0.swap(false, Ordering::Relaxed) {
                assert!(self.0.advance(), "nothing can ever happen again");
            }
        }
    }
}

/// Wakes every task that waits for the next change of a server.
#[derive(Default)]
pub(crate) struct Changes(RefCell<Rc<Signal>>);

impl Changes {
    pub(crate) fn notify(&self) {
        self.0.take().fire();
    }

    pub(crate) fn next(&self) -> Fired {
        Fired(Rc::clone(&self.0.borrow()))
    }
}
