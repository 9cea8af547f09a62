//! An increment in flight: in the driver's queue, which belongs to its process; in the kernels, which do not; in the node,
//! which may be frozen; and its answer.

use std::collections::BTreeMap;
use std::rc::Rc;

use stitch_common::clock::Clock;
use stitch_common::outcome::{Cause, Outcome};
use stitch_common::ports::CounterBatch;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::{Either, Fired, OneShot, either};

use super::{COUNTER_TIMEOUT, Connection, Delay, FaultRates, NATIVE_TIMEOUT, NODES};
use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
use crate::world::World;

/// The number of an increment in its history.
pub(crate) type IncrementId = u64;

/// The increments that may still change the store: session, range and node of each.
#[derive(Debug, Default)]
pub(crate) struct PendingIncrements {
    last: IncrementId,
    in_doubt: BTreeMap<IncrementId, (i64, u16, usize)>,
}

impl PendingIncrements {
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = (IncrementId, i64, u16)> {
        let all = self.in_doubt.iter();
        all.map(|(id, (session, range, _))| (*id, *session, *range))
    }

    /// Nothing that was sent, or queued to be sent, over connections to this node can take effect any more.
    pub(super) fn drop_of_node(&mut self, node: usize) {
        self.in_doubt.retain(|_, (_, _, at)| *at != node);
    }
}

/// An increment that may change the store as long as this value lives.
struct PendingIncrement {
    world: Rc<World>,
    id: IncrementId,
    session: i64,
    range: u16,
    batch: CounterBatch,
}

impl Drop for PendingIncrement {
    fn drop(&mut self) {
        self.world.increment_ended(self.id);
    }
}

/// The increments that a client sends as one.
struct Request {
    increments: Vec<PendingIncrement>,
    answer: Rc<OneShot<Outcome>>,
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown(Cause(why.to_owned()))
}

impl World {
    /// Passes increments to the driver, which sends them at once or, if its process freezes before that, when that runs
    /// again.
    pub(super) fn dispatch(
        self: &Rc<Self>,
        process: &Rc<Process>,
        session: i64,
        connection: Rc<Connection>,
        batches: &[CounterBatch],
    ) -> (Vec<IncrementId>, Rc<OneShot<Outcome>>) {
        let pending = |batch| self.pending_increment(session, connection.node, batch);
        let increments: Vec<_> = batches.iter().map(pending).collect();
        let ids = increments.iter().map(|increment| increment.id).collect();
        let answer = Rc::new(OneShot::default());
        let request = Request {
            increments,
            answer: Rc::clone(&answer),
        };
        let (world, queued) = (Rc::clone(self), self.rng.below(600));
        self.spawn_of(process, async move {
            // The driver's queue.
            world.executor.until(world.now() + queued).await;
            if connection.is_closed() || connection.incarnation() != world.starts_of(&connection) {
                request.answer.send(unknown("the connection broke"));
                return;
            }
            connection.mark_sent();
            let sending = Rc::clone(&world);
            world.spawn(async move {
                sending.travel(&connection, request).await;
            });
        });
        (ids, answer)
    }

    fn pending_increment(
        self: &Rc<Self>,
        session: i64,
        node: usize,
        batch: &CounterBatch,
    ) -> PendingIncrement {
        let range = self.range_of(&batch.counter);
        let mut pending = self.cluster.pending.borrow_mut();
        pending.last += 1;
        let id = pending.last;
        pending.in_doubt.insert(id, (session, range, node));
        PendingIncrement {
            world: Rc::clone(self),
            id,
            session,
            range,
            batch: batch.clone(),
        }
    }

    fn starts_of(&self, connection: &Connection) -> u32 {
        self.cluster.nodes[connection.node].incarnation()
    }

    /// Takes a request from the sender's kernel into the node.
    async fn travel(self: &Rc<Self>, connection: &Rc<Connection>, request: Request) {
        let Request { increments, answer } = request;
        let node = &self.cluster.nodes[connection.node];
        self.hop().await;
        if self.is_dropped(connection).await {
            connection.mark_read();
            return;
        }
        let alive = node.wait_until_running(connection.incarnation()).await;
        connection.mark_read();
        if !alive {
            answer.send(unknown("the connection broke"));
            return;
        }
        let outcome = self.process_request(connection, increments).await;
        if let Some(outcome) = outcome {
            self.hop().await;
            self.wait_until_reachable(connection).await;
            answer.send(outcome);
        }
    }

    /// Waits while the sender is isolated from the node. Returns whether its kernel drops what it still has meanwhile, as
    /// zero linger does when the process closes the connection.
    async fn is_dropped(&self, connection: &Connection) -> bool {
        while self
            .cluster
            .is_cut(connection.process.number, connection.node)
        {
            if connection.is_closed() {
                if connection.was_reset() {
                    return true;
                }
                self.wait_until_reachable(connection).await;
            } else {
                let closed = Fired(Rc::clone(&connection.closed));
                either(self.wait_until_reachable(connection), closed).await;
            }
        }
        false
    }

    /// Passes the node's queue, with its timeout; then begins the increments one after the other, until one is refused. Its
    /// answer, if there will be one, says of all of them what is known of the worst.
    async fn process_request(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        increments: Vec<PendingIncrement>,
    ) -> Option<Outcome> {
        let node = Rc::clone(&self.cluster.nodes[connection.node]);
        let fault_rates = self.cluster.fault_rates.get();
        let delay = fault_rates.delay(&self.rng);
        let read = self.now();
        let queued = self.stage_delay(delay, NATIVE_TIMEOUT);
        self.executor.until(read + queued).await;
        if !node.wait_until_running(connection.incarnation()).await {
            return Some(unknown("the connection broke"));
        }
        if self.now() - read > NATIVE_TIMEOUT {
            return Some(unknown("shed: it waited too long in the queue"));
        }
        if let Some(refusal) = self.refusal(fault_rates, &increments) {
            return Some(refusal);
        }
        let counters = increments.len();
        let mut begun = Vec::new();
        for increment in increments {
            if !begun.is_empty() {
                // Anything may happen between two of them.
                let pause = self.rng.below(300);
                self.executor.until(self.now() + pause).await;
                if !node.wait_until_running(connection.incarnation()).await {
                    return Some(unknown("the connection broke"));
                }
            }
            if self.is_unavailable(fault_rates) {
                if !begun.is_empty() {
                    self.record(Actor::Node(node.number), Tracepoint::BegunInPart, || {
                        format!("begins {} of {counters} increments", begun.len())
                    });
                }
                let cause = Cause("unavailable".to_owned());
                return Some(Outcome::unavailable(counters, cause));
            }
            let answer = Rc::new(OneShot::default());
            begun.push(Rc::clone(&answer));
            let (world, connection) = (Rc::clone(self), Rc::clone(connection));
            self.spawn(async move {
                let outcome = world
                    .process_increment(&connection, delay, &increment)
                    .await;
                // The outcome is final: the answer changes nothing, however late it arrives.
                drop(increment);
                answer.send(outcome);
            });
        }
        let mut worst = Some(Outcome::Applied);
        for answer in begun {
            match answer.recv().await {
                Some(Outcome::Applied) => {}
                other => worst = other,
            }
        }
        worst
    }

    /// How long a request is delayed in a stage with this timeout.
    fn stage_delay(&self, delay: Delay, timeout: Micros) -> Micros {
        match delay {
            Delay::Short => self.rng.below(300),
            Delay::Busy => self.rng.between(timeout / 8, timeout / 4),
            Delay::Late => self.rng.below(timeout * 5 / 4),
            Delay::Overdue => self.rng.between(timeout / 2, timeout),
        }
    }

    /// Passes the cell's lock, with its timeout, and the commit log, which has none; then applies the increment and
    /// replicates it.
    async fn process_increment(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        delay: Delay,
        increment: &PendingIncrement,
    ) -> Option<Outcome> {
        let node = Rc::clone(&self.cluster.nodes[connection.node]);
        let fault_rates = self.cluster.fault_rates.get();
        let began = self.now();
        let delayed = self.stage_delay(delay, 2 * COUNTER_TIMEOUT);
        self.executor.until(began + delayed).await;
        if !node.wait_until_running(connection.incarnation()).await {
            return Some(unknown("the connection broke"));
        }
        if self.now() - began > 2 * COUNTER_TIMEOUT {
            return Some(unknown("it waited too long for the lock"));
        }
        // From here on no timeout is looked at any more: the commit log takes it whenever it can.
        if !node.wait_until_applying(connection.incarnation()).await {
            return Some(unknown("the connection broke"));
        }
        let timeout = self.rng.percent(fault_rates.timeouts);
        if timeout && self.rng.percent(40) {
            return self.rng.percent(50).then(|| unknown("write timeout"));
        }
        self.apply(connection, increment);
        let replicas = self.replicate(fault_rates, connection.node, increment);
        if timeout || replicas == 0 {
            return self.rng.percent(50).then(|| unknown("write timeout"));
        }
        Some(Outcome::Applied)
    }

    /// Whether a node finds too few replicas up to begin an increment.
    fn is_unavailable(&self, fault_rates: FaultRates) -> bool {
        let nodes = self.cluster.nodes.iter();
        let up = nodes.filter(|node| node.seems_up(self.now())).count();
        up < 2 || self.rng.percent(fault_rates.unavailable)
    }

    /// Why a node refuses a request as a whole, before it begins any of it.
    fn refusal(&self, fault_rates: FaultRates, increments: &[PendingIncrement]) -> Option<Outcome> {
        if self.rng.percent(fault_rates.unauthorized) {
            return Some(Outcome::Unauthorized(Cause("timed out".to_owned())));
        }
        let all = increments.iter();
        let cells: usize = all.map(|increment| increment.batch.amounts.len()).sum();
        let too_large = fault_rates.refuse_batches && cells > 1;
        (too_large || self.rng.percent(fault_rates.refused))
            .then(|| Outcome::Refused(Cause("invalid".to_owned())))
    }

    fn apply(self: &Rc<Self>, connection: &Connection, increment: &PendingIncrement) {
        let node = connection.node;
        self.cluster
            .table
            .borrow_mut()
            .apply(node, &increment.batch);
        self.record(Actor::Node(node), Tracepoint::IncrementApplied, || {
            format!(
                "applies {} of session {:x}",
                describe(&increment.batch),
                increment.session
            )
        });
        self.increment_applied(increment.session, increment.range, &increment.batch);
        self.increment_ended(increment.id);
    }

    fn increment_ended(&self, id: IncrementId) {
        self.cluster.pending.borrow_mut().in_doubt.remove(&id);
    }

    /// Replicates an increment. Returns how many other nodes get it soon; the others get it much later, by a hint.
    fn replicate(
        self: &Rc<Self>,
        fault_rates: FaultRates,
        from: usize,
        increment: &PendingIncrement,
    ) -> usize {
        let mut soon = 0;
        for to in (0..NODES).filter(|to| *to != from) {
            let node = Rc::clone(&self.cluster.nodes[to]);
            if !node.answers() || self.rng.percent(fault_rates.unreplicated) {
                continue;
            }
            soon += 1;
            let (world, counter) = (Rc::clone(self), increment.batch.counter.clone());
            let at = self.now() + self.net();
            self.spawn(async move {
                world.executor.until(at).await;
                if node.answers() {
                    world
                        .cluster
                        .table
                        .borrow_mut()
                        .replicate(from, to, &counter);
                }
            });
        }
        soon
    }
}

/// A batch as text.
pub(super) fn describe(batch: &CounterBatch) -> String {
    let amounts = batch.amounts.iter();
    let amounts: Vec<_> = amounts
        .map(|(slot, amount)| format!("{}:{:+}", slot.granularity.name(), amount.0))
        .collect();
    format!("{} {}", batch.counter, amounts.join(" "))
}

/// Waits, as the store's client does, for the answer, the end of the connection, or its own timeout.
pub(super) async fn await_answer(
    clock: &impl Clock,
    connection: &Connection,
    answer: &OneShot<Outcome>,
) -> Outcome {
    let closed = Fired(Rc::clone(&connection.closed));
    let ended = either(closed, clock.sleep(super::REQUEST_TIMEOUT));
    match either(answer.recv(), ended).await {
        Either::Left(outcome) => outcome,
        Either::Right(_) => unknown("no answer"),
    }
}
