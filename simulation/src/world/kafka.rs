//! A Kafka in memory: one topic, feeds that may be slow, and one consumer group that assigns partitions, revokes them, and
//! loses members.

mod feed;
mod group;
mod port;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::offset::{Offset, Partition};
use stitch_testkit::kafka::Log;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Waiters;

use super::World;
use group::Member;

/// The group's session timeout; also the longest time that a member keeps revoked partitions.
const SESSION_TIMEOUT: Micros = 1_500_000;

/// The topic and its group.
#[derive(Default)]
pub(crate) struct Kafka {
    pub(crate) log: RefCell<Log>,
    appended: Waiters,
    /// The rejected records that were copied: partition and offset.
    pub(crate) dead_letters: RefCell<Vec<(i32, i64)>>,
    members: RefCell<Vec<Rc<Member>>>,
    committed: RefCell<BTreeMap<Partition, Offset>>,
    /// By how many members the assignment is rotated.
    rotation: Cell<usize>,
    /// No broker answers before this moment.
    down_until: Cell<Micros>,
    /// The longest time by which a delivery is delayed.
    pub(crate) slowness: Cell<Micros>,
}

impl World {
    /// Appends a record.
    pub(crate) fn append(&self, partition: Partition, value: String) {
        self.kafka.log.borrow_mut().append(partition, value);
        self.kafka.appended.wake();
    }

    pub(crate) fn brokers_down(&self, until: Micros) {
        self.kafka.down_until.set(until);
    }

    fn broker_answers(&self) -> bool {
        self.now() >= self.kafka.down_until.get()
    }
}
