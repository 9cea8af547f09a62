//! Connections: a node lists each under its member's id until it has read everything that came over it, and its end.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use stitch_common::clock::Clock;
use stitch_testkit::wait::{Signal, Waiters};

use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
use crate::world::World;

/// A connection of a member's driver to one node.
pub(crate) struct Connection {
    pub(crate) member: String,
    pub(crate) process: Rc<Process>,
    pub(crate) node: usize,
    /// The incarnation of the node at which it was opened.
    incarnation: u32,
    listed: Cell<bool>,
    /// Fired when its process closes it.
    pub(crate) closed: Rc<Signal>,
    /// The process closed it because the node was silent: the kernel drops what it still holds.
    reset: Cell<bool>,
    /// Requests that the node has not read yet.
    unread: Cell<u32>,
    read: Waiters,
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

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    pub(crate) fn client(&self) -> SocketAddr {
        let host = u8::try_from(self.process.slot.0 + 1).unwrap_or(u8::MAX);
        let port = u16::try_from(40_000 + self.process.number).unwrap_or(u16::MAX);
        ([10, 0, 0, host], port).into()
    }

    pub(crate) fn mark_sent(&self) {
        self.unread.set(self.unread.get() + 1);
    }

    pub(crate) fn mark_read(&self) {
        self.unread.set(self.unread.get() - 1);
        self.read.wake();
    }
}

impl World {
    /// The driver's connection to a node: an existing one, or a new one if the node can be reached.
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
                    && one.incarnation == at.incarnation()
            });
            if let Some(usable) = usable {
                return Some(Rc::clone(usable));
            }
        }
        if !at.answers() || self.cluster.is_cut(process.number, node) {
            return None;
        }
        let opened = Rc::new(Connection {
            member: member.to_owned(),
            process: Rc::clone(process),
            node,
            incarnation: at.incarnation(),
            listed: Cell::new(true),
            closed: Rc::default(),
            reset: Cell::new(false),
            unread: Cell::new(0),
            read: Waiters::default(),
        });
        self.cluster
            .connections
            .borrow_mut()
            .push(Rc::clone(&opened));
        Some(opened)
    }

    /// Closes a connection, as its process or its kernel does: the node learns of it after everything sent before.
    pub(crate) fn close_connection(self: &Rc<Self>, connection: &Rc<Connection>) {
        if connection.is_closed() {
            return;
        }
        connection.closed.fire();
        let (world, connection) = (Rc::clone(self), Rc::clone(connection));
        self.spawn(async move {
            let node = Rc::clone(&world.cluster.nodes[connection.node]);
            world.hop().await;
            world.wait_until_reachable(&connection).await;
            let mut alive = node.wait_until_running(connection.incarnation).await;
            if alive {
                let read = || (connection.unread.get() == 0).then_some(());
                connection.read.until(read).await;
                alive = node.wait_until_running(connection.incarnation).await;
            }
            connection.listed.set(false);
            let connections = &world.cluster.connections;
            connections
                .borrow_mut()
                .retain(|one| !Rc::ptr_eq(one, &connection));
            if alive {
                world.record(
                    Actor::Node(connection.node),
                    Tracepoint::ConnectionUnlisted,
                    || format!("no longer lists a connection of {}", connection.member),
                );
            }
        });
    }

    /// Waits until the process and the node of a connection can reach each other.
    pub(super) async fn wait_until_reachable(&self, connection: &Connection) {
        let (process, node) = (connection.process.number, connection.node);
        let cluster = &self.cluster;
        let open = || (!cluster.is_cut(process, node)).then_some(());
        cluster.healed.until(open).await;
    }

    pub(crate) fn close_connections(self: &Rc<Self>, which: impl Fn(&Connection) -> bool) {
        let connections: Vec<_> = self.cluster.connections.borrow().clone();
        for connection in connections {
            if which(&connection) {
                self.close_connection(&connection);
            }
        }
    }

    /// Kills a node: its connections are listed no more, and their clients learn of it when they run.
    pub(crate) fn kill_node(self: &Rc<Self>, node: usize) {
        self.cluster.nodes[node].crash(self.now());
        self.cluster.pending.borrow_mut().drop_of_node(node);
        let broken: Vec<_> = {
            let connections = self.cluster.connections.borrow();
            let at = connections.iter().filter(|one| one.node == node);
            at.cloned().collect()
        };
        for connection in broken {
            connection.listed.set(false);
            let (world, owner) = (Rc::clone(self), Rc::clone(&connection.process));
            self.spawn_of(&owner, async move {
                world.hop().await;
                world.close_connection(&connection);
            });
        }
    }

    /// Isolates a process from a node. Its driver closes the connection after probes without an answer, unless it is frozen
    /// or the network has healed meanwhile.
    pub(crate) fn isolate(self: &Rc<Self>, process: &Rc<Process>, node: usize) {
        self.cluster.cuts.borrow_mut().push((process.number, node));
        let (world, owner) = (Rc::clone(self), Rc::clone(process));
        self.spawn_of(process, async move {
            let clock = world.clock(&owner);
            clock
                .sleep(Duration::from_micros(2 * owner.keepalive))
                .await;
            if world.cluster.is_cut(owner.number, node) {
                let connections: Vec<_> = world.cluster.connections.borrow().clone();
                let own = connections
                    .into_iter()
                    .filter(|one| one.process.number == owner.number && one.node == node);
                for connection in own {
                    connection.reset.set(true);
                    world.close_connection(&connection);
                }
            }
        });
    }

    pub(crate) fn heal(&self, process: usize, node: usize) {
        let mut cuts = self.cluster.cuts.borrow_mut();
        cuts.retain(|cut| *cut != (process, node));
        drop(cuts);
        self.cluster.healed.wake();
    }
}
