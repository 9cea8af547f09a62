//! An object store in memory. A write that was sent arrives whether its sender still lives or not; answers are lost, writes
//! arrive late, reads fail, lists lag behind.

mod port;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{ObjectEntry, ObjectName, Put};
use stitch_testkit::objects::{MemoryStore, Objects};
use stitch_testkit::time::Micros;

use super::World;
use crate::rng::Rng;

/// The objects, and how the store fails.
#[derive(Default)]
pub(crate) struct Storage {
    objects: Rc<Objects>,
    /// When lists begin to show an object that they do not show yet.
    listed_at: RefCell<BTreeMap<ObjectName, Micros>>,
    pub(crate) faults: Cell<StoreFaults>,
}

/// How requests fail at present.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreFaults {
    /// In percent of writes: not answered, whether they arrive or not.
    pub(crate) ambiguous: u64,
    /// In percent of requests: not done, and the sender knows.
    pub(crate) unavailable: u64,
    /// Writes are refused.
    pub(crate) refuses_writes: bool,
    /// Lists show an object only after a while.
    pub(crate) lists_lag: bool,
    /// The longest time by which a request is delayed.
    pub(crate) slowness: Micros,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteFate {
    Answered,
    AnswerLost,
    Lost,
    /// It arrives when its sender has given up.
    Late,
}

impl StoreFaults {
    fn fate(&self, rng: &Rng) -> WriteFate {
        if rng.percent(self.ambiguous) {
            rng.pick(&[WriteFate::AnswerLost, WriteFate::Lost, WriteFate::Late])
        } else {
            WriteFate::Answered
        }
    }
}

/// What is written, and whether it replaces an object of its name.
struct Write {
    name: ObjectName,
    content: Bytes,
    replaces: bool,
}

impl Storage {
    /// A store of the same objects that never fails: for the checker.
    pub(super) fn reliable(&self) -> MemoryStore {
        MemoryStore::new(Rc::clone(&self.objects), |_, _| {
            stitch_testkit::objects::Fault::None
        })
    }
}

/// What `work` over [`Storage::reliable`] returns: it waits for nothing else.
pub(super) fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}

/// Whether the store has lost the rule that it puts a segment only if it is absent.
fn is_overwritten(name: &ObjectName) -> bool {
    out(Rule::SegmentIfAbsent) && name.0.ends_with(".parquet")
}

impl World {
    /// A write arrives.
    fn write(&self, write: Write) -> Put {
        let Write {
            name,
            content,
            replaces,
        } = write;
        let objects = &self.storage.objects;
        let put = if replaces || is_overwritten(&name) {
            objects.set(name.clone(), content);
            Put::Created
        } else {
            objects.put_if_absent(&name, content)
        };
        if put == Put::Created {
            if self.storage.faults.get().lists_lag {
                let at = self.now() + self.rng.below(2_000_000);
                let mut listed_at = self.storage.listed_at.borrow_mut();
                listed_at.insert(name.clone(), at);
            }
            self.object_written(&name);
        }
        put
    }

    fn list(&self, folder: &ObjectName, after: Option<&ObjectName>) -> Vec<ObjectEntry> {
        let mut listed = self.storage.objects.list(folder, after);
        let listed_at = self.storage.listed_at.borrow();
        let now = self.now();
        listed.retain(|entry| listed_at.get(&entry.name).is_none_or(|at| *at <= now));
        listed
    }

    /// Lists show everything from now on.
    pub(crate) fn list_everything(&self) {
        self.storage.listed_at.borrow_mut().clear();
    }
}
