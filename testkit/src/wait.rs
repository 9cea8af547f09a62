//! What tasks of one thread wait on: a one-shot value, a signal, a change.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A value that is sent at most once.
#[derive(Debug)]
pub struct OneShot<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for OneShot<T> {
    fn default() -> Self {
        Self {
            value: RefCell::new(None),
            waker: RefCell::new(None),
        }
    }
}

impl<T> OneShot<T> {
    pub fn send(&self, value: T) {
        self.value.borrow_mut().get_or_insert(value);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub async fn recv(&self) -> T {
        poll_fn(|context| match self.value.borrow_mut().take() {
            Some(value) => Poll::Ready(value),
            None => {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// An event that happens once.
#[derive(Debug, Default)]
pub struct Signal {
    fired: Cell<bool>,
    waiters: Waiters,
}

impl Signal {
    pub fn fire(&self) {
        self.fired.set(true);
        self.waiters.wake();
    }

    pub fn has_fired(&self) -> bool {
        self.fired.get()
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.fired.get() {
            return Poll::Ready(());
        }
        self.waiters.add(context);
        Poll::Pending
    }
}

/// Resolves when the signal has fired.
#[derive(Debug)]
pub struct Fired(pub Rc<Signal>);

impl Future for Fired {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

/// Tasks that wait until something changes.
#[derive(Debug, Default)]
pub struct Waiters(RefCell<Vec<Waker>>);

impl Waiters {
    pub fn wake(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }

    pub fn add(&self, context: &Context<'_>) {
        let mut wakers = self.0.borrow_mut();
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
    }

    /// Waits until `ready` returns a value; it is called again after each change.
    pub async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                self.add(context);
                Poll::Pending
            }
        })
        .await
    }
}

/// Which of two futures was first.
#[derive(Debug)]
pub enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for the first of two futures and drops the other; the left one if both are ready.
pub async fn either<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| {
        if let Poll::Ready(left) = a.as_mut().poll(context) {
            return Poll::Ready(Either::Left(left));
        }
        b.as_mut().poll(context).map(Either::Right)
    })
    .await
}
