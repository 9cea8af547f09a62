//! A history before it happens: how large the world is, what is produced, what is restored when, and what goes wrong.
//! Drawn from a seed; what a run lacks altogether is drawn first (swarm testing). It is plain data, so that it can be
//! made smaller.

mod theme;

use std::fmt;

pub use theme::Theme;

use crate::checker::{EVENTS_MAX, KEYS};
use crate::executor::Micros;
use crate::notes::Phase;
use crate::rng::Rng;

macro_rules! faults {
    ($($fault:ident $name:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]

        pub enum Fault { $($fault,)* }

        impl Fault {
            /// Every kind.
            pub const EVERY: &[Self] = &[$(Self::$fault,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fault => $name,)* }
            }
        }
    };
}

faults! {
    Kill "kill",
    Freeze "freeze",
    FreezeTwice "freeze twice",
    Slow "slow",
    Stop "clean stop",
    Unlink "ZooKeeper connection breaks",
    CutKeeper "cut off from ZooKeeper",
    Election "ZooKeeper election",
    NodeFreeze "node frozen",
    NodeKill "node killed",
    Cut "cut off from a node",
    Unavailable "increments unavailable",
    Timeouts "increments time out",
    Late "increments late",
    Untold "replicas not told",
    Narrow "large batches refused",
    Delete "cell deleted by hand",
    Rebalance "rebalance",
    Evict "put out of the group",
    BrokersDown "brokers down",
    SlowFeed "slow feed",
    StalledFeed "stalled feed",
    Overdue "increments overdue",
    SlowKeeper "ZooKeeper answers slowly",
    Spoil "cell changed by hand",
    Unlock "partition lock deleted by hand",
    Produce "event just then",
}

impl Fault {
    pub(crate) const COUNT: usize = Self::EVERY.len();

    /// Its place in [`Fault::EVERY`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// When a fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(Micros),
    /// So long after this has happened so often since `from`; it hits whoever did it, if that is a process.
    After {
        /// Counted from here on.
        from: Micros,
        /// What happens.
        phase: Phase,
        /// What happens next, if that is waited for, too.
        next: Option<Phase>,
        /// How often.
        times: u32,
        /// How long after.
        delay: Micros,
    },
}

impl When {
    /// Waits longer.
    const fn delay_by(&mut self, more: Micros) {
        match self {
            Self::At(at) => *at += more,
            Self::After { delay, .. } => *delay += more,
        }
    }
}

/// What ends a fault before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// This happens,
    pub phase: Phase,
    /// and so much time passes.
    pub delay: Micros,
}

/// A fault of one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injected {
    /// What.
    pub fault: Fault,
    /// When.
    pub when: When,
    /// Which process, unless `when` says.
    pub seat: usize,
    /// Which node,
    pub node: usize,
    /// unless it is the one at which that happened.
    pub aimed: bool,
    /// How long it lasts,
    pub length: Micros,
    /// unless it ends before.
    pub until: Option<Until>,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} ms", self.fault.name(), self.length / 1000)
    }
}

/// Something that is produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// When.
    pub at: Micros,
    /// Where.
    pub partition: usize,
    /// With which keys; none for a record that cannot be used.
    pub keys: Option<(usize, usize)>,
}

/// A command of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// When.
    pub at: Micros,
    /// `plan`, which changes nothing, or `run`.
    pub only_plan: bool,
    /// One range, or all.
    pub range: Option<u16>,
    /// Asked to stop after so long.
    pub stop_after: Option<Micros>,
}

/// A history before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The seed of every delay and order.
    pub noise: u64,
    /// Two to the power of this ranges.
    pub bits: u8,
    /// Partitions of the topic.
    pub partitions: usize,
    /// Seats of processors.
    pub processors: usize,
    /// A packet takes up to so long.
    pub latency: Micros,
    /// Parts of a million by which the clock of each seat runs ahead; the last is the restorator's.
    pub drifts: Vec<i64>,
    /// Requests that a processor has on their way at once.
    pub in_flight: usize,
    /// Ranges that are restored at once.
    pub side_by_side: usize,
    /// Cells that need not be closed in on.
    pub unjudged: usize,
    /// Cells that are corrected under one lock; as many as there are, without.
    pub portion: Option<usize>,
    /// How long a processor may take to stop.
    pub stop_timeout: Micros,
    /// Events come without a pause while the last range is asked for.
    pub crowd: bool,
    /// Which story it takes up, if it is one.
    pub theme: Option<Theme>,
    /// When faults stop.
    pub calm_at: Micros,
    /// What is produced.
    pub events: Vec<Produced>,
    /// What is restored.
    pub orders: Vec<Ordered>,
    /// What goes wrong.
    pub faults: Vec<Injected>,
}

/// When production ends, and about when the last fault begins.
pub(crate) const BUSY: Micros = 3_500_000;
/// Events that are produced when faults have stopped.
pub(crate) const LAST_EVENTS: usize = 4;
/// As many as are produced then in a crowd.
pub(crate) const CROWD: usize = 44;
/// Of a hundred histories, so many take up a story.
const STORIES: u64 = 50;

/// What faults like to follow: the moments around which the rules are made.
const MOMENTS: &[Phase] = &[
    Phase::Joined,
    Phase::Dealt,
    Phase::Revoked,
    Phase::Taken,
    Phase::Returned,
    Phase::Shared,
    Phase::Yielded,
    Phase::Sent,
    Phase::Sent,
    Phase::Sent,
    Phase::Applied,
    Phase::Unknown,
    Phase::Doubtful,
    Phase::Listed,
    Phase::Marked,
    Phase::Told,
    Phase::Calming,
    Phase::Begun,
    Phase::Audited,
    Phase::ClosedIn,
    Phase::Queued,
    Phase::Asked,
    Phase::Granted,
    Phase::Cut,
    Phase::Touched,
    Phase::ReadUnderLock,
    Phase::Journaled,
    Phase::Corrected,
    Phase::AppliedAll,
    Phase::Read,
];

impl History {
    /// The history of this seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let rng = Rng::new(seed);
        let partitions = rng.index(3) / 2 + 1;
        let processors = rng.index(4) / 2 + 1;
        let kinds: Vec<Fault> = Fault::EVERY
            .iter()
            .copied()
            .filter(|_| rng.percent(25))
            .collect();
        let drift = |bound: u64| {
            i64::try_from(rng.below(2 * bound + 1)).unwrap_or_default()
                - i64::try_from(bound).unwrap_or_default()
        };
        let drifts_apart = rng.percent(30);
        let drifts = (0..=processors).map(|_| if drifts_apart { drift(10_000) } else { 0 });
        let drifts = drifts.collect();
        let bits = u8::from(rng.percent(50));
        let mut history = Self {
            bits,
            partitions,
            processors,
            latency: rng.pick(&[500, 2000, 8000]),
            drifts,
            in_flight: rng.pick(&[1, 2, 8]),
            side_by_side: rng.pick(&[1, 2]),
            unjudged: rng.pick(&[0, 1000]),
            portion: rng.pick(&[None, None, Some(1), Some(2)]),
            stop_timeout: rng.pick(&[1_200_000, 1_200_000, 300_000]),
            crowd: false,
            theme: None,
            calm_at: BUSY + rng.pick(&[BUSY / 8, BUSY / 2]),
            events: events(&rng, partitions),
            orders: orders(&rng, bits),
            faults: faults(&rng, &kinds, processors),
            noise: rng.next(),
        };
        if rng.percent(STORIES) {
            // Now and then something else happens, too.
            let others = rng.pick(&[0, 0, 1]);
            history.faults.truncate(others);
            let others = std::mem::take(&mut history.faults);
            rng.pick(Theme::EVERY).tell(&rng, &mut history);
            history.faults.extend(others);
        }
        history
    }
}

fn events(rng: &Rng, partitions: usize) -> Vec<Produced> {
    let count = 4 + rng.index(20);
    let mut at = 0;
    let keys = 1 + rng.index(KEYS.len());
    let mut events = Vec::with_capacity(count.min(EVENTS_MAX));
    let pause = 2 * BUSY / 24;
    for _ in 0..count {
        // Bursts, and pauses between them.
        at += if rng.percent(50) {
            rng.below(3000)
        } else {
            rng.below(pause)
        };
        let keys = rng.percent(95).then(|| (rng.index(keys), rng.index(keys)));
        events.push(Produced {
            at,
            partition: rng.index(partitions),
            keys,
        });
    }
    events
}

fn orders(rng: &Rng, bits: u8) -> Vec<Ordered> {
    let count = rng.pick(&[0, 1, 1, 1, 2, 2, 3]);
    let order = |_| Ordered {
        at: rng.below(BUSY),
        only_plan: rng.percent(20),
        range: (bits > 0 && rng.percent(20)).then(|| u16::from(rng.percent(50))),
        stop_after: rng.percent(10).then(|| rng.below(3_000_000)),
    };
    let mut orders: Vec<Ordered> = (0..count).map(order).collect();
    orders.sort_by_key(|order| order.at);
    orders
}

fn faults(rng: &Rng, kinds: &[Fault], processors: usize) -> Vec<Injected> {
    // Faults that an operator is warned of have a theme of their own.
    let kinds: Vec<Fault> = kinds
        .iter()
        .copied()
        .filter(|kind| *kind != Fault::Unlock)
        .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let count = rng.index(7);
    let fault = |_| {
        let when = if rng.percent(30) {
            When::At(rng.below(BUSY))
        } else {
            When::After {
                from: if rng.percent(40) { 0 } else { rng.below(BUSY) },
                phase: rng.pick(MOMENTS),
                next: None,
                times: 1 + u32::from(rng.percent(40)) + u32::from(rng.percent(20)),
                delay: rng.pick(&[0, 300, 1500, 20_000]),
            }
        };
        Injected {
            fault: rng.pick(&kinds),
            when,
            // The last seat is the restorator's.
            seat: rng.index(processors + 1),
            node: rng.index(crate::cassandra::NODES),
            aimed: rng.percent(50),
            until: rng.percent(15).then(|| Until {
                phase: rng.pick(MOMENTS),
                delay: rng.pick(&[0, 1500]),
            }),
            length: match rng.below(4) {
                0 => rng.between(5000, 100_000),
                1 => rng.between(100_000, 500_000),
                2 => rng.between(400_000, 900_000),
                _ => rng.between(900_000, 3_000_000),
            },
        }
    };
    (0..count).map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_history_and_another_seed_another() {
        assert_eq!(History::of(5), History::of(5));
        assert_ne!(History::of(5), History::of(6));
    }

    #[test]
    fn no_history_has_more_events_than_amounts_can_tell_apart() {
        for seed in 0..500 {
            let history = History::of(seed);
            let produced = history
                .faults
                .iter()
                .filter(|one| one.fault == Fault::Produce);
            let last = if history.crowd { CROWD } else { LAST_EVENTS };
            let events = history.events.len() + produced.count() + last;
            assert!(events <= EVENTS_MAX, "seed {seed}: {events}");
        }
    }
}
