//! Under a range's lock nothing waits for an object store, however many of its cells are unforeseen.

use std::cell::{Cell, RefCell};
use std::fs;
use std::rc::Rc;

use stitch_common::output::Report;
use stitch_testkit::objects::{Fault, MemoryStore};

use super::restored;
use crate::testing::world::Fake;

/// A namespace with totals, in a store that counts the requests made while the range is locked.
struct Watched {
    fake: Fake,
    under_the_lock: Rc<Cell<u64>>,
    /// What the store looks at.
    seen: Rc<RefCell<Option<Fake>>>,
}

impl Watched {
    fn new(keys: &[&str]) -> Self {
        let fake = Fake::with_plays(keys);
        let under_the_lock = Rc::new(Cell::new(0));
        let seen: Rc<RefCell<Option<Fake>>> = Rc::default();
        let (counted, servers) = (Rc::clone(&under_the_lock), Rc::clone(&seen));
        let store = MemoryStore::new(Rc::default(), move |_, _| {
            let is_locked = |fake: &Fake| fake.exists("/ranges/0/_c_");
            let is_locked = servers.borrow().as_ref().is_some_and(is_locked);
            counted.set(counted.get() + u64::from(is_locked));
            Fault::None
        });
        *seen.borrow_mut() = Some(fake.clone());
        fake.stores.borrow_mut().totals = Some(store);
        fake.plan(None).unwrap();
        Self {
            fake,
            under_the_lock,
            seen,
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The store belongs to what it looks at.
        self.seen.take();
    }
}

#[test]
fn no_object_is_read_while_a_range_is_locked() {
    let watched = Watched::new(&["in flight", "later", "right"]);
    let fake = &watched.fake;
    // Known before the lock: it never rests.
    fake.produce("in flight");
    fake.hold("in flight", 9);
    // Not foreseen: it becomes dirty while the lock is waited for.
    fake.before("create /revocations/", |fake| {
        fake.produce("later");
        fake.hold("later", 7);
    });
    let report = restored(fake);
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 2));
    assert_eq!(["in flight", "later"].map(|key| fake.held(key)), [1, 1]);
    assert_eq!(watched.under_the_lock.get(), 0);
}

/// What has passed between the look-up and the cut is added to what was looked up.
#[test]
fn events_that_are_counted_while_the_lock_is_waited_for_are_expected() {
    let watched = Watched::new(&["a", "b"]);
    let fake = &watched.fake;
    fake.produce("a");
    fake.produce("b");
    fake.hold("b", 5);
    fake.before("create /revocations/", |fake| {
        fake.hold("a", 2);
        fake.progress(fake.end());
    });
    let report = restored(fake);
    assert_eq!((report.outcome(), report.cells.corrected), ("verified", 1));
    assert_eq!(["a", "b"].map(|key| fake.held(key)), [2, 2]);
}

/// Nothing is locked by a restoration that cannot keep what it would have to look up.
#[test]
fn a_spill_folder_that_cannot_be_used_is_named_before_anything_is_locked() {
    let watched = Watched::new(&["a"]);
    let fake = &watched.fake;
    fake.before("scan", |fake| {
        fs::remove_dir_all(&fake.config.totals.spill).unwrap();
    });
    let report = restored(fake);
    let failure = report.error().unwrap();
    assert!(failure.message.contains("cannot be used"), "{failure}");
    assert!(failure.help.contains("\"spill\" in [totals]"), "{failure}");
    assert_eq!(fake.times("create /ranges/0/_c_"), 0);
}
