//! Faults, each as it happens: it waits for its moment, does what it says, and undoes it when its time is over or all
//! faults end.

use std::rc::Rc;

use crate::cassandra::Weather;
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
        let mut actor = None;
        match injected.when {
            When::At(at) => world.executor.until(at).await,
            When::After {
                from,
                phase,
                times,
                delay,
            } => {
                world.executor.until(from).await;
                let who = world.notes.after(phase, times).await;
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
            let until = world.executor.until(world.now() + injected.length);
            either(until, Fired(Rc::clone(&self.calm_down))).await;
            self.undo(&injected, actor.as_ref()).await;
        }
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
            Fault::Unavailable | Fault::Timeouts | Fault::Late | Fault::Untold | Fault::Narrow => {
                self.blow(injected.fault, true);
                true
            }
            Fault::Delete => self.delete_a_cell(),
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
                Fault::Unavailable | Fault::Timeouts | Fault::Late | Fault::Untold | Fault::Narrow,
                _,
            ) => self.blow(injected.fault, false),
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

    /// Somebody deletes a cell by hand.
    fn delete_a_cell(&self) -> bool {
        let cell = self.world.checker.borrow().some_cell(&self.world.rng);
        let Some(cell) = cell else { return false };
        self.world.cluster.cells.borrow_mut().delete(&cell);
        let now = self.world.now();
        self.world.checker.borrow_mut().cell_deleted(&cell, now);
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
