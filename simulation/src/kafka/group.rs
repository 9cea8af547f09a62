//! The consumer group: who is in it, who has which partition, and how partitions change hands. Its members' hearts beat
//! on a thread of their own: a slow process stays, a frozen or dead one is put out.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::rc::Rc;

use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::{Group, GroupEvent, LogError, RevokeAck};

use super::SESSION;
use crate::notes::{Phase, Who};
use crate::process::Process;
use crate::slot::{Either, Fired, Signal, Waiting, either};
use crate::world::{Handle, World};

/// One member, as the group sees it.
pub(crate) struct Member {
    pub(crate) process: Rc<Process>,
    gone: Cell<bool>,
    /// Its process has left: it never comes back.
    left: Cell<bool>,
    /// Raised whenever it is heard of, or ceases to be.
    looks: Cell<u64>,
    has: RefCell<Vec<i32>>,
    /// Revoked, and not given back yet.
    giving: RefCell<Vec<i32>>,
    events: RefCell<VecDeque<GroupEvent<SimAck>>>,
    changed: Waiting,
}

impl Member {
    fn tell(&self, event: GroupEvent<SimAck>) {
        self.events.borrow_mut().push_back(event);
        self.changed.wake();
    }
}

/// Membership of one process.
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
        let mut members = world.topic.members.borrow_mut();
        let member = Rc::new(Member {
            process: Rc::clone(&handle.process),
            gone: Cell::new(false),
            left: Cell::new(false),
            looks: Cell::new(0),
            has: RefCell::default(),
            giving: RefCell::default(),
            events: RefCell::default(),
            changed: Waiting::default(),
        });
        members.push(Rc::clone(&member));
        drop(members);
        world.deal();
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
            if member.gone.get() {
                return Err(LogError::Unavailable("unknown member".to_owned()));
            }
            let mut committed = handle.world.topic.committed.borrow_mut();
            for (partition, offset) in &offsets.0 {
                committed.insert(partition.0, offset.0);
            }
            Ok(())
        }
    }

    /// Now and then the group takes its time to let a member go.
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
            self.handle.world.put_out(&self.member);
        }
    }
}

impl World {
    /// Deals the partitions out anew: those that go elsewhere are revoked first, and dealt when they are given back.
    pub(crate) fn deal(self: &Rc<Self>) {
        let members: Vec<_> = {
            let members = self.topic.members.borrow();
            members
                .iter()
                .filter(|member| !member.gone.get())
                .cloned()
                .collect()
        };
        if members.is_empty() {
            return;
        }
        let count = self.topic.records.borrow().len();
        let mut assigned: BTreeMap<usize, Vec<Partition>> = BTreeMap::new();
        let mut revoked: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        for index in 0..count {
            let partition = i32::try_from(index).unwrap_or(i32::MAX);
            let wanted = (index + self.topic.turn.get()) % members.len();
            let has = |member: &Rc<Member>| member.has.borrow().contains(&partition);
            let gives = |member: &Rc<Member>| member.giving.borrow().contains(&partition);
            match members.iter().position(has) {
                Some(owner) if owner == wanted => {}
                Some(owner) => revoked.entry(owner).or_default().push(partition),
                None if members.iter().any(gives) => {}
                None => {
                    members[wanted].has.borrow_mut().push(partition);
                    assigned
                        .entry(wanted)
                        .or_default()
                        .push(Partition(partition));
                }
            }
        }
        for (owner, partitions) in revoked {
            self.revoke(&members[owner], &partitions);
        }
        for (owner, partitions) in assigned {
            self.note(Who::of(&members[owner].process), Phase::Dealt, || {
                format!("is assigned partitions {partitions:?}")
            });
            members[owner].tell(GroupEvent::Assigned(partitions));
        }
    }

    fn revoke(self: &Rc<Self>, member: &Rc<Member>, partitions: &[i32]) {
        for partition in partitions {
            self.checker.borrow_mut().leaving(*partition, self.now());
        }
        self.note(Who::of(&member.process), Phase::Revoked, || {
            format!("is to give back partitions {partitions:?}")
        });
        member
            .has
            .borrow_mut()
            .retain(|has| !partitions.contains(has));
        member.giving.borrow_mut().extend(partitions);
        let given = Rc::new(Signal::default());
        let named: Vec<_> = partitions.iter().map(|one| Partition(*one)).collect();
        member.tell(GroupEvent::Revoked(
            named.clone(),
            SimAck(Rc::clone(&given)),
        ));
        let (world, member) = (Rc::clone(self), Rc::clone(member));
        self.spawn(async move {
            let bound = world.executor.until(world.now() + SESSION);
            let lost = matches!(either(Fired(given), bound).await, Either::Right(()));
            let before = member.giving.borrow().len();
            member
                .giving
                .borrow_mut()
                .retain(|one| !named.contains(&Partition(*one)));
            if before == member.giving.borrow().len() {
                return;
            }
            if lost {
                member.tell(GroupEvent::Lost(named));
            }
            world.deal();
        });
    }

    /// The member is out: what it had belongs to others, which it learns when it can.
    fn put_out(self: &Rc<Self>, member: &Rc<Member>) {
        if member.gone.replace(true) {
            return;
        }
        let mut had = member.has.take();
        had.extend(member.giving.take());
        for partition in &had {
            self.checker.borrow_mut().leaving(*partition, self.now());
        }
        if !had.is_empty() {
            let lost = had.into_iter().map(Partition).collect();
            member.tell(GroupEvent::Lost(lost));
        }
        self.deal();
    }

    /// The member's heart is not heard any more: after a session it is put out, and joins anew if it goes on.
    pub(crate) fn members_fall_silent(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            member.looks.set(member.looks.get() + 1);
            let looks = member.looks.get();
            let world = Rc::clone(self);
            self.spawn(async move {
                world.executor.until(world.now() + SESSION).await;
                if member.looks.get() == looks && !member.gone.get() {
                    world.note(Who::Topic, Phase::PutOut, || {
                        format!("the group puts {} out", Who::of(&member.process))
                    });
                    world.put_out(&member);
                }
            });
        }
    }

    /// The process goes on: its member is heard of, or, put out meanwhile, joins anew.
    pub(crate) fn members_are_heard(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            member.looks.set(member.looks.get() + 1);
            if !member.left.get() && member.gone.replace(false) {
                self.deal();
            }
        }
    }

    fn members_of(&self, process: &Process) -> Vec<Rc<Member>> {
        let members = self.topic.members.borrow();
        let own = members
            .iter()
            .filter(|member| member.process.number == process.number);
        own.cloned().collect()
    }

    /// Puts one member out at once, which joins anew a little later: as when the group has missed its heart.
    pub(crate) fn evict(self: &Rc<Self>, process: &Process) {
        for member in self.members_of(process) {
            if member.gone.get() {
                continue;
            }
            self.put_out(&member);
            let world = Rc::clone(self);
            let owner = Rc::clone(&member.process);
            self.spawn_of(&owner, async move {
                world.executor.until(world.now() + 100_000).await;
                if !member.left.get() && member.gone.replace(false) {
                    world.deal();
                }
            });
        }
    }

    /// Deals in another order: every partition changes hands, if there is more than one member.
    pub(crate) fn rebalance(self: &Rc<Self>) {
        self.topic.turn.set(self.topic.turn.get() + 1);
        self.deal();
    }
}
