//! The consumer group: its members, their partitions, and how partitions change hands. Heartbeats come from a thread of
//! their own: a slow process stays a member, a frozen or dead one is evicted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::rc::Rc;

use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::{Group, GroupEvent, LogError, RevokeAck};
use stitch_testkit::wait::{Either, Fired, Signal, Waiters, either};

use super::SESSION_TIMEOUT;
use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
use crate::world::{Handle, World};

/// A member, as the group sees it.
pub(super) struct Member {
    process: Rc<Process>,
    evicted: Cell<bool>,
    /// Its process has left the group and never rejoins.
    left: Cell<bool>,
    /// Raised when heartbeats stop and when they start again: voids an earlier eviction.
    heartbeats: Cell<u64>,
    assigned: RefCell<Vec<Partition>>,
    /// Revoked and not given back yet.
    revoked: RefCell<Vec<Partition>>,
    events: RefCell<VecDeque<GroupEvent<SimAck>>>,
    changed: Waiters,
}

impl Member {
    fn notify(&self, event: GroupEvent<SimAck>) {
        self.events.borrow_mut().push_back(event);
        self.changed.wake();
    }
}

/// The membership of one process.
pub(crate) struct SimGroup {
    handle: Handle,
    member: Rc<Member>,
}

/// Gives revoked partitions back when it is used or dropped.
pub(crate) struct SimAck(Rc<Signal>);

impl std::fmt::Debug for SimAck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimAck")
    }
}

impl RevokeAck for SimAck {
    fn done(self) {}
}

impl Drop for SimAck {
    fn drop(&mut self) {
        self.0.fire();
    }
}

impl SimGroup {
    pub(super) fn join(handle: &Handle) -> Self {
        let world = &handle.world;
        let mut members = world.kafka.members.borrow_mut();
        let member = Rc::new(Member {
            process: Rc::clone(&handle.process),
            evicted: Cell::new(false),
            left: Cell::new(false),
            heartbeats: Cell::new(0),
            assigned: RefCell::default(),
            revoked: RefCell::default(),
            events: RefCell::default(),
            changed: Waiters::default(),
        });
        members.push(Rc::clone(&member));
        drop(members);
        world.rebalance();
        Self {
            handle: handle.clone(),
            member,
        }
    }
}

impl Group for SimGroup {
    type Ack = SimAck;

    async fn next(&mut self) -> GroupEvent<SimAck> {
        let member = &self.member;
        let next = || member.events.borrow_mut().pop_front();
        member.changed.until(next).await
    }

    fn commit(&self, offsets: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static {
        let (handle, member) = (self.handle.clone(), Rc::clone(&self.member));
        let offsets = offsets.clone();
        async move {
            handle.ask_brokers().await?;
            if member.evicted.get() {
                return Err(LogError::Unavailable("unknown member".to_owned()));
            }
            let mut committed = handle.world.kafka.committed.borrow_mut();
            committed.extend(&offsets.0);
            Ok(())
        }
    }

    /// Sometimes takes long, as the real group does.
    async fn leave(self) {
        let world = Rc::clone(&self.handle.world);
        let slow = if world.rng.percent(30) {
            world.rng.below(200_000)
        } else {
            0
        };
        world.executor.until(world.now() + world.net() + slow).await;
    }
}

impl Drop for SimGroup {
    fn drop(&mut self) {
        self.member.left.set(true);
        if !self.handle.process.is_dead() {
            self.handle.world.evict(&self.member);
        }
    }
}

impl World {
    /// Assigns the partitions. Those that change hands are revoked first, and assigned when they were given back.
    fn rebalance(self: &Rc<Self>) {
        let members: Vec<_> = {
            let members = self.kafka.members.borrow();
            members
                .iter()
                .filter(|member| !member.evicted.get())
                .cloned()
                .collect()
        };
        if members.is_empty() {
            return;
        }
        let partitions: Vec<_> = self.kafka.log.borrow().partitions().collect();
        let mut assigned: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        let mut revoked: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        for (index, partition) in partitions.into_iter().enumerate() {
            let wanted = (index + self.kafka.rotation.get()) % members.len();
            let owns = |member: &Rc<Member>| member.assigned.borrow().contains(&partition);
            let keeps = |member: &Rc<Member>| member.revoked.borrow().contains(&partition);
            match members.iter().position(owns) {
                Some(owner) if owner == wanted => {}
                Some(owner) => revoked.entry(owner).or_default().push(partition),
                None if members.iter().any(keeps) => {}
                None => {
                    members[wanted].assigned.borrow_mut().push(partition);
                    assigned.entry(wanted).or_default().push(partition);
                }
            }
        }
        for (owner, partitions) in revoked {
            self.revoke(&members[owner], partitions);
        }
        for (owner, partitions) in assigned {
            let actor = Actor::of(&members[owner].process);
            self.record(actor, Tracepoint::Assigned, || {
                format!("is assigned partitions {partitions:?}")
            });
            members[owner].notify(GroupEvent::Assigned(partitions));
        }
    }

    fn revoke(self: &Rc<Self>, member: &Rc<Member>, partitions: Vec<Partition>) {
        self.hand_over(&partitions);
        self.record(Actor::of(&member.process), Tracepoint::Revoked, || {
            format!("is to give back partitions {partitions:?}")
        });
        member
            .assigned
            .borrow_mut()
            .retain(|one| !partitions.contains(one));
        member.revoked.borrow_mut().extend(&partitions);
        let acknowledged = Rc::new(Signal::default());
        let ack = SimAck(Rc::clone(&acknowledged));
        member.notify(GroupEvent::Revoked(partitions.clone(), ack));
        let (world, member) = (Rc::clone(self), Rc::clone(member));
        self.spawn(async move {
            let bound = world.executor.until(world.now() + SESSION_TIMEOUT);
            let lost = matches!(either(Fired(acknowledged), bound).await, Either::Right(()));
            let before = member.revoked.borrow().len();
            member
                .revoked
                .borrow_mut()
                .retain(|one| !partitions.contains(one));
            if before == member.revoked.borrow().len() {
                return;
            }
            if lost {
                member.notify(GroupEvent::Lost(partitions));
            }
            world.rebalance();
        });
    }

    /// Evicts a member: its partitions are assigned to others, which it learns when it runs.
    fn evict(self: &Rc<Self>, member: &Rc<Member>) {
        if member.evicted.replace(true) {
            return;
        }
        let mut lost = member.assigned.take();
        lost.extend(member.revoked.take());
        self.hand_over(&lost);
        if !lost.is_empty() {
            member.notify(GroupEvent::Lost(lost));
        }
        self.rebalance();
    }

    fn hand_over(&self, partitions: &[Partition]) {
        for partition in partitions {
            self.checker.borrow_mut().hand_over(partition.0, self.now());
        }
    }

    /// The process is frozen or dead: its member is evicted after the session timeout, and rejoins if it runs again.
    pub(crate) fn suspend_members(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            member.heartbeats.set(member.heartbeats.get() + 1);
            let heartbeats = member.heartbeats.get();
            let world = Rc::clone(self);
            self.spawn(async move {
                world.executor.until(world.now() + SESSION_TIMEOUT).await;
                if member.heartbeats.get() == heartbeats && !member.evicted.get() {
                    world.record(Actor::Kafka, Tracepoint::Evicted, || {
                        format!("the group evicts {}", Actor::of(&member.process))
                    });
                    world.evict(&member);
                }
            });
        }
    }

    /// The process runs again: its member sends heartbeats or, if it was evicted meanwhile, rejoins.
    pub(crate) fn resume_members(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            member.heartbeats.set(member.heartbeats.get() + 1);
            if !member.left.get() && member.evicted.replace(false) {
                self.rebalance();
            }
        }
    }

    fn members_of(&self, process: &Process) -> Vec<Rc<Member>> {
        let members = self.kafka.members.borrow();
        let own = members
            .iter()
            .filter(|member| member.process.number == process.number);
        own.cloned().collect()
    }

    /// Evicts a member at once, as if the group had missed its heartbeats; it rejoins a little later.
    pub(crate) fn evict_briefly(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            if member.evicted.get() {
                continue;
            }
            self.evict(&member);
            let world = Rc::clone(self);
            let owner = Rc::clone(&member.process);
            self.spawn_of(&owner, async move {
                world.executor.until(world.now() + 100_000).await;
                if !member.left.get() && member.evicted.replace(false) {
                    world.rebalance();
                }
            });
        }
    }

    /// Ends the memberships of a process for good, as a second process with its name does.
    pub(crate) fn end_membership(self: &Rc<Self>, process: &Process) -> bool {
        let members = self.members_of(process);
        let members = members.iter().filter(|member| !member.left.get());
        let mut any = false;
        for member in members {
            let why = LogError::Refused("fenced".to_owned());
            member.left.set(true);
            member.notify(GroupEvent::Ended(why));
            self.evict(member);
            any = true;
        }
        any
    }

    /// Rotates the assignment: every partition changes hands, if there is more than one member.
    pub(crate) fn rotate_assignment(self: &Rc<Self>) {
        self.kafka.rotation.set(self.kafka.rotation.get() + 1);
        self.rebalance();
    }
}
