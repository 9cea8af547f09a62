//! One node: up or down, running or frozen.

use std::cell::Cell;

use stitch_common::ports::{NodeAddress, NodeId};
use stitch_testkit::time::Micros;
use stitch_testkit::wait::Waiters;

/// How long the other nodes take a node for up that is down.
pub(crate) const GOSSIP: Micros = 400_000;

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    up: Cell<bool>,
    frozen: Cell<bool>,
    /// Its commit log takes nothing.
    stalled: Cell<bool>,
    /// It was removed from the ring while it was frozen.
    removed: Cell<bool>,
    /// Raised when the node is killed: voids what belongs to an earlier incarnation.
    incarnation: Cell<u32>,
    down_since: Cell<Micros>,
    waiters: Waiters,
}

impl Node {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            up: Cell::new(true),
            frozen: Cell::new(false),
            stalled: Cell::new(false),
            removed: Cell::new(false),
            incarnation: Cell::new(0),
            down_since: Cell::new(0),
            waiters: Waiters::default(),
        }
    }

    pub(crate) fn address(&self) -> NodeAddress {
        let number = u8::try_from(self.number).unwrap_or(u8::MAX);
        NodeAddress {
            id: NodeId(uuid::Uuid::from_u128(u128::from(number) + 1)),
            address: ([127, 0, 0, number + 1], 9042).into(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.get()
    }

    /// Whether the node is up and not frozen.
    pub(crate) fn answers(&self) -> bool {
        self.up.get() && !self.frozen.get()
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation.get()
    }

    pub(crate) fn freeze(&self) {
        self.frozen.set(true);
    }

    /// Freezes the node and removes it from the ring.
    pub(crate) fn remove(&self) {
        self.frozen.set(true);
        self.removed.set(true);
    }

    pub(crate) fn is_in_ring(&self) -> bool {
        !self.removed.get()
    }

    /// Goes on where it was frozen; one that was removed comes back.
    pub(crate) fn thaw(&self) {
        self.frozen.set(false);
        self.removed.set(false);
        self.waiters.wake();
    }

    /// Stalls its commit log: increments that it has begun to apply wait, and everything else goes on.
    pub(crate) fn stall(&self) {
        self.stalled.set(true);
    }

    pub(crate) fn resume(&self) {
        self.stalled.set(false);
        self.waiters.wake();
    }

    /// Whether the node answers and applies increments.
    pub(crate) fn applies(&self) -> bool {
        self.answers() && !self.stalled.get()
    }

    /// Kills the node. Its data is on disk; its work in progress is lost.
    pub(crate) fn crash(&self, now: Micros) {
        self.up.set(false);
        self.frozen.set(false);
        self.stalled.set(false);
        self.incarnation.set(self.incarnation.get() + 1);
        self.down_since.set(now);
        self.waiters.wake();
    }

    pub(crate) fn start(&self) {
        self.up.set(true);
        self.waiters.wake();
    }

    /// Whether the other nodes take it for up.
    pub(crate) fn seems_up(&self, now: Micros) -> bool {
        self.up.get() || now < self.down_since.get() + GOSSIP
    }

    /// Waits until the node is up and not frozen. `false` if it was killed since `incarnation`.
    pub(crate) async fn wait_until_running(&self, incarnation: u32) -> bool {
        self.wait_until(incarnation, Self::answers).await
    }

    /// Waits until the node applies increments. `false` if it was killed since `incarnation`.
    pub(super) async fn wait_until_applying(&self, incarnation: u32) -> bool {
        self.wait_until(incarnation, Self::applies).await
    }

    async fn wait_until(&self, incarnation: u32, ready: impl Fn(&Self) -> bool) -> bool {
        self.waiters
            .until(|| {
                if self.incarnation.get() != incarnation {
                    return Some(false);
                }
                ready(self).then_some(true)
            })
            .await
    }
}
