//! A Kafka in memory: one topic, feeds that may be slow, and one consumer group that deals partitions out, takes them
//! back, and loses members.

mod feed;
mod group;
mod log;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::ports::Record;

pub(crate) use group::Member;
pub(crate) use log::identity;

use crate::executor::Micros;
use crate::slot::Waiting;
use crate::world::World;

/// After which the group takes a silent member for dead, and how long revoked partitions are held at most.
pub(crate) const SESSION: Micros = 1_500_000;

/// The topic and its group.
#[derive(Default)]
pub(crate) struct Topic {
    pub(crate) records: RefCell<Vec<Vec<Record>>>,
    pub(crate) appended: Waiting,
    /// Rejected records that were copied away: partition and offset.
    pub(crate) dead_letters: RefCell<Vec<(i32, i64)>>,
    pub(crate) members: RefCell<Vec<Rc<Member>>>,
    committed: RefCell<BTreeMap<i32, i64>>,
    /// Turns the deal by so many members.
    turn: Cell<usize>,
    /// No broker answers until then.
    down_until: Cell<Micros>,
    /// A delivery takes up to so long.
    pub(crate) slowness: Cell<Micros>,
}

impl World {
    /// Appends a record.
    pub(crate) fn append(&self, partition: usize, value: String) {
        let mut records = self.topic.records.borrow_mut();
        let log = &mut records[partition];
        let offset = i64::try_from(log.len()).unwrap_or(i64::MAX);
        log.push(Record {
            offset: stitch_common::offset::Offset(offset),
            key: None,
            value: Some(value.into_bytes().into()),
        });
        drop(records);
        self.topic.appended.wake();
    }

    pub(crate) fn brokers_down(&self, until: Micros) {
        self.topic.down_until.set(until);
    }

    fn broker_answers(&self) -> bool {
        self.now() >= self.topic.down_until.get()
    }

    pub(crate) fn end_of(&self, partition: usize) -> i64 {
        let records = self.topic.records.borrow();
        i64::try_from(records[partition].len()).unwrap_or(i64::MAX)
    }
}
