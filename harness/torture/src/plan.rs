//! The plan of a history, drawn from its seed before anything happens.

mod fault;

use std::collections::BTreeSet;
use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kind::Kind;

pub(crate) use fault::{Fault, Line, Server, Treatment};

/// Nodes of Cassandra and of ZooKeeper.
pub(crate) const NODES: usize = 3;
/// Ranges of a namespace: `[ranges] bits = 4`.
const RANGES: u32 = 16;
/// Some of the product's failpoints: between two steps of a restoration.
pub(crate) const POINTS: [&str; 9] = [
    "r1-planned",
    "r2-asked",
    "r2-granted",
    "r3-cut",
    "r5-read",
    "r6-journaled",
    "r6-applied",
    "r7-verified",
    "r8-released",
];

/// The plan of one history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) kinds: BTreeSet<Kind>,
    /// The processors, by how each reaches the servers.
    pub(crate) slots: Vec<Way>,
    pub(crate) partitions: i32,
    /// Events that are counted before the first fault.
    pub(crate) first_events: usize,
    pub(crate) events_per_second: u32,
    pub(crate) skew: f64,
    /// The faults, in order of time.
    pub(crate) strikes: Vec<Strike>,
    /// Restorations while faults happen.
    pub(crate) attempts: Vec<Attempt>,
    /// Whether one more starts as soon as the faults stop, before anything has recovered.
    pub(crate) hasty: bool,
    /// Whether archivers run, and are killed, and the log loses all of its records before the last restoration.
    pub(crate) loses_log: bool,
}

/// How a process reaches the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Straight,
    /// Through the lines of its history.
    Proxied,
}

/// A fault at its time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strike {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// A restoration while faults happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) at: Duration,
    pub(crate) way: Way,
    /// First and last range; none: all.
    pub(crate) ranges: Option<(u32, u32)>,
    pub(crate) hazard: Option<Hazard>,
    /// Whether it waits for quiescence for as long as a busy machine may need.
    pub(crate) patient: bool,
}

impl Attempt {
    /// Starts at once, and has to verify everything.
    pub(crate) const WHOLE: Self = Self {
        at: Duration::ZERO,
        way: Way::Straight,
        ranges: None,
        hazard: None,
        patient: true,
    };
}

/// What happens to a restoration at a certain step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hazard {
    /// It kills itself at this failpoint, as `kill -9` would.
    Dies(&'static str),
    /// It pauses at this failpoint, with the locks that it holds.
    Lingers(&'static str, Duration),
    /// Its journal is on a disk that is soon full.
    FullDisk,
}

impl Plan {
    /// Draws the history of this seed.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
        let kinds = dice.kinds();
        let on_servers = kinds.iter().any(|kind| kind.hits_servers());
        let length = dice.between(10_000, if on_servers { 22_000 } else { 18_000 });
        let slots = dice.slots();
        Self {
            seed,
            partitions: dice.0.random_range(2..=6),
            first_events: dice.0.random_range(200..=600),
            events_per_second: dice.0.random_range(10..=40),
            skew: dice.0.random_range(0.8..1.4),
            strikes: dice.strikes(&kinds, slots.len(), length),
            attempts: dice.attempts(&kinds, length),
            hasty: dice.chance(0.6),
            // Drawn apart: what else is drawn stays what it was.
            loses_log: Dice(ChaCha8Rng::seed_from_u64(!seed)).chance(0.5),
            slots,
            kinds,
        }
    }

    /// Whether it has faults of servers, which affect other histories.
    pub(crate) fn hits_servers(&self) -> bool {
        self.kinds.iter().any(|kind| kind.hits_servers())
    }
}

/// Draws parts of a plan, each with its probability.
struct Dice(ChaCha8Rng);

impl Dice {
    fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }

    fn between(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from_ms..=to_ms))
    }

    fn kinds(&mut self) -> BTreeSet<Kind> {
        let mut kinds = BTreeSet::new();
        let on_servers = self.chance(0.4);
        let mut draw = |from: &[Kind], probability| {
            let random = &mut self.0;
            kinds.extend(from.choose(random));
            kinds.extend(
                from.iter()
                    .filter(|_| random.random_bool(probability))
                    .copied(),
            );
        };
        draw(&Kind::OWN, 0.35);
        if on_servers {
            draw(&Kind::SERVERS, 0.25);
        }
        kinds
    }

    fn way(&mut self) -> Way {
        if self.chance(0.5) {
            Way::Proxied
        } else {
            Way::Straight
        }
    }

    /// One proxied processor and one that is not, so that a cut separates only some of them; perhaps a third.
    fn slots(&mut self) -> Vec<Way> {
        let mut slots = vec![Way::Straight, Way::Proxied];
        if self.chance(0.4) {
            slots.push(self.way());
        }
        slots
    }

    fn strikes(&mut self, kinds: &BTreeSet<Kind>, slots: usize, length: Duration) -> Vec<Strike> {
        let mut strikes = Vec::new();
        let mut kinds: Vec<Kind> = kinds
            .iter()
            .copied()
            .filter(|kind| *kind != Kind::FullDisk)
            .collect();
        let mut at = self.between(200, 1500);
        while at < length {
            let Some(&kind) = kinds.choose(&mut self.0) else {
                break;
            };
            strikes.extend(self.fault(kind, slots).map(|fault| Strike { at, fault }));
            if kind.takes_long() {
                // Once in a history: recovery takes a while.
                kinds.retain(|other| *other != kind);
            }
            at += self.between(200, 2500);
        }
        strikes
    }

    fn attempts(&mut self, kinds: &BTreeSet<Kind>, length: Duration) -> Vec<Attempt> {
        let number = self.0.random_range(1..=3);
        let mut attempts: Vec<Attempt> = (0..number).map(|_| self.attempt(kinds, length)).collect();
        attempts.sort_by_key(|attempt| attempt.at);
        if kinds.contains(&Kind::FullDisk)
            && let Some(first) = attempts.first_mut()
        {
            // The first: before others have corrected everything.
            first.hazard = Some(Hazard::FullDisk);
        }
        attempts
    }

    fn attempt(&mut self, kinds: &BTreeSet<Kind>, length: Duration) -> Attempt {
        let at = length.mul_f64(self.0.random());
        let first = self.0.random_range(0..RANGES);
        let last = self.0.random_range(first..RANGES);
        let ranges = self.chance(0.25).then_some((first, last));
        let point = POINTS.choose(&mut self.0).copied();
        let lingering = self.between(500, 6000);
        let hazard = if kinds.contains(&Kind::KillRestorator) && self.chance(0.5) {
            point.map(Hazard::Dies)
        } else if kinds.contains(&Kind::FreezeRestorator) && self.chance(0.4) {
            point.map(|point| Hazard::Lingers(point, lingering))
        } else {
            None
        };
        Attempt {
            at,
            way: self.way(),
            ranges,
            hazard,
            patient: false,
        }
    }
}

impl Kind {
    const fn takes_long(self) -> bool {
        matches!(
            self,
            Self::KillCassandra | Self::RestartKafka | Self::LoseLeader | Self::Rebalance
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_histories_and_others_draw_others() {
        assert_eq!(Plan::draw(7), Plan::draw(7));
        assert_ne!(Plan::draw(7).strikes, Plan::draw(8).strikes);
    }

    #[test]
    fn every_kind_of_fault_occurs_in_some_histories_and_not_in_others() {
        let plans: Vec<Plan> = (0..200).map(Plan::draw).collect();
        for kind in Kind::every() {
            let strikes = |plan: &Plan| {
                plan.strikes
                    .iter()
                    .any(|strike| strike.fault.kind() == kind)
            };
            let hazardous = |plan: &Plan| {
                plan.attempts
                    .iter()
                    .any(|attempt| attempt.hazard == Some(Hazard::FullDisk))
            };
            let with = plans
                .iter()
                .filter(|plan| {
                    if kind == Kind::FullDisk {
                        hazardous(plan)
                    } else {
                        strikes(plan)
                    }
                })
                .count();
            assert!(
                (10..190).contains(&with),
                "{kind}: in {with} of 200 histories"
            );
        }
    }

    #[test]
    fn faults_are_only_of_the_kinds_that_were_drawn() {
        for plan in (0..200).map(Plan::draw) {
            for strike in &plan.strikes {
                assert!(
                    plan.kinds.contains(&strike.fault.kind()),
                    "seed {}: {strike:?}",
                    plan.seed
                );
            }
        }
    }

    #[test]
    fn failpoints_exist_in_the_product() {
        let product = include_str!("../../../restorator/src/failpoint.rs");
        for point in POINTS {
            assert!(product.contains(&format!("\"{point}\"")), "{point}");
        }
    }
}
