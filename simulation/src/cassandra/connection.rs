//! Connections: each is listed at its node under its member's id until the node has read everything that came by it and
//! then its end.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;

use stitch_common::clock::Clock;

use super::KEEPALIVE;
use crate::notes::{Phase, Who};
use crate::process::Process;
use crate::slot::{Signal, Waiting};
use crate::world::World;

/// A connection of a member's driver session to one node.
pub(crate) struct Connection {
    pub(crate) member: String,
    pub(crate) process: Rc<Process>,
    pub(crate) node: usize,
    starts: u32,
    listed: Cell<bool>,
    /// Fired when its process is done with it.
    pub(crate) closed: Rc<Signal>,
    /// It was closed by the process because the node was not heard: what its kernel still holds is dropped.
    reset: Cell<bool>,
    /// Requests that the node has not read yet.
    unread: Cell<u32>,
    read: Waiting,
}

impl Connection {
    pub(crate) fn is_listed(&self) -> bool {
        self.listed.get()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.has_fired()
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.reset.get()
    }

    pub(crate) fn starts(&self) -> u32 {
        self.starts
    }

    pub(crate) fn client(&self) -> SocketAddr {
        let host = u8::try_from(self.process.seat.0 + 1).unwrap_or(u8::MAX);
        let port = u16::try_from(40_000 + self.process.number).unwrap_or(u16::MAX);
        ([10, 0, 0, host], port).into()
    }

    pub(crate) fn sent(&self) {
        self.unread.set(self.unread.get() + 1);
    }

    pub(crate) fn was_read(&self) {
        self.unread.set(self.unread.get() - 1);
        self.read.wake();
    }
}

impl World {
    /// The driver's connection to a node: the one there is, or a new one if the node can be reached.
    pub(super) fn connection(
        self: &Rc<Self>,
        process: &Rc<Process>,
        member: &str,
        node: usize,
    ) -> Option<Rc<Connection>> {
        let at = &self.cluster.nodes[node];
        {
            let connections = self.cluster.connections.borrow();
            let usable = connections.iter().find(|one| {
                one.node == node
                    && one.member == member
                    && !one.is_closed()
                    && one.starts == at.starts()
            });
            if let Some(usable) = usable {
                return Some(Rc::clone(usable));
            }
        }
        if !at.answers() || self.cluster.is_cut(process.number, node) {
            return None;
        }
        let made = Rc::new(Connection {
            member: member.to_owned(),
            process: Rc::clone(process),
            node,
            starts: at.starts(),
            listed: Cell::new(true),
            closed: Rc::default(),
            reset: Cell::new(false),
            unread: Cell::new(0),
            read: Waiting::default(),
        });
        self.cluster.connections.borrow_mut().push(Rc::clone(&made));
        Some(made)
    }

    /// The process closes a connection, or is gone: the node learns of it behind all that was sent before.
    pub(crate) fn hang_up(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.is_closed() {
            return;
        }
        connection.closed.fire();
        let (world, connection) = (Rc::clone(self), Rc::clone(connection));
        self.spawn(async move {
            let node = Rc::clone(&world.cluster.nodes[connection.node]);
            world.executor.until(world.now() + world.net()).await;
            world.reachable(&connection).await;
            let mut alive = node.goes_on(connection.starts).await;
            if alive {
                let read = || (connection.unread.get() == 0).then_some(());
                connection.read.until(read).await;
                alive = node.goes_on(connection.starts).await;
            }
            connection.listed.set(false);
            let connections = &world.cluster.connections;
            connections
                .borrow_mut()
                .retain(|one| !Rc::ptr_eq(one, &connection));
            if alive {
                world.note(Who::Node(connection.node), Phase::Unlisted, || {
                    format!("lists no connection of {} any more", connection.member)
                });
            }
        });
    }

    /// Waits until nothing cuts the process of a connection off from its node.
    pub(super) async fn reachable(&self, connection: &Connection) {
        let (process, node) = (connection.process.number, connection.node);
        let cluster = &self.cluster;
        let open = || (!cluster.is_cut(process, node)).then_some(());
        cluster.healed.until(open).await;
    }

    pub(crate) fn hang_up_all(self: &Rc<Self>, which: impl Fn(&Connection) -> bool) {
        let connections: Vec<_> = self.cluster.connections.borrow().clone();
        for connection in connections {
            if which(&connection) {
                self.hang_up(&connection);
            }
        }
    }

    /// The node is killed: nobody lists its connections any more, and their clients learn of it when they are awake.
    pub(crate) fn node_falls(self: &Rc<Self>, node: usize) {
        self.cluster.nodes[node].fall(self.now());
        self.cluster.frames.borrow_mut().node_fell(node);
        let fallen: Vec<_> = {
            let connections = self.cluster.connections.borrow();
            let at = connections.iter().filter(|one| one.node == node);
            at.cloned().collect()
        };
        for connection in fallen {
            connection.listed.set(false);
            let (world, owner) = (Rc::clone(self), Rc::clone(&connection.process));
            self.spawn_of(&owner, async move {
                world.executor.until(world.now() + world.net()).await;
                world.hang_up(&connection);
            });
        }
    }

    /// The process is cut off from the node: its driver closes the connection when it has tried it in vain, unless it
    /// is frozen or the cut has healed meanwhile.
    pub(crate) fn cut_off(self: &Rc<Self>, process: &Rc<Process>, node: usize) {
        self.cluster.cuts.borrow_mut().push((process.number, node));
        let (world, owner) = (Rc::clone(self), Rc::clone(process));
        self.spawn_of(process, async move {
            let clock = world.clock(&owner);
            clock.sleep(KEEPALIVE * 2).await;
            if world.cluster.is_cut(owner.number, node) {
                let connections: Vec<_> = world.cluster.connections.borrow().clone();
                let own = connections
                    .into_iter()
                    .filter(|one| one.process.number == owner.number && one.node == node);
                for connection in own {
                    connection.reset.set(true);
                    world.hang_up(&connection);
                }
            }
        });
    }

    pub(crate) fn heal_cut(&self, process: usize, node: usize) {
        let mut cuts = self.cluster.cuts.borrow_mut();
        cuts.retain(|cut| *cut != (process, node));
        drop(cuts);
        self.cluster.healed.wake();
    }
}
