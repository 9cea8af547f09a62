//! What futures of one thread wait on: an answer that comes once, and a signal.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// An answer that comes at most once.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    value: RefCell<Option<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            value: RefCell::new(None),
            waker: RefCell::new(None),
        }
    }
}

impl<T> Slot<T> {
    pub(crate) fn fill(&self, value: T) {
        self.value.borrow_mut().get_or_insert(value);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) async fn taken(&self) -> T {
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

/// Something that happens once.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    fired: Cell<bool>,
    waiting: Waiting,
}

impl Signal {
    pub(crate) fn fire(&self) {
        self.fired.set(true);
        self.waiting.wake();
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.fired.get()
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.fired.get() {
            return Poll::Ready(());
        }
        self.waiting.add(context);
        Poll::Pending
    }
}

/// Resolves when the signal has fired.
#[derive(Debug)]
pub(crate) struct Fired(pub(crate) Rc<Signal>);

impl Future for Fired {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

/// Tasks that wait until something has changed.
#[derive(Debug, Default)]
pub(crate) struct Waiting(RefCell<Vec<Waker>>);

impl Waiting {
    pub(crate) fn wake(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }

    pub(crate) fn add(&self, context: &Context<'_>) {
        let mut wakers = self.0.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
    }

    /// Waits until `ready` tells something; it is asked again after each change.
    pub(crate) async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
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

/// Which of two came first.
#[derive(Debug)]
pub(crate) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// What comes first; the other is dropped. The left one if both are there.
pub(crate) async fn either<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| {
        if let Poll::Ready(left) = a.as_mut().poll(context) {
            return Poll::Ready(Either::Left(left));
        }
        b.as_mut().poll(context).map(Either::Right)
    })
    .await
}
