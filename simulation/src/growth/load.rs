//! The events of a fleet: as many in each partition, of all ranges in turn. Each has a counter of its partition, too: what
//! that holds says which events are visible.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stitch_common::cell::Counter;
use stitch_common::offset::Partition;
use stitch_common::ports::CounterBatch;
use stitch_common::range::RangeBits;
use stitch_testkit::time::Micros;

use crate::world::World;

/// Events are appended at multiples of this.
const TICK: Micros = 10_000;

/// Produces events.
pub(super) struct Load {
    world: Rc<World>,
    /// A key of each range.
    keys: Vec<String>,
    /// The time between two events of a partition; none while nothing is produced.
    interval: Cell<Option<Micros>>,
    produced: Cell<usize>,
    visible: Rc<Visible>,
}

/// By partition, how many events are not visible yet.
struct Visible(RefCell<Vec<i64>>);

impl Visible {
    fn applied(&self, batch: &CounterBatch) {
        let key = batch.counter.key.0.strip_prefix('p');
        if let Some(partition) = key.and_then(|key| key.parse::<usize>().ok()) {
            let amounts = batch.amounts.iter();
            self.0.borrow_mut()[partition] -= amounts.map(|(_, amount)| amount.0).sum::<i64>();
        }
    }
}

/// A key of counter `a` in each range.
fn keys(bits: RangeBits) -> Vec<String> {
    let mut keys = vec![None; usize::from(bits.count())];
    let mut missing = keys.len();
    for key in (0_u64..).map(|number| format!("k{number}")) {
        let range = bits.range_of(Counter::new("a", key.as_str()).token());
        let slot = &mut keys[usize::from(range.0)];
        if slot.is_none() {
            *slot = Some(key);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    keys.into_iter().flatten().collect()
}

impl Load {
    pub(super) fn new(world: &Rc<World>, partitions: usize) -> Rc<Self> {
        let visible = Rc::new(Visible(RefCell::new(vec![0; partitions])));
        let of = Rc::clone(&visible);
        *world.on_applied.borrow_mut() = Some(Box::new(move |batch| of.applied(batch)));
        Rc::new(Self {
            world: Rc::clone(world),
            keys: keys(world.bits),
            interval: Cell::new(None),
            produced: Cell::new(0),
            visible,
        })
    }

    pub(super) fn set_interval(&self, interval: Option<Micros>) {
        self.interval.set(interval);
    }

    /// Appends an event of this range to the partition.
    pub(super) fn append(&self, partition: usize, range: usize) {
        let key = &self.keys[range];
        let value = format!(r#"{{"type":"e","time":0,"a":"{key}","b":"p{partition}","n":1}}"#);
        self.visible.0.borrow_mut()[partition] += 1;
        let partition = Partition(i32::try_from(partition).expect("few partitions"));
        self.world.append(partition, value);
    }

    /// Whether every event is visible.
    pub(super) fn is_counted(&self) -> bool {
        self.visible.0.borrow().iter().all(|waiting| *waiting == 0)
    }

    /// Produces until the world ends, each partition at its own moments.
    pub(super) async fn produce(self: Rc<Self>) {
        let partitions = self.visible.0.borrow().len();
        for tick in 1.. {
            self.world.executor.until(tick * TICK).await;
            let Some(interval) = self.interval.get() else {
                continue;
            };
            let ticks = interval / TICK;
            for partition in 0..partitions {
                let phase = u64::try_from(partition).expect("few partitions");
                if tick % ticks == phase % ticks {
                    let number = self.produced.replace(self.produced.get() + 1);
                    self.append(partition, number % self.keys.len());
                }
            }
        }
    }
}
