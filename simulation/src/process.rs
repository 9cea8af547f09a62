//! A process: what its tasks have in common. It may be slow, frozen or dead, its clock may drift, and its calendar jumps.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use chrono::{DateTime, Utc};
use stitch_common::clock::{Clock, Moment};

use crate::executor::{Executor, Micros};
use crate::slot::Waiting;

/// What a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Processor,
    Restorator,
}

/// Where a process runs: its place in the fleet. One that is started again has the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat(pub(crate) usize);

/// One process, from its start to its end.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) seat: Seat,
    pub(crate) role: Role,
    /// Parts of a million by which its clock runs ahead.
    drift: i64,
    frozen: Cell<bool>,
    dead: Cell<bool>,
    lag: Cell<Micros>,
    stalled: RefCell<Vec<Waker>>,
    freezes: Cell<u32>,
    death: Waiting,
    calendar: Cell<u64>,
    /// Its feeds deliver nothing until then.
    pub(crate) stalled_until: Cell<Micros>,
}

impl Process {
    pub(crate) fn new(number: usize, seat: Seat, role: Role, drift: i64) -> Self {
        Self {
            number,
            seat,
            role,
            drift,
            frozen: Cell::new(false),
            dead: Cell::new(false),
            lag: Cell::new(0),
            stalled: RefCell::default(),
            freezes: Cell::new(0),
            death: Waiting::default(),
            calendar: Cell::new(number as u64),
            stalled_until: Cell::new(0),
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

    /// How often it was frozen.
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

    /// Whoever waits for its death.
    pub(crate) const fn death(&self) -> &Waiting {
        &self.death
    }

    pub(crate) fn stall(&self, waker: Waker) {
        self.stalled.borrow_mut().push(waker);
    }

    pub(crate) fn lag(&self) -> Micros {
        self.lag.get()
    }

    pub(crate) fn set_lag(&self, lag: Micros) {
        self.lag.set(lag);
    }

    /// What its calendar shows, in seconds since 1970: at every look another day, years before or after the last one,
    /// as no machine has it. Whatever hangs on the calendar goes wrong here.
    fn calendar(&self) -> i64 {
        const YEAR_2100_S: u64 = 4_102_444_800;
        // Knuth's generator: the world's own dice fall as they would without it.
        let next = self.calendar.get().wrapping_mul(6_364_136_223_846_793_005);
        self.calendar
            .set(next.wrapping_add(1_442_695_040_888_963_407));
        i64::try_from((self.calendar.get() >> 16) % YEAR_2100_S).unwrap_or_default()
    }

    /// What its clock shows for a stretch of the world's time.
    fn shown(&self, real: Micros) -> Micros {
        let more = i128::from(real) * i128::from(self.drift) / 1_000_000;
        u64::try_from(i128::from(real) + more).unwrap_or(real)
    }

    /// How much of the world's time passes while its clock shows this stretch.
    pub(crate) fn real(&self, shown: Micros) -> Micros {
        let real = i128::from(shown) * 1_000_000 / i128::from(1_000_000 + self.drift);
        u64::try_from(real + 1).unwrap_or(shown)
    }
}

/// The clock of one process.
#[derive(Clone)]
pub(crate) struct ProcessClock {
    pub(crate) executor: Rc<Executor>,
    pub(crate) process: Rc<Process>,
}

pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 4)
}

impl Clock for ProcessClock {
    fn now(&self) -> Moment {
        let shown = self.process.shown(self.executor.now());
        Moment::new(Duration::from_micros(1_000_000 + shown))
    }

    fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.process.calendar(), 0).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> {
        let real = self.process.real(micros(duration));
        self.executor
            .until(self.executor.now().saturating_add(real))
    }
}
