//! A Kafka in memory: one topic, feeds that may be slow, and one consumer group that assigns partitions, revokes them, and
//! loses members. There are several brokers: one that was deposed as leader and does not know it answers a process with
//! the log as it was.

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
use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
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
    /// The dead-letter topic refuses records.
    pub(crate) refuses_dead_letters: Cell<bool>,
    /// No client may read the topic.
    unauthorized: Cell<bool>,
    /// The longest time by which a delivery is delayed.
    pub(crate) slowness: Cell<Micros>,
}

impl World {
    /// Appends a record.
    pub(crate) fn append(&self, partition: Partition, value: String) {
        self.kafka.log.borrow_mut().append(partition, value);
        self.kafka.appended.wake();
    }

    /// Deletes the records of a partition below `offset`, as retention does.
    pub(crate) fn delete_log_below(&self, partition: Partition, offset: Offset) {
        let mut log = self.kafka.log.borrow_mut();
        if offset <= log.begin(partition) {
            return;
        }
        log.delete_below(partition, offset);
        drop(log);
        self.record(Actor::Kafka, Tracepoint::LogDeleted, || {
            format!("partition {partition} begins at {offset}")
        });
        self.kafka.appended.wake();
    }

    /// Deletes the topic and creates it again.
    #[cfg(test)]
    pub(crate) fn recreate_topic(&self) {
        self.kafka.log.borrow_mut().recreate();
        self.kafka.appended.wake();
    }

    pub(crate) fn brokers_down(&self, until: Micros) {
        self.kafka.down_until.set(until);
    }

    /// From now on a deposed leader answers this process.
    pub(crate) fn depose_leader_of(&self, process: &Process) {
        let log = self.kafka.log.borrow().clone();
        *process.old_log.borrow_mut() = Some(Rc::new(log));
    }

    /// The process finds the leader.
    pub(crate) fn find_leader(&self, process: &Process) {
        process.old_log.borrow_mut().take();
        self.kafka.appended.wake();
    }

    /// The log as the broker knows it that answers this process.
    fn log_for<T>(&self, process: &Process, read: impl FnOnce(&Log) -> T) -> T {
        let old = process.old_log.borrow().clone();
        match old {
            Some(old) => read(&old),
            None => read(&self.kafka.log.borrow()),
        }
    }

    /// Clients may, or may not, read the topic from now on.
    pub(crate) fn authorize(&self, authorized: bool) {
        self.kafka.unauthorized.set(!authorized);
        self.kafka.appended.wake();
    }

    fn broker_answers(&self) -> bool {
        self.now() >= self.kafka.down_until.get()
    }
}
