//! What one fleet asks of ZooKeeper, phase by phase.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use stitch_common::ports::Stores;
use stitch_common::range::RangeBits;
use stitch_control::restoration_record::RestorationState;
use stitch_testkit::time::Micros;
use tokio_util::sync::CancellationToken;

use super::load::Load;
use super::shape::Shape;
use crate::fleet::Fleet;
use crate::history::Command;
use crate::process::Role;
use crate::run::namespace;
use crate::run::operator::{CommandResult, carry_out};
use crate::world::{NodeKind, RequestCounts};

const SECOND: Micros = 1_000_000;
/// The default of `session_timeout_ms`, which determines how often members send heartbeats.
const SESSION_TIMEOUT: Micros = 10 * SECOND;
/// How long rates are counted for.
const MEASURED_S: u32 = 10;
/// How long what a phase has begun goes on at most.
const SETTLE: Micros = 3 * SECOND;
/// New members have looked for what dead ones have left.
const CLEANED_UP: Micros = 3 * SESSION_TIMEOUT;
/// Longest time, in the world's, until something is as it should be.
const BOUND: Micros = 600 * SECOND;
const POLL_INTERVAL: Micros = 20_000;
/// The interval of the events of a partition while it is restored.
const FEW: Micros = SECOND;
/// The same so that a partition always has events that wait for its ceiling, which is raised about every 4 ms for each
/// partition of the topic, but every half second at least.
const MANY: Micros = 20_000;
const MANY_IN_LARGE_TOPICS: Micros = 100_000;
const LARGE_TOPIC: usize = 125;

/// Requests in total, or a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Requests {
    pub reads: f64,
    pub writes: f64,
    pub notifications: f64,
    pub kib_read: f64,
    pub kib_written: f64,
}

/// What a restoration of all ranges takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Restoration {
    /// Without those that the fleet sends anyway.
    pub requests: Requests,
    /// With packets that take a quarter of a millisecond, and no computing.
    pub seconds: f64,
    pub longest_lock_ms: f64,
}

/// What a fleet of one shape asks of ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    pub shape: Shape,
    /// Until every lock is held that it will ever hold.
    pub start: Requests,
    /// A second, while no events come.
    pub rest: Requests,
    /// Every partition changes hands.
    pub rebalance: Requests,
    pub restoration: Restoration,
    /// A second, while each partition always has events.
    pub steady: Requests,
}

impl Requests {
    fn of(counts: &RequestCounts) -> Self {
        Self {
            reads: counts.reads as f64,
            writes: counts.writes as f64,
            notifications: counts.notifications as f64,
            kib_read: counts.bytes_read as f64 / 1024.0,
            kib_written: counts.bytes_written as f64 / 1024.0,
        }
    }

    fn map2(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            reads: of(self.reads, other.reads),
            writes: of(self.writes, other.writes),
            notifications: of(self.notifications, other.notifications),
            kib_read: of(self.kib_read, other.kib_read),
            kib_written: of(self.kib_written, other.kib_written),
        }
    }

    /// A second, of requests that took so many.
    fn per_second(self, seconds: f64) -> Self {
        self.map2(self, |of, _| of / seconds)
    }

    /// Without what a fleet asks anyway, of which `rate` is a second.
    fn without(self, rate: Self, seconds: f64) -> Self {
        self.map2(rate, |of, rate| (of - rate * seconds).max(0.0))
    }
}

/// Measures a fleet.
///
/// # Errors
/// Something is not as it should be in time.
pub fn measure(shape: Shape) -> Result<Growth> {
    in_world(shape, async |fleet: Rc<Growing>| fleet.phases().await)
}

/// As [`measure`], of one phase alone, and what has to come before it.
#[cfg(test)]
pub(crate) fn measure_start(shape: Shape) -> Result<Requests> {
    in_world(shape, async |fleet: Rc<Growing>| fleet.start().await)
}

/// The same of a fleet at rest, and of a rebalance.
#[cfg(test)]
pub(crate) fn measure_rebalance(shape: Shape) -> Result<(Requests, Requests)> {
    in_world(shape, async |fleet: Rc<Growing>| {
        fleet.start().await?;
        let rest = fleet.rate().await;
        Ok((rest, fleet.rebalance(rest).await?))
    })
}

/// The same of a restoration.
#[cfg(test)]
pub(crate) fn measure_restoration(shape: Shape) -> Result<Restoration> {
    in_world(shape, async |fleet: Rc<Growing>| {
        fleet.start().await?;
        fleet.restoration().await
    })
}

/// The same of a fleet that counts as much as it can.
#[cfg(test)]
pub(crate) fn measure_steady(shape: Shape) -> Result<Requests> {
    in_world(shape, async |fleet: Rc<Growing>| {
        fleet.start().await?;
        Ok(fleet.steady().await)
    })
}

/// Does this in a world of its own.
fn in_world<T: 'static>(
    shape: Shape,
    work: impl AsyncFnOnce(Rc<Growing>) -> Result<T> + 'static,
) -> Result<T> {
    let fleet = Rc::new(Growing::new(shape)?);
    let world = Rc::clone(&fleet.fleet.world);
    let measured = Rc::new(RefCell::new(None));
    let (result, end) = (Rc::clone(&measured), Rc::clone(&world));
    world.spawn(Rc::clone(&fleet.load).produce());
    world.spawn(async move {
        *result.borrow_mut() = Some(work(fleet).await);
        end.end();
    });
    let ended = world.run(10 * BOUND);
    let finding = world.finding();
    *world.on_applied.borrow_mut() = None;
    world.executor.clear();
    ensure!(ended && finding.is_none(), "{shape:?}: {finding:?}");
    let measured = measured.take().context("it ended")?;
    measured.with_context(|| format!("{shape:?}"))
}

struct Growing {
    shape: Shape,
    fleet: Fleet,
    load: Rc<Load>,
}

impl Growing {
    fn new(shape: Shape) -> Result<Self> {
        let bits = RangeBits::new(shape.range_bits).context("range bits")?;
        let fleet = Fleet::new(namespace::defaults(bits), shape.partitions);
        let timeout = Some(SESSION_TIMEOUT);
        fleet.world.zookeeper.other_timeout.set(timeout);
        fleet.world.is_checked.set(false);
        let load = Load::new(&fleet.world, shape.partitions);
        Ok(Self { shape, fleet, load })
    }

    async fn phases(&self) -> Result<Growth> {
        let start = self.start().await?;
        self.pause(CLEANED_UP).await;
        let rest = self.rate().await;
        let rebalance = self.rebalance(rest).await?;
        let restoration = self.restoration().await?;
        let steady = self.steady().await;
        Ok(Growth {
            shape: self.shape,
            start,
            rest,
            rebalance,
            restoration,
            steady,
        })
    }

    async fn steady(&self) -> Requests {
        let large = self.shape.partitions > LARGE_TOPIC;
        let many = if large { MANY_IN_LARGE_TOPICS } else { MANY };
        self.load.set_interval(Some(many));
        self.pause(SETTLE).await;
        self.rate().await
    }

    /// All members join, and each locks its partitions and every range.
    async fn start(&self) -> Result<Requests> {
        drop(self.fleet.start(self.shape.processors));
        self.until("every partition is counted", || {
            let holders = self.partition_holders();
            holders.len() == self.shape.partitions
                && self.fleet.names("/members") == self.shape.processors
        })
        .await?;
        self.pause(SETTLE).await;
        let (active, partitions) = (self.shape.active(), self.shape.partitions);
        for partition in 0..partitions {
            // The group assigns partitions in turn: those of one member divide the ranges among them.
            let (number, member) = (partition / active, partition % active);
            let of_member = (partitions - member).div_ceil(active);
            for range in (number..self.shape.ranges()).step_by(of_member) {
                self.load.append(partition, range);
            }
        }
        let all = self.shape.active() * self.shape.ranges();
        self.until("every range is locked", || self.shared_locks() == all)
            .await?;
        self.until("every event is counted", || self.load.is_counted())
            .await?;
        self.pause(SETTLE).await;
        Ok(Requests::of(&self.counts()))
    }

    /// The requests of a second, from now on.
    async fn rate(&self) -> Requests {
        let before = self.counts();
        self.pause(SECOND * Micros::from(MEASURED_S)).await;
        let counts = self.counts().since(&before);
        Requests::of(&counts).per_second(f64::from(MEASURED_S))
    }

    /// Every partition moves to the next member.
    async fn rebalance(&self, rest: Requests) -> Result<Requests> {
        if self.shape.processors == 1 {
            return Ok(Requests::default());
        }
        let (before, began) = (self.counts(), self.partition_holders());
        let at = self.fleet.world.now();
        self.fleet.world.rotate_assignment();
        self.until("every partition is counted", || {
            let holders = self.partition_holders();
            let moved = holders.iter().zip(&began).filter(|(a, b)| a.1 != b.1);
            holders.len() == self.shape.partitions && moved.count() == self.shape.partitions
        })
        .await?;
        self.pause(SETTLE).await;
        let counts = self.counts().since(&before);
        Ok(Requests::of(&counts).without(rest, self.seconds_since(at)))
    }

    async fn restoration(&self) -> Result<Restoration> {
        self.load.set_interval(Some(FEW));
        self.pause(SETTLE).await;
        let rate = self.rate().await;
        let handle = self
            .fleet
            .add_process(self.shape.processors, Role::Restorator);
        let (before, began) = (self.counts(), self.fleet.world.now());
        let stores = Stores {
            archive: None,
            totals: None,
        };
        let command = Command {
            at: began,
            only_plan: false,
            range: None,
            counter: None,
            stop_after: None,
        };
        let stop = CancellationToken::new();
        let result = carry_out(&handle, &self.fleet.config, stores, stop, command).await;
        self.fleet.world.terminate(&handle.process);
        let CommandResult::Run(report) = result else {
            bail!("it was no run");
        };
        let report = (*report).map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(
            report.state() == RestorationState::Verified,
            "not verified: {:?}",
            report.failure
        );
        let seconds = self.seconds_since(began);
        let requests = Requests::of(&self.counts().since(&before));
        let locked = report.ranges.iter().filter_map(|range| range.locked_ms);
        ensure!(
            locked.clone().count() == self.shape.ranges(),
            "not every range was locked"
        );
        let longest = Duration::from_millis(locked.max().unwrap_or_default());
        Ok(Restoration {
            requests: requests.without(rate, seconds),
            seconds,
            longest_lock_ms: longest.as_secs_f64() * 1e3,
        })
    }

    fn counts(&self) -> RequestCounts {
        self.fleet.world.zookeeper.requests.get()
    }

    async fn pause(&self, pause: Micros) {
        let world = &self.fleet.world;
        world.executor.until(world.now() + pause).await;
    }

    fn seconds_since(&self, before: Micros) -> f64 {
        Duration::from_micros(self.fleet.world.now() - before).as_secs_f64()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let until = self.fleet.world.now() + BOUND;
        while !holds() {
            ensure!(self.fleet.world.now() < until, "not in time: {what}");
            self.pause(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// The partitions whose lock one session alone has or waits for, and that session.
    fn partition_holders(&self) -> Vec<(usize, i64)> {
        let tree = self.fleet.world.zookeeper.tree.borrow();
        let holder = |partition: usize| {
            let directory = format!("/stitch/n/partitions/{partition}");
            let nodes = tree.below(&directory);
            let owners = nodes.map(|(_, node)| node.stat.ephemeral_owner);
            let mut owners = owners.filter(|owner| *owner != 0);
            let owner = owners.next()?;
            owners.next().is_none().then_some((partition, owner))
        };
        (0..self.shape.partitions).filter_map(holder).collect()
    }

    fn shared_locks(&self) -> usize {
        let tree = self.fleet.world.zookeeper.tree.borrow();
        let is_shared = |path: &&str| matches!(NodeKind::of(path), NodeKind::SharedLock(_));
        tree.paths().filter(is_shared).count()
    }
}
