//! The nemesis: waits for the moment of each fault, injects it, and undoes it when its time is over or all faults end.

use std::rc::Rc;

use stitch_common::cell::Amount;
use stitch_testkit::time::Micros;
use stitch_testkit::wait::{Fired, either};

use super::Run;
use crate::history::{Fault, Injection, When};
use crate::process::{Process, ProcessSlot, Role};
use crate::trace::{Actor, Tracepoint};
use crate::world::cassandra::FaultRates;
use crate::world::checker::{EVENTS_MAX, KEYS};
use crate::world::{StoreFaults, World};

/// The most freezes of one process: nothing is promised for a third one within one quiescence barrier.
const FREEZES_MAX: u32 = 2;

impl Run {
    /// Waits for the moment of a fault, injects it, and undoes it.
    pub(super) async fn inject(self: Rc<Self>, injection: Injection) {
        let world = Rc::clone(&self.world);
        let mut injection = injection;
        let mut actor = None;
        match injection.when {
            When::At(at) => world.executor.until(at).await,
            When::After {
                from,
                point,
                next,
                times,
                delay,
            } => {
                world.executor.until(from).await;
                let mut last = world.trace.after(point, times).await;
                if let Some(next) = next {
                    last = world.trace.after(next, 1).await;
                }
                let (who, node) = last;
                if let Some(node) = node.filter(|_| injection.at_target) {
                    injection.node = node;
                }
                if let Actor::Process(_, _, number) = who {
                    actor = world.processes.borrow().get(number).cloned();
                }
                world.executor.until(world.now() + delay).await;
            }
        }
        if self.faults_over.has_fired() {
            return;
        }
        let actor = actor.or_else(|| world.process_in(ProcessSlot(injection.slot)));
        let actor = actor.filter(|process| !process.is_dead());
        if self.strike(&injection, actor.as_ref()) {
            self.count_fault(injection.fault);
            self.wait_for_end(&injection).await;
            self.undo(&injection, actor.as_ref()).await;
        }
    }

    /// Waits for the end of a fault.
    async fn wait_for_end(&self, injection: &Injection) {
        let world = &self.world;
        let time = world.executor.until(world.now() + injection.length);
        let over = either(time, Fired(Rc::clone(&self.faults_over)));
        let Some(early) = injection.early_end else {
            over.await;
            return;
        };
        let early = async {
            world.trace.after(early.point, 1).await;
            world.executor.until(world.now() + early.delay).await;
        };
        either(over, early).await;
    }

    /// Begins a fault. `false` if it cannot happen now.
    fn strike(self: &Rc<Self>, injection: &Injection, process: Option<&Rc<Process>>) -> bool {
        let world = &self.world;
        let actor = process.map_or(Actor::World, |process| Actor::of(process));
        world.record(actor, Tracepoint::Fault, || injection.to_string());
        match injection.fault {
            Fault::Kill | Fault::Freeze | Fault::FreezeTwice | Fault::Slow | Fault::Stop => {
                process.is_some_and(|process| self.hit(injection, process))
            }
            Fault::Disconnect | Fault::IsolateFromZooKeeper => {
                process.is_some_and(|process| self.disconnect(injection, process))
            }
            Fault::IsolateFromNode => process.is_some_and(|process| {
                let free = !world.cluster.is_cut(process.number, injection.node);
                if free {
                    world.isolate(process, injection.node);
                }
                free
            }),
            Fault::Evict => process.is_some_and(|process| {
                world.evict_briefly(process);
                process.role == Role::Processor
            }),
            Fault::NodeFreeze | Fault::NodeRemoved | Fault::NodeKill | Fault::StallCommitLog => {
                self.hit_node(injection)
            }
            Fault::Unavailable
            | Fault::Timeouts
            | Fault::Late
            | Fault::Overdue
            | Fault::Unreplicated
            | Fault::RefuseBatches
            | Fault::Refuse
            | Fault::Unauthorize => {
                self.set_rate(injection.fault, true);
                true
            }
            Fault::Election
            | Fault::RebootZooKeeper
            | Fault::SlowZooKeeper
            | Fault::Rebalance
            | Fault::BrokersDown
            | Fault::SlowFeed
            | Fault::RefuseDeadLetters
            | Fault::UnauthorizeTopic
            | Fault::RefuseNodes
            | Fault::AmbiguousWrites
            | Fault::StoreUnavailable
            | Fault::RefuseWrites
            | Fault::SlowStore
            | Fault::LaggingLists => {
                self.hit_servers(injection);
                true
            }
            Fault::PauseRun | Fault::AbortRun | Fault::ThrottleRun | Fault::HoldRuns => {
                self.control(injection)
            }
            Fault::EndGroup => process.is_some_and(|process| {
                let ends = world.end_membership(process);
                if ends {
                    self.note_stop(process);
                }
                ends
            }),
            Fault::Delete | Fault::Corrupt => self.change_cell(injection.fault),
            Fault::CorruptBatch => world.change_batch_by_hand(),
            Fault::DeleteLock => self.delete_lock(),
            Fault::Produce => self.produce_now(injection),
            Fault::StalledFeed | Fault::DeposedLeader => {
                process.is_some_and(|process| self.hit_feed(injection, process))
            }
        }
    }

    fn hit_feed(&self, injection: &Injection, process: &Process) -> bool {
        let world = &self.world;
        if injection.fault == Fault::StalledFeed {
            let until = world.now() + injection.length;
            process.feeds_stalled_until.set(until);
        } else {
            world.depose_leader_of(process);
        }
        true
    }

    fn disconnect(&self, injection: &Injection, process: &Process) -> bool {
        let world = &self.world;
        let (notice, outage) = if injection.fault == Fault::Disconnect {
            (world.rng.below(20_000), world.rng.below(200_000))
        } else {
            (world.rng.below(400_000), injection.length)
        };
        let clients = world.client_sessions(process);
        for client in &clients {
            world.disconnect(client, notice, outage);
        }
        !clients.is_empty()
    }

    fn hit(self: &Rc<Self>, injection: &Injection, process: &Rc<Process>) -> bool {
        let world = &self.world;
        if process.is_frozen() {
            return false;
        }
        if injection.fault == Fault::Kill {
            world.terminate(process);
        } else if injection.fault == Fault::Slow {
            process.set_lag(1 + injection.length.min(600_000) / 5);
        } else if injection.fault == Fault::Stop {
            return self.stop(process);
        } else if process.freezes() < FREEZES_MAX {
            world.freeze(process);
        } else {
            return false;
        }
        true
    }

    fn hit_node(&self, injection: &Injection) -> bool {
        let world = &self.world;
        let node = &world.cluster.nodes[injection.node];
        if !node.answers() {
            return false;
        }
        if injection.fault == Fault::NodeKill {
            world.kill_node(injection.node);
        } else if injection.fault == Fault::StallCommitLog {
            node.stall();
        } else if injection.fault == Fault::NodeRemoved {
            return world.remove_node(injection.node);
        } else {
            world.freeze_node(injection.node);
        }
        true
    }

    /// Begins a fault of ZooKeeper's servers, Kafka's brokers or the object store.
    fn hit_servers(self: &Rc<Self>, injection: &Injection) {
        let world = &self.world;
        let Injection { fault, length, .. } = *injection;
        if fault == Fault::Election {
            world.elect(length / 4);
        } else if fault == Fault::RebootZooKeeper {
            world.reboot_zookeeper();
        } else if fault == Fault::SlowZooKeeper {
            world.zookeeper.slowness.set(length.min(600_000) / 4);
        } else if fault == Fault::Rebalance {
            world.rotate_assignment();
        } else if fault == Fault::BrokersDown {
            world.brokers_down(world.now() + length);
        } else if fault == Fault::SlowFeed {
            world.kafka.slowness.set(length / 4);
        } else if fault.is_of_the_store() {
            self.set_store_fault(injection, true);
        } else {
            self.set_refusal(fault, true);
        }
    }

    fn set_rate(&self, fault: Fault, on: bool) {
        let fault_rates = &self.world.cluster.fault_rates;
        let mut now: FaultRates = fault_rates.get();
        let percent = |percent| if on { percent } else { 0 };
        if fault == Fault::Unavailable {
            now.unavailable = percent(60);
        } else if fault == Fault::Timeouts {
            now.timeouts = percent(40);
        } else if fault == Fault::Late {
            now.late = percent(60);
        } else if fault == Fault::Overdue {
            now.overdue = percent(100);
        } else if fault == Fault::Unreplicated {
            now.unreplicated = percent(70);
        } else if fault == Fault::Refuse {
            now.refused = percent(60);
        } else if fault == Fault::Unauthorize {
            now.unauthorized = percent(90);
        } else {
            now.refuse_batches = on;
        }
        fault_rates.set(now);
    }

    fn set_refusal(&self, fault: Fault, on: bool) {
        let (kafka, zookeeper) = (&self.world.kafka, &self.world.zookeeper);
        if fault == Fault::RefuseDeadLetters {
            kafka.refuses_dead_letters.set(on);
        } else if fault == Fault::UnauthorizeTopic {
            self.world.authorize(!on);
        } else {
            zookeeper.refuses.set(on);
        }
    }

    fn set_store_fault(&self, injection: &Injection, on: bool) {
        let faults = &self.world.storage.faults;
        let mut now: StoreFaults = faults.get();
        let percent = |percent| if on { percent } else { 0 };
        if injection.fault == Fault::AmbiguousWrites {
            now.ambiguous = percent(60);
        } else if injection.fault == Fault::StoreUnavailable {
            now.unavailable = percent(40);
        } else if injection.fault == Fault::RefuseWrites {
            now.refuses_writes = on;
        } else if injection.fault == Fault::SlowStore {
            now.slowness = if on {
                injection.length.min(600_000) / 2
            } else {
                0
            };
        } else {
            now.lists_lag = on;
            if !on {
                self.world.list_everything();
            }
        }
        faults.set(now);
    }

    async fn undo(self: &Rc<Self>, injection: &Injection, process: Option<&Rc<Process>>) {
        let world = &self.world;
        match (injection.fault, process) {
            (Fault::Freeze, Some(process)) => world.thaw(process),
            (Fault::FreezeTwice, Some(process)) => {
                world.thaw(process);
                self.freeze_again(injection.length, process).await;
            }
            (Fault::Slow, Some(process)) => process.set_lag(0),
            (Fault::IsolateFromNode, Some(process)) => world.heal(process.number, injection.node),
            (Fault::NodeFreeze | Fault::NodeRemoved, _) => {
                world.cluster.nodes[injection.node].thaw()
            }
            (Fault::StallCommitLog, _) => world.cluster.nodes[injection.node].resume(),
            (Fault::NodeKill, _) => world.cluster.nodes[injection.node].start(),
            (
                Fault::Unavailable
                | Fault::Timeouts
                | Fault::Late
                | Fault::Overdue
                | Fault::Unreplicated
                | Fault::RefuseBatches
                | Fault::Refuse
                | Fault::Unauthorize,
                _,
            ) => self.set_rate(injection.fault, false),
            (Fault::RefuseDeadLetters | Fault::UnauthorizeTopic | Fault::RefuseNodes, _) => {
                self.set_refusal(injection.fault, false);
            }
            (
                Fault::AmbiguousWrites
                | Fault::StoreUnavailable
                | Fault::RefuseWrites
                | Fault::SlowStore
                | Fault::LaggingLists,
                _,
            ) => self.set_store_fault(injection, false),
            (Fault::SlowZooKeeper, _) => world.zookeeper.slowness.set(0),
            (Fault::StalledFeed, Some(process)) => process.feeds_stalled_until.set(0),
            (Fault::DeposedLeader, Some(process)) => world.find_leader(process),
            (Fault::SlowFeed, _) => world.kafka.slowness.set(0),
            (Fault::BrokersDown, _) => world.brokers_down(0),
            (Fault::PauseRun | Fault::HoldRuns | Fault::ThrottleRun, _) => {
                self.end_control(injection);
            }
            _ => {}
        }
        world.record(Actor::World, Tracepoint::Fault, || {
            format!("{} is over", injection.fault.name())
        });
    }

    /// Freezes a process again right after it resumed: what it was about to send may still be in its driver.
    async fn freeze_again(&self, length: Micros, process: &Rc<Process>) {
        let world = &self.world;
        world
            .executor
            .until(world.now() + world.rng.below(2500))
            .await;
        if process.is_dead() || process.is_frozen() || process.freezes() >= FREEZES_MAX {
            return;
        }
        world.freeze(process);
        let until = world.executor.until(world.now() + length);
        either(until, Fired(Rc::clone(&self.faults_over))).await;
        world.thaw(process);
    }

    /// Deletes a cell by hand, or adds to it.
    fn change_cell(&self, fault: Fault) -> bool {
        /// More than all events together.
        const AMOUNT: i64 = 1 << EVENTS_MAX;
        let world = &self.world;
        let cell = world.checker.borrow().some_cell(&world.rng);
        let Some(cell) = cell else { return false };
        let mut table = world.cluster.table.borrow_mut();
        if fault == Fault::Delete {
            table.delete(&cell);
        } else {
            table.add(&cell, Amount(AMOUNT));
        }
        let mut checker = world.checker.borrow_mut();
        checker.changed_by_hand(&cell, world.now());
        true
    }

    fn delete_lock(&self) -> bool {
        let Some((partition, session)) = self.world.delete_lock_by_hand() else {
            return false;
        };
        let mut checker = self.world.checker.borrow_mut();
        checker.lock_deleted_by_hand(partition, session);
        true
    }

    fn produce_now(&self, injection: &Injection) -> bool {
        let rng = &self.world.rng;
        let keys = (rng.index(KEYS.len()), rng.index(KEYS.len()));
        let partition = injection.slot % self.history.partitions;
        self.world.produce(partition, Some(keys));
        true
    }
}

impl World {
    /// Freezes a node and removes it from the ring, with what it has applied: only if the others have everything.
    fn remove_node(self: &Rc<Self>, node: usize) -> bool {
        let mut others = self.cluster.nodes.iter().filter(|one| one.number != node);
        if !others.all(|one| one.answers() && one.is_in_ring()) {
            return false;
        }
        self.cluster.table.borrow_mut().replicate_all();
        self.cluster.replicate_batch();
        self.freeze_node(node);
        self.cluster.nodes[node].remove();
        true
    }

    /// Freezes a node. Drivers close silent connections; what they have sent stays in the node.
    pub(crate) fn freeze_node(self: &Rc<Self>, node: usize) {
        self.cluster.nodes[node].freeze();
        let connections: Vec<_> = self.cluster.connections.borrow().clone();
        for connection in connections.into_iter().filter(|one| one.node == node) {
            let (world, owner) = (Rc::clone(self), Rc::clone(&connection.process));
            self.spawn_of(&Rc::clone(&owner), async move {
                let wait = 2 * owner.keepalive;
                world.executor.until(world.now() + wait).await;
                if !world.cluster.nodes[node].answers() {
                    world.close_connection(&connection);
                }
            });
        }
    }
}
