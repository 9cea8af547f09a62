//! An increment on its way: in the driver's queue, which belongs to its process; in the kernels, which do not; in the
//! node, which may be frozen with it; and its answer.

use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::clock::Clock;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::CounterBatch;

use super::{COUNTER_TIMEOUT, Connection, NATIVE_TIMEOUT, NODES, Wait, Weather};
use crate::notes::{Phase, Who};
use crate::process::Process;
use crate::slot::{Either, Fired, Slot, either};
use crate::world::World;

/// Numbers the increments of a history.
pub(crate) type FrameId = u64;

/// Increments that may still change the store: of whom, in which range, and at which node.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    last: FrameId,
    in_doubt: BTreeMap<FrameId, (i64, u16, usize)>,
}

impl Frames {
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = (FrameId, i64, u16)> {
        let all = self.in_doubt.iter();
        all.map(|(frame, (session, range, _))| (*frame, *session, *range))
    }

    /// What was sent through connections to this node, or is to be, cannot take effect any more.
    pub(super) fn node_fell(&mut self, node: usize) {
        self.in_doubt.retain(|_, (_, _, at)| *at != node);
    }
}

/// As long as this lives, its increment may change the store.
pub(super) struct Frame {
    world: Rc<World>,
    id: FrameId,
    session: i64,
    range: u16,
    batch: CounterBatch,
    answer: Rc<Slot<Outcome>>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.world.settled(self.id);
    }
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown(Cause(why.to_owned()))
}

impl World {
    /// Hands an increment to the driver, which sends it at once, or, if its process is frozen before it does, when that
    /// goes on.
    pub(super) fn dispatch(
        self: &Rc<Self>,
        process: &Rc<Process>,
        session: i64,
        connection: Rc<Connection>,
        batch: &CounterBatch,
    ) -> (FrameId, Rc<Slot<Outcome>>) {
        let range = self.range_of(&batch.counter);
        let id = {
            let mut frames = self.cluster.frames.borrow_mut();
            frames.last += 1;
            let id = frames.last;
            frames
                .in_doubt
                .insert(id, (session, range, connection.node));
            id
        };
        let answer = Rc::new(Slot::default());
        let frame = Frame {
            world: Rc::clone(self),
            id,
            session,
            range,
            batch: batch.clone(),
            answer: Rc::clone(&answer),
        };
        let (world, queued) = (Rc::clone(self), self.rng.below(600));
        self.spawn_of(process, async move {
            // The driver's queue.
            world.executor.until(world.now() + queued).await;
            if connection.is_closed() || connection.starts() != world.starts_of(&connection) {
                frame.answer.fill(unknown("the connection broke"));
                return;
            }
            connection.sent();
            let sending = Rc::clone(&world);
            world.spawn(async move {
                sending.travel(&connection, &frame).await;
            });
        });
        (id, answer)
    }

    fn starts_of(&self, connection: &Connection) -> u32 {
        self.cluster.nodes[connection.node].starts()
    }

    /// From the sender's kernel into the node.
    async fn travel(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Frame) {
        let node = &self.cluster.nodes[connection.node];
        self.executor.until(self.now() + self.net()).await;
        if self.is_dropped(connection).await {
            connection.was_read();
            return;
        }
        let alive = node.goes_on(connection.starts()).await;
        connection.was_read();
        if !alive {
            frame.answer.fill(unknown("the connection broke"));
            return;
        }
        let answer = self.work(connection, frame).await;
        // What it was is settled: the answer changes nothing, however late it comes.
        self.settled(frame.id);
        if let Some(answer) = answer {
            let net = self.net();
            self.executor.until(self.now() + net).await;
            self.reachable(connection).await;
            frame.answer.fill(answer);
        }
    }

    /// Waits for as long as the sender is cut off from the node. Whether its kernel drops what it still has meanwhile:
    /// zero linger does that when its process closes the connection.
    async fn is_dropped(&self, connection: &Connection) -> bool {
        while self
            .cluster
            .is_cut(connection.process.number, connection.node)
        {
            if connection.is_closed() {
                if connection.was_reset() {
                    return true;
                }
                self.reachable(connection).await;
            } else {
                let closed = Fired(Rc::clone(&connection.closed));
                either(self.reachable(connection), closed).await;
            }
        }
        false
    }

    /// In the node: the queue, then the cell's lock, each with its bound; then it is applied, and told to the others.
    async fn work(self: &Rc<Self>, connection: &Rc<Connection>, frame: &Frame) -> Option<Outcome> {
        let node = Rc::clone(&self.cluster.nodes[connection.node]);
        let weather = self.cluster.weather.get();
        let wait = weather.wait(&self.rng);
        let bound = |timeout| match wait {
            Wait::Short => self.rng.below(300),
            Wait::Busy => self.rng.between(timeout / 8, timeout / 4),
            Wait::Late => self.rng.below(timeout * 5 / 4),
            Wait::Overdue => self.rng.between(timeout / 2, timeout),
        };
        let read = self.now();
        self.executor.until(read + bound(NATIVE_TIMEOUT)).await;
        if !node.goes_on(connection.starts()).await {
            return Some(unknown("the connection broke"));
        }
        if self.now() - read > NATIVE_TIMEOUT {
            return Some(unknown("shed: it waited too long in the queue"));
        }
        if let Some(refused) = self.refused(weather, frame) {
            return Some(refused);
        }
        let began = self.now();
        self.executor
            .until(began + bound(2 * COUNTER_TIMEOUT))
            .await;
        if !node.goes_on(connection.starts()).await {
            return Some(unknown("the connection broke"));
        }
        if self.now() - began > 2 * COUNTER_TIMEOUT {
            return Some(unknown("it waited too long for the lock"));
        }
        let timeout = self.rng.percent(weather.timeouts);
        if timeout && self.rng.percent(40) {
            return self.rng.percent(50).then(|| unknown("write timeout"));
        }
        self.apply(connection, frame);
        let told = self.tell_replicas(weather, connection.node, frame);
        if timeout || told == 0 {
            return self.rng.percent(50).then(|| unknown("write timeout"));
        }
        Some(Outcome::Applied)
    }

    fn refused(&self, weather: Weather, frame: &Frame) -> Option<Outcome> {
        let up = self.cluster.nodes.iter();
        let heard_of = up.filter(|node| node.is_heard_of(self.now())).count();
        if heard_of < 2 || self.rng.percent(weather.unavailable) {
            return Some(Outcome::NotApplied(Cause("unavailable".to_owned())));
        }
        (weather.narrow && frame.batch.amounts.len() > 1)
            .then(|| Outcome::Refused(Cause("batch too large".to_owned())))
    }

    fn apply(self: &Rc<Self>, connection: &Connection, frame: &Frame) {
        let node = connection.node;
        self.cluster.cells.borrow_mut().apply(node, &frame.batch);
        self.note(Who::Node(node), Phase::Applied, || {
            format!(
                "applies {} of session {:x}",
                told(&frame.batch),
                frame.session
            )
        });
        self.increment_applied(frame.session, frame.range, &frame.batch);
        self.settled(frame.id);
    }

    fn settled(&self, frame: FrameId) {
        self.cluster.frames.borrow_mut().in_doubt.remove(&frame);
    }

    /// How many other nodes are told soon. Who is not learns of it much later, by a hint.
    fn tell_replicas(self: &Rc<Self>, weather: Weather, from: usize, frame: &Frame) -> usize {
        let mut soon = 0;
        for to in (0..NODES).filter(|to| *to != from) {
            let node = Rc::clone(&self.cluster.nodes[to]);
            if !node.answers() || self.rng.percent(weather.untold) {
                continue;
            }
            soon += 1;
            let (world, counter) = (Rc::clone(self), frame.batch.counter.clone());
            let at = self.now() + self.net();
            self.spawn(async move {
                world.executor.until(at).await;
                if node.answers() {
                    world
                        .cluster
                        .cells
                        .borrow_mut()
                        .replicate(from, to, &counter);
                }
            });
        }
        soon
    }
}

/// A batch for people.
pub(crate) fn told(batch: &CounterBatch) -> String {
    let amounts = batch.amounts.iter();
    let amounts: Vec<_> = amounts
        .map(|(slot, amount)| format!("{}:{:+}", slot.granularity.name(), amount.0))
        .collect();
    format!("{} {}", batch.counter, amounts.join(" "))
}

/// What the store's client waits for: the answer, the end of the connection, or its own timeout.
pub(super) async fn answered(
    clock: &impl Clock,
    connection: &Connection,
    answer: &Slot<Outcome>,
) -> Outcome {
    let closed = Fired(Rc::clone(&connection.closed));
    let ended = either(closed, clock.sleep(super::REQUEST_TIMEOUT));
    match either(answer.taken(), ended).await {
        Either::Left(outcome) => outcome,
        Either::Right(_) => unknown("no answer"),
    }
}
