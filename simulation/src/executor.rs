//! One thread, virtual time: tasks are polled in an order that the seed chooses, and time passes only when nothing else
//! can happen. A task may belong to a process: it stands still while that is frozen, and is gone when it is killed.

mod timers;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::process::Process;
use crate::rng::Rng;
use timers::{Timer, Timers};

/// Microseconds since the world began.
pub(crate) type Micros = u64;

type Queue = Arc<Mutex<Vec<usize>>>;

struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    ready: Queue,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            locked(&self.ready).push(self.task);
        }
    }
}

fn locked(queue: &Queue) -> MutexGuard<'_, Vec<usize>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// Out while it is polled.
    work: Option<Work>,
    owner: Option<Rc<Process>>,
    waker: Arc<TaskWaker>,
    /// A slow process has waited for its turn.
    waited: bool,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A task was polled.
    Polled,
    /// Time passed.
    Passed,
    /// Nothing can ever happen again.
    Nothing,
}

/// Tasks and timers.
pub(crate) struct Executor {
    now: Cell<Micros>,
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    ready: Queue,
    timers: RefCell<Timers>,
    /// The process whose task was polled last.
    polled: RefCell<Option<Rc<Process>>>,
}

impl Executor {
    pub(crate) fn new() -> Self {
        Self {
            now: Cell::new(0),
            tasks: RefCell::default(),
            free: RefCell::default(),
            ready: Queue::default(),
            timers: RefCell::default(),
            polled: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.now.get()
    }

    /// The process whose task was polled last, if it was one's.
    #[cfg(feature = "mutations")]
    pub(crate) fn polled(&self) -> Option<Rc<Process>> {
        self.polled.borrow().clone()
    }

    /// Starts a task; of a process if `owner` is given.
    pub(crate) fn spawn(&self, owner: Option<Rc<Process>>, work: Work) {
        let task = match self.free.borrow_mut().pop() {
            Some(task) => task,
            None => {
                let mut tasks = self.tasks.borrow_mut();
                tasks.push(None);
                tasks.len() - 1
            }
        };
        let waker = Arc::new(TaskWaker {
            task,
            queued: AtomicBool::new(true),
            ready: Arc::clone(&self.ready),
        });
        self.tasks.borrow_mut()[task] = Some(Task {
            work: Some(work),
            owner,
            waker,
            waited: false,
        });
        locked(&self.ready).push(task);
    }

    /// Resolves at `at`.
    pub(crate) fn until(self: &Rc<Self>, at: Micros) -> Sleep {
        Sleep {
            executor: Rc::clone(self),
            at,
            timer: None,
        }
    }

    /// Polls one task that can go on, or lets time pass.
    pub(crate) fn step(&self, rng: &Rng) -> Step {
        let next = {
            let mut ready = locked(&self.ready);
            match ready.len() {
                0 => None,
                1 => ready.pop(),
                count => Some(ready.swap_remove(rng.index(count))),
            }
        };
        if let Some(task) = next {
            self.poll(task, rng);
            return Step::Polled;
        }
        let due = self.timers.borrow_mut().pop();
        let Some((at, waker)) = due else {
            return Step::Nothing;
        };
        self.now.set(at.max(self.now.get()));
        waker.wake();
        Step::Passed
    }

    fn poll(&self, id: usize, rng: &Rng) {
        let (mut work, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(id).and_then(Option::as_mut) else {
                return;
            };
            if let Some(owner) = &task.owner {
                if owner.is_frozen() {
                    owner.stall(Waker::from(Arc::clone(&task.waker)));
                    task.waker.queued.store(false, Ordering::Relaxed);
                    return;
                }
                let lag = owner.lag();
                if lag > 0 && !task.waited {
                    task.waited = true;
                    let later = self.now.get() + rng.below(lag);
                    let waker = Waker::from(Arc::clone(&task.waker));
                    task.waker.queued.store(false, Ordering::Relaxed);
                    self.at(later, waker);
                    return;
                }
            }
            task.waited = false;
            task.waker.queued.store(false, Ordering::Relaxed);
            let Some(work) = task.work.take() else { return };
            self.polled.borrow_mut().clone_from(&task.owner);
            (work, Waker::from(Arc::clone(&task.waker)))
        };
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        let slot = &mut tasks[id];
        match polled {
            Poll::Pending => {
                if let Some(task) = slot {
                    task.work = Some(work);
                }
            }
            Poll::Ready(()) => {
                let done = slot.take();
                self.free.borrow_mut().push(id);
                drop(tasks);
                drop((done, work));
            }
        }
    }

    fn at(&self, at: Micros, waker: Waker) -> Timer {
        self.timers.borrow_mut().set(at, waker)
    }

    /// Lets a process go on: each of its tasks that could at a moment of its own.
    pub(crate) fn thaw(&self, process: &Process, rng: &Rng) {
        for waker in process.thaw() {
            self.at(self.now() + rng.below(2000), waker);
        }
    }

    /// Drops every task of `process`: as if it were killed.
    pub(crate) fn kill(&self, process: &Rc<Process>) {
        process.die();
        self.remove(|task| {
            let owner = task.owner.as_ref();
            owner.is_some_and(|owner| Rc::ptr_eq(owner, process))
        });
    }

    /// Drops every task: tasks hold the world that holds them.
    pub(crate) fn clear(&self) {
        self.remove(|_| true);
    }

    fn remove(&self, which: impl Fn(&Task) -> bool) {
        let mut gone = Vec::new();
        for (id, slot) in self.tasks.borrow_mut().iter_mut().enumerate() {
            if slot.as_ref().is_some_and(&which) {
                gone.extend(slot.take());
                self.free.borrow_mut().push(id);
            }
        }
        // Only now: what a task drops may start another.
        drop(gone);
    }
}

/// See [`Executor::until`].
pub(crate) struct Sleep {
    executor: Rc<Executor>,
    at: Micros,
    timer: Option<Timer>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.executor.now() >= self.at {
            return Poll::Ready(());
        }
        match self.timer {
            None => {
                let timer = self.executor.at(self.at, context.waker().clone());
                self.timer = Some(timer);
            }
            // It may be polled by another task than before.
            Some(timer) => {
                let mut timers = self.executor.timers.borrow_mut();
                timers.wake_instead(timer, context.waker());
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.executor.timers.borrow_mut().cancel(timer);
        }
    }
}
