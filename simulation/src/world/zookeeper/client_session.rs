//! The client's side of a session: requests in flight, requests queued for a connection, and the state as it knows it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stitch_common::ports::{SessionState, ZkError};
use stitch_testkit::time::Micros;
use stitch_testkit::wait::{Signal, Waiters};

use super::request::{Answer, Request};
use crate::process::Process;
use crate::trace::{Actor, Tracepoint};
use crate::world::World;

/// A session as its client sees it.
pub(crate) struct ClientSession {
    pub(crate) id: i64,
    /// The random number of its member's id.
    pub(super) nonce: u64,
    pub(crate) process: Rc<Process>,
    state: Cell<SessionState>,
    /// The connection was lost, and that was not reported yet.
    unreported_loss: Cell<bool>,
    changed: Waiters,
    /// Raised with each connection: voids what belongs to an earlier one.
    connection: Cell<u32>,
    connected: Cell<bool>,
    last_request: Cell<Micros>,
    last_answer: Cell<Micros>,
    /// Sent and not answered.
    in_flight: RefCell<Vec<Rc<Request>>>,
    /// To be sent over the next connection.
    queued: RefCell<Vec<Rc<Request>>>,
    watches: RefCell<Vec<Rc<Signal>>>,
}

impl ClientSession {
    pub(super) fn new(id: i64, nonce: u64, process: &Rc<Process>, now: Micros) -> Self {
        Self {
            id,
            nonce,
            process: Rc::clone(process),
            state: Cell::new(SessionState::Connected),
            unreported_loss: Cell::new(false),
            changed: Waiters::default(),
            connection: Cell::new(0),
            connected: Cell::new(true),
            last_request: Cell::new(now),
            last_answer: Cell::new(now),
            in_flight: RefCell::default(),
            queued: RefCell::default(),
            watches: RefCell::default(),
        }
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state.get()
    }

    pub(crate) fn has_connection(&self) -> bool {
        self.connected.get()
    }

    pub(super) fn connection(&self) -> u32 {
        self.connection.get()
    }

    /// Reports a short loss of the connection, too, even after it was restored.
    pub(super) async fn state_other_than(&self, from: SessionState) -> SessionState {
        self.changed
            .until(|| {
                if from == SessionState::Connected
                    && self.state.get() != SessionState::Over
                    && self.unreported_loss.replace(false)
                {
                    return Some(SessionState::Disconnected);
                }
                let state = self.state.get();
                (state != from).then_some(state)
            })
            .await
    }

    /// When an answer that is ready at `at` arrives: answers arrive in the order of their requests.
    pub(super) fn next_answer(&self, at: Micros) -> Micros {
        let at = at.max(self.last_answer.get() + 1);
        self.last_answer.set(at);
        at
    }

    fn next_request(&self, at: Micros) -> Micros {
        let at = at.max(self.last_request.get() + 1);
        self.last_request.set(at);
        at
    }

    pub(super) fn add_watch(&self, signal: &Rc<Signal>) {
        let mut watches = self.watches.borrow_mut();
        watches.retain(|watch| !watch.has_fired());
        watches.push(Rc::clone(signal));
    }

    /// The client learns that the session is over.
    pub(super) fn expire(&self) {
        self.state.set(SessionState::Over);
        self.connection.set(self.connection.get() + 1);
        self.connected.set(false);
        for request in self.in_flight.take() {
            let lost = ZkError::Ambiguous("the connection was closed".to_owned());
            request.answer.send(Err(lost.into()));
        }
        for request in self.queued.take() {
            request.answer.send(Err(ZkError::SessionOver.into()));
        }
        self.wake_all();
    }

    /// Wakes every task that waits for a change of the state or of a node.
    fn wake_all(&self) {
        for signal in self.watches.take() {
            signal.fire();
        }
        self.changed.wake();
    }

    fn deliver(&self, request: &Rc<Request>, answer: Answer) {
        self.in_flight
            .borrow_mut()
            .retain(|one| !Rc::ptr_eq(one, request));
        request.answer.send(answer);
    }
}

impl World {
    /// Sends a request, or queues it until there is a connection.
    pub(super) fn submit(self: &Rc<Self>, client: &Rc<ClientSession>, request: &Rc<Request>) {
        match client.state.get() {
            SessionState::Over => request.answer.send(Err(ZkError::SessionOver.into())),
            SessionState::Disconnected => client.queued.borrow_mut().push(Rc::clone(request)),
            SessionState::Connected => self.send(client, request),
        }
    }

    fn send(self: &Rc<Self>, client: &Rc<ClientSession>, request: &Rc<Request>) {
        client.in_flight.borrow_mut().push(Rc::clone(request));
        if !client.has_connection() {
            // The client has not noticed yet that the connection is lost.
            return;
        }
        let arrives = client.next_request(self.now() + self.net());
        let connection = client.connection();
        let (world, client, request) = (Rc::clone(self), Rc::clone(client), Rc::clone(request));
        self.spawn(async move {
            world.executor.until(arrives).await;
            if client.connection() != connection || request.executed.replace(true) {
                return;
            }
            let answer = world.execute(&client, &request.op);
            if client.process.is_frozen() || client.process.is_dead() {
                world.expire_after(client.id, world.now());
            } else {
                world.heartbeat(client.id);
            }
            let slow = world.rng.below(world.zookeeper.slowness.get() + 1);
            let at = client.next_answer(world.now() + world.net() + slow);
            world.executor.until(at).await;
            if client.connection() == connection {
                client.deliver(&request, answer);
            }
        });
    }

    /// Breaks the connection. The client notices after `notice`, and reconnects after `outage` if its session lives. Of the
    /// requests in flight, some still reach the servers; none is answered.
    pub(crate) fn disconnect(
        self: &Rc<Self>,
        client: &Rc<ClientSession>,
        notice: Micros,
        outage: Micros,
    ) {
        if !client.has_connection() || client.state() == SessionState::Over {
            return;
        }
        self.record(Actor::of(&client.process), Tracepoint::Disconnected, || {
            format!("connection of session {:x} to ZooKeeper breaks", client.id)
        });
        client.connected.set(false);
        client.connection.set(client.connection() + 1);
        self.stop_heartbeats(client.id, self.now());
        let in_flight: Vec<_> = client.in_flight.borrow().clone();
        for request in in_flight {
            if !request.executed.replace(true) && self.rng.percent(50) {
                // The request gets through; its answer is lost.
                drop(self.execute(client, &request.op));
            }
        }
        let (world, client) = (Rc::clone(self), Rc::clone(client));
        let owner = Rc::clone(&client.process);
        self.spawn_of(&owner, async move {
            world.executor.until(world.now() + notice).await;
            if client.state() == SessionState::Over {
                return;
            }
            client.state.set(SessionState::Disconnected);
            client.unreported_loss.set(true);
            for request in client.in_flight.take() {
                let why = "the connection was lost".to_owned();
                request.answer.send(Err(ZkError::Ambiguous(why).into()));
            }
            client.wake_all();
            world.executor.until(world.now() + outage).await;
            world.reconnect(&client);
        });
    }

    fn reconnect(self: &Rc<Self>, client: &Rc<ClientSession>) {
        if client.state() == SessionState::Over {
            return;
        }
        if self.is_session_over(client.id) {
            client.expire();
            return;
        }
        client.connected.set(true);
        client.state.set(SessionState::Connected);
        self.heartbeat(client.id);
        self.record(Actor::of(&client.process), Tracepoint::Reconnected, || {
            format!("session {:x} is connected again", client.id)
        });
        client.changed.wake();
        for request in client.queued.take() {
            self.send(client, &request);
        }
    }
}
