//! A process: the state that its tasks share. It may be slow, frozen or dead; its clock may drift, and its calendar jumps.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use stitch_testkit::kafka::Log;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Waiters;

/// The program that a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Processor,
    Restorator,
    Archiver,
    /// Builds totals.
    Builder,
    /// Loads batch counts.
    Batch,
}

/// The position of a process in the fleet: its successor after a restart has the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProcessSlot(pub(crate) usize);

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) slot: ProcessSlot,
    pub(crate) role: Role,
    /// How fast its clock runs ahead, in parts per million.
    drift: i64,
    /// How often its driver probes an idle connection, and how long it waits for the answer.
    pub(crate) keepalive: Micros,
    frozen: Cell<bool>,
    dead: Cell<bool>,
    lag: Cell<Micros>,
    stalled: RefCell<Vec<Waker>>,
    freezes: Cell<u32>,
    death: Waiters,
    calendar: Cell<u64>,
    /// Its feeds deliver nothing before this moment.
    pub(crate) feeds_stalled_until: Cell<Micros>,
    /// The log as it was when the broker that answers this process was deposed without knowing it.
    pub(crate) old_log: RefCell<Option<Rc<Log>>>,
}

impl Process {
    pub(crate) fn new(
        number: usize,
        slot: ProcessSlot,
        role: Role,
        drift: i64,
        keepalive: Micros,
    ) -> Self {
        Self {
            number,
            slot,
            role,
            drift,
            keepalive,
            frozen: Cell::new(false),
            dead: Cell::new(false),
            lag: Cell::new(0),
            stalled: RefCell::default(),
            freezes: Cell::new(0),
            death: Waiters::default(),
            calendar: Cell::new(number as u64),
            feeds_stalled_until: Cell::new(0),
            old_log: RefCell::default(),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.get()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    pub(crate) fn freeze(&self) {
        self.frozen.set(true);
        self.freezes.set(self.freezes.get() + 1);
    }

    pub(crate) fn freezes(&self) -> u32 {
        self.freezes.get()
    }

    pub(crate) fn thaw(&self) -> Vec<Waker> {
        self.frozen.set(false);
        self.stalled.take()
    }

    pub(crate) fn die(&self) {
        self.dead.set(true);
        self.death.wake();
    }

    /// Waits until the process is dead.
    pub(crate) async fn death(&self) {
        self.death.until(|| self.is_dead().then_some(())).await;
    }

    /// Keeps the waker of a task that could run if the process were not frozen.
    pub(crate) fn stall(&self, waker: Waker) {
        self.stalled.borrow_mut().push(waker);
    }

    pub(crate) fn lag(&self) -> Micros {
        self.lag.get()
    }

    pub(crate) fn set_lag(&self, lag: Micros) {
        self.lag.set(lag);
    }

    /// The calendar time, in seconds since 1970. Each reading is years before or after the last one, as on no real
    /// machine: whatever depends on the calendar fails.
    pub(crate) fn calendar(&self) -> i64 {
        const YEAR_2100_S: u64 = 4_102_444_800;
        // Knuth's generator: the numbers of the world's own one stay as they are.
        let next = self.calendar.get().wrapping_mul(6_364_136_223_846_793_005);
        self.calendar
            .set(next.wrapping_add(1_442_695_040_888_963_407));
        i64::try_from((self.calendar.get() >> 16) % YEAR_2100_S).unwrap_or_default()
    }

    /// How much time passes on its clock during this much of the world's time.
    pub(crate) fn shown(&self, real: Micros) -> Micros {
        let more = i128::from(real) * i128::from(self.drift) / 1_000_000;
        u64::try_from(i128::from(real) + more).unwrap_or(real)
    }

    /// How much of the world's time passes during this much time on its clock.
    pub(crate) fn real(&self, shown: Micros) -> Micros {
        let real = i128::from(shown) * 1_000_000 / i128::from(1_000_000 + self.drift);
        u64::try_from(real + 1).unwrap_or(shown)
    }
}
