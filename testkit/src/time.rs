//! Virtual time: it passes only when an executor has nothing else to do.

mod timers;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use timers::{Timer, Timers};

/// Microseconds since the beginning.
pub type Micros = u64;

/// A duration in whole microseconds.
pub fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}

/// The present moment, and the timers that are set.
#[derive(Default)]
pub struct VirtualTime {
    now: Cell<Micros>,
    timers: RefCell<Timers>,
}

impl VirtualTime {
    pub fn now(&self) -> Micros {
        self.now.get()
    }

    /// Resolves at `at`.
    pub fn until(self: &Rc<Self>, at: Micros) -> Sleep {
        Sleep {
            time: Rc::clone(self),
            at,
            timer: None,
        }
    }

    /// Wakes a task at `at`.
    pub fn wake_at(&self, at: Micros, waker: Waker) {
        self.timers.borrow_mut().set(at, waker);
    }

    /// Moves on to the next timer and wakes its task; `false` if no timer is set.
    pub fn advance(&self) -> bool {
        let due = self.timers.borrow_mut().pop();
        let Some((at, waker)) = due else {
            return false;
        };
        self.now.set(at.max(self.now.get()));
        waker.wake();
        true
    }
}

/// See [`VirtualTime::until`].
pub struct Sleep {
    time: Rc<VirtualTime>,
    at: Micros,
    timer: Option<Timer>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.time.now() >= self.at {
            return Poll::Ready(());
        }
        let timer = self.timer;
        let mut timers = self.time.timers.borrow_mut();
        match timer {
            None => {
                let timer = timers.set(self.at, context.waker().clone());
                drop(timers);
                self.timer = Some(timer);
            }
            // Another task may poll it than before.
            Some(timer) => timers.set_waker(timer, context.waker()),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.time.timers.borrow_mut().cancel(timer);
        }
    }
}
