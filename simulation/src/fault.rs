//! Faults, each as it happens: it waits for its moment, does what it says, and undoes it when its time is over or all
//! faults end.

use std::rc::Rc;

use stitch_common::cell::Amount;

use crate::cassandra::Weather;
use crate::checker::{EVENTS_MAX, KEYS};
use crate::executor::Micros;
use crate::history::{Fault, Injected, When};
use crate::notes::{Phase, Who};
use crate::play::Play;
use crate::process::{Process, Role, Seat};
use crate::slot::{Fired, either};
use crate::world::World;

/// A process is frozen so often at most: a third time within one calm is beyond what is promised.
const FREEZES_MAX: u32 = 2;

impl Play {
    /// Waits for the fault's moment, then lets it happen.
    pub(crate) async fn inject(self: Rc<Self>, injected: Injected) {
        let world = Rc::clone(&self.world);
        let mut injected = injected;
        let mut actor = None;
        match injected.when {
            When::At(at) => world.executor.until(at).await,
            When::After {
                from,
                phase,
                next,
                times,
                delay,
            } => {
                world.executor.until(from).await;
                let mut last = world.notes.after(phase, times).await;
                if let Some(next) = next {
                    last = world.notes.after(next, 1).await;
                }
                let (who, node) = last;
                if let Some(node) = node.filter(|_| injected.aimed) {
                    injected.node = node;
                }
                if let Who::Process(_, _, number) = who {
                    actor = world.processes.borrow().get(number).cloned();
                }
                world.executor.until(world.now() + delay).await;
            }
        }
        if self.calm_down.has_fired() {
            return;
        }
        let actor = actor.or_else(|| world.at(Seat(injected.seat)));
        let actor = actor.filter(|process| !process.is_dead());
        if self.strike(&injected, actor.as_ref()) {
            self.happened(injected.fault);
            self.last(&injected).await;
            self.undo(&injected, actor.as_ref()).await;
        }
    }

    /// Waits for the fault's end.
    async fn last(&self, injected: &Injected) {
        let world = &self.world;
        let time = world.executor.until(world.now() + injected.length);
        let over = either(time, Fired(Rc::clone(&self.calm_down)));
        let Some(until) = injected.until else {
            over.await;
            return;
        };
        let happens = async {
            world.notes.after(until.phase, 1).await;
            world.executor.until(world.now() + until.delay).await;
        };
        either(over, happens).await;
    }

    /// Begins the fault, if it can happen now.
    fn strike(self: &Rc<Self>, injected: &Injected, process: Option<&Rc<Process>>) -> bool {
        let world = &self.world;
        let who = process.map_or(Who::World, |process| Who::of(process));
        world.note(who, Phase::Fault, || injected.to_string());
        match injected.fault {
            Fault::Kill | Fault::Freeze | Fault::FreezeTwice | Fault::Slow | Fault::Stop => {
                process.is_some_and(|process| self.hit(injected, process))
            }
            Fault::Unlink | Fault::CutKeeper => process.is_some_and(|process| {
                let (notice, outage) = if injected.fault == Fault::Unlink {
                    (world.rng.below(20_000), world.rng.below(200_000))
                } else {
                    (world.rng.below(400_000), injected.length)
                };
                let lines = world.lines_of(process);
                for line in &lines {
                    world.cut_line(line, notice, outage);
                }
                !lines.is_empty()
            }),
            Fault::Cut => process.is_some_and(|process| {
                let free = !world.cluster.is_cut(process.number, injected.node);
                if free {
                    world.cut_off(process, injected.node);
                }
                free
            }),
            Fault::Evict => process.is_some_and(|process| {
                world.evict(process);
                process.role == Role::Processor
            }),
            Fault::Election => {
                world.elect(injected.length / 4);
                true
            }
            Fault::NodeFreeze | Fault::NodeKill => self.hit_node(injected),
            Fault::Unavailable
            | Fault::Timeouts
            | Fault::Late
            | Fault::Overdue
            | Fault::Untold
            | Fault::Narrow => {
                self.blow(injected.fault, true);
                true
            }
            Fault::Delete | Fault::Spoil => self.change_a_cell(injected.fault),
            Fault::Unlock => self.unlock(),
            Fault::Produce => self.produce_now(injected),
            Fault::SlowKeeper => {
                world.keeper.slowness.set(injected.length.min(600_000) / 4);
                true
            }
            Fault::StalledFeed => process.is_some_and(|process| {
                process.stalled_until.set(world.now() + injected.length);
                true
            }),
            Fault::Rebalance => {
                world.rebalance();
                true
            }
            Fault::BrokersDown => {
                world.brokers_down(world.now() + injected.length);
                true
            }
            Fault::SlowFeed => {
                world.topic.slowness.set(injected.length / 4);
                true
            }
        }
    }

    fn hit(self: &Rc<Self>, injected: &Injected, process: &Rc<Process>) -> bool {
        let world = &self.world;
        if process.is_frozen() {
            return false;
        }
        if injected.fault == Fault::Kill {
            world.bury(process);
        } else if injected.fault == Fault::Slow {
            process.set_lag(1 + injected.length.min(600_000) / 5);
        } else if injected.fault == Fault::Stop {
            return self.stop(process);
        } else if process.freezes() < FREEZES_MAX {
            world.freeze(process);
        } else {
            return false;
        }
        true
    }

    fn hit_node(&self, injected: &Injected) -> bool {
        let world = &self.world;
        let node = &world.cluster.nodes[injected.node];
        if !node.answers() {
            return false;
        }
        if injected.fault == Fault::NodeKill {
            world.node_falls(injected.node);
        } else {
            world.node_freezes(injected.node);
        }
        true
    }

    fn blow(&self, fault: Fault, on: bool) {
        let weather = &self.world.cluster.weather;
        let mut now: Weather = weather.get();
        let percent = |percent| if on { percent } else { 0 };
        if fault == Fault::Unavailable {
            now.unavailable = percent(60);
        } else if fault == Fault::Timeouts {
            now.timeouts = percent(40);
        } else if fault == Fault::Late {
            now.late = percent(60);
        } else if fault == Fault::Overdue {
            now.overdue = percent(100);
        } else if fault == Fault::Untold {
            now.untold = percent(70);
        } else {
            now.narrow = on;
        }
        weather.set(now);
    }

    async fn undo(self: &Rc<Self>, injected: &Injected, process: Option<&Rc<Process>>) {
        let world = &self.world;
        match (injected.fault, process) {
            (Fault::Freeze, Some(process)) => world.thaw(process),
            (Fault::FreezeTwice, Some(process)) => {
                world.thaw(process);
                self.freeze_again(injected.length, process).await;
            }
            (Fault::Slow, Some(process)) => process.set_lag(0),
            (Fault::Cut, Some(process)) => world.heal_cut(process.number, injected.node),
            (Fault::NodeFreeze, _) => world.cluster.nodes[injected.node].thaw(),
            (Fault::NodeKill, _) => world.cluster.nodes[injected.node].start(),
            (
                Fault::Unavailable
                | Fault::Timeouts
                | Fault::Late
                | Fault::Overdue
                | Fault::Untold
                | Fault::Narrow,
                _,
            ) => self.blow(injected.fault, false),
            (Fault::SlowKeeper, _) => world.keeper.slowness.set(0),
            (Fault::StalledFeed, Some(process)) => process.stalled_until.set(0),
            (Fault::SlowFeed, _) => world.topic.slowness.set(0),
            (Fault::BrokersDown, _) => world.brokers_down(0),
            _ => {}
        }
        world.note(Who::World, Phase::Fault, || {
            format!("{} is over", injected.fault.name())
        });
    }

    /// Right after it went on: what it was about to send may still lie in its driver.
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
        either(until, Fired(Rc::clone(&self.calm_down))).await;
        world.thaw(process);
    }

    /// Somebody deletes a cell by hand, or adds to it.
    fn change_a_cell(&self, fault: Fault) -> bool {
        /// More than all events together.
        const AMOUNT: i64 = 1 << EVENTS_MAX;
        let world = &self.world;
        let cell = world.checker.borrow().some_cell(&world.rng);
        let Some(cell) = cell else { return false };
        let mut cells = world.cluster.cells.borrow_mut();
        if fault == Fault::Delete {
            cells.delete(&cell);
        } else {
            cells.spoil(&cell, Amount(AMOUNT));
        }
        let mut checker = world.checker.borrow_mut();
        checker.changed_by_hand(&cell, world.now());
        true
    }

    fn unlock(&self) -> bool {
        let Some((partition, session)) = self.world.unlock_by_hand() else {
            return false;
        };
        let mut checker = self.world.checker.borrow_mut();
        checker.robbed_by_hand(partition, session);
        true
    }

    fn produce_now(&self, injected: &Injected) -> bool {
        let rng = &self.world.rng;
        let keys = (rng.index(KEYS.len()), rng.index(KEYS.len()));
        let partition = injected.seat % self.history.partitions;
        self.world.produce(partition, Some(keys));
        true
    }
}

impl World {
    /// The node stands still. Drivers close connections on which they hear nothing; what they have sent stays with it.
    pub(crate) fn node_freezes(self: &Rc<Self>, node: usize) {
        self.cluster.nodes[node].freeze();
        let connections: Vec<_> = self.cluster.connections.borrow().clone();
        for connection in connections.into_iter().filter(|one| one.node == node) {
            let (world, owner) = (Rc::clone(self), Rc::clone(&connection.process));
            self.spawn_of(&owner, async move {
                let wait = 2 * crate::process::micros(crate::cassandra::KEEPALIVE);
                world.executor.until(world.now() + wait).await;
                if !world.cluster.nodes[node].answers() {
                    world.hang_up(&connection);
                }
            });
        }
    }
}
