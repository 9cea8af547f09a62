//! One node: up or down, awake or frozen.

use std::cell::Cell;

use stitch_common::ports::{NodeAddress, NodeId};

use crate::executor::Micros;
use crate::slot::Waiting;

/// How long its peers go on thinking that they hear of a node that is down.
pub(crate) const GOSSIP: Micros = 400_000;

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    up: Cell<bool>,
    frozen: Cell<bool>,
    /// Raised with each start: what belonged to an earlier one is gone.
    starts: Cell<u32>,
    down_since: Cell<Micros>,
    waiting: Waiting,
}

impl Node {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            up: Cell::new(true),
            frozen: Cell::new(false),
            starts: Cell::new(0),
            down_since: Cell::new(0),
            waiting: Waiting::default(),
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

    /// It runs and is not frozen.
    pub(crate) fn answers(&self) -> bool {
        self.up.get() && !self.frozen.get()
    }

    pub(crate) fn starts(&self) -> u32 {
        self.starts.get()
    }

    pub(crate) fn freeze(&self) {
        self.frozen.set(true);
    }

    pub(crate) fn thaw(&self) {
        self.frozen.set(false);
        self.waiting.wake();
    }

    /// It is killed. What it holds is on its disk; what it was doing is gone.
    pub(crate) fn fall(&self, now: Micros) {
        self.up.set(false);
        self.frozen.set(false);
        self.starts.set(self.starts.get() + 1);
        self.down_since.set(now);
        self.waiting.wake();
    }

    pub(crate) fn start(&self) {
        self.up.set(true);
        self.waiting.wake();
    }

    /// Whether the others hear of it, as far as they know.
    pub(crate) fn is_heard_of(&self, now: Micros) -> bool {
        self.up.get() || now < self.down_since.get() + GOSSIP
    }

    /// Waits until it goes on. `false` if it was killed since its start `starts`.
    pub(crate) async fn goes_on(&self, starts: u32) -> bool {
        self.waiting
            .until(|| {
                if self.starts.get() != starts {
                    return Some(false);
                }
                self.answers().then_some(true)
            })
            .await
    }
}
