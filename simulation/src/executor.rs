//! Runs tasks on one thread and in virtual time: the seed chooses the order of polls, and time passes only when no task is
//! ready. A task may belong to a process: it is not polled while that is frozen, and dropped when that is killed.

mod process_clock;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use stitch_testkit::time::{Micros, Sleep, VirtualTime};

use crate::process::Process;
use crate::rng::Rng;
pub(crate) use process_clock::ProcessClock;

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
    /// `None` while it is being polled.
    work: Option<Work>,
    owner: Option<Rc<Process>>,
    waker: Arc<TaskWaker>,
    /// Its process lags, and this task has had its delay.
    was_delayed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Polled,
    TimePassed,
    /// No task is ready and no timer is set: nothing can ever happen again.
    Deadlock,
}

pub(crate) struct Executor {
    time: Rc<VirtualTime>,
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<usize>>,
    ready: Queue,
    /// The process whose task was polled last.
    polled: RefCell<Option<Rc<Process>>>,
}

impl Executor {
    pub(crate) fn new() -> Self {
        Self {
            time: Rc::default(),
            tasks: RefCell::default(),
            free: RefCell::default(),
            ready: Queue::default(),
            polled: RefCell::default(),
        }
    }

    pub(crate) fn now(&self) -> Micros {
        self.time.now()
    }

    /// The process whose task was polled last, if it belonged to one.
    #[cfg(feature = "mutations")]
    pub(crate) fn polled(&self) -> Option<Rc<Process>> {
        self.polled.borrow().clone()
    }

    /// Starts a task, which belongs to `owner` if one is given.
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
            was_delayed: false,
        });
        locked(&self.ready).push(task);
    }

    /// Resolves at `at`.
    pub(crate) fn until(&self, at: Micros) -> Sleep {
        self.time.until(at)
    }

    /// Polls one task that is ready, or lets time pass.
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
        if self.time.advance() {
            Step::TimePassed
        } else {
            Step::Deadlock
        }
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
                if lag > 0 && !task.was_delayed {
                    task.was_delayed = true;
                    let later = self.now() + rng.below(lag);
                    let waker = Waker::from(Arc::clone(&task.waker));
                    task.waker.queued.store(false, Ordering::Relaxed);
                    self.time.wake_at(later, waker);
                    return;
                }
            }
            task.was_delayed = false;
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
                let task = slot.take();
                self.free.borrow_mut().push(id);
                drop(tasks);
                drop((task, work));
            }
        }
    }

    /// Resumes a frozen process: each of its ready tasks after a delay of its own.
    pub(crate) fn thaw(&self, process: &Process, rng: &Rng) {
        for waker in process.thaw() {
            self.time.wake_at(self.now() + rng.below(2000), waker);
        }
    }

    /// Kills a process: drops its tasks.
    pub(crate) fn kill(&self, process: &Rc<Process>) {
        process.die();
        self.remove(|task| {
            let owner = task.owner.as_ref();
            owner.is_some_and(|owner| Rc::ptr_eq(owner, process))
        });
    }

    /// Drops every task: tasks and the world own each other.
    pub(crate) fn clear(&self) {
        self.remove(|_| true);
    }

    fn remove(&self, which: impl Fn(&Task) -> bool) {
        let mut removed = Vec::new();
        for (id, slot) in self.tasks.borrow_mut().iter_mut().enumerate() {
            if slot.as_ref().is_some_and(&which) {
                removed.extend(slot.take());
                self.free.borrow_mut().push(id);
            }
        }
        // Only now: dropping a task may start another.
        drop(removed);
    }
}
