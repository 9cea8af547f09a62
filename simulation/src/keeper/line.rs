//! A client's side of its session: what it has sent, what waits for a connection, and what it knows of its standing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use stitch_common::ports::{SessionState, ZkError};

use super::request::{Answer, Request};
use crate::executor::Micros;
use crate::notes::{Phase, Who};
use crate::process::Process;
use crate::slot::{Signal, Waiting};
use crate::world::World;

/// One session, as its client has it.
pub(crate) struct Line {
    pub(crate) id: i64,
    pub(crate) process: Rc<Process>,
    state: Cell<SessionState>,
    /// A loss of the connection that nobody was told yet.
    lost: Cell<bool>,
    changed: Waiting,
    /// Raised with each connection: what belongs to an earlier one is void.
    connection: Cell<u32>,
    linked: Cell<bool>,
    last_request: Cell<Micros>,
    last_answer: Cell<Micros>,
    /// Sent, and not answered.
    under_way: RefCell<Vec<Rc<Request>>>,
    /// To be sent with the next connection.
    waiting: RefCell<Vec<Rc<Request>>>,
    watches: RefCell<Vec<Rc<Signal>>>,
}

impl Line {
    pub(super) fn new(id: i64, process: &Rc<Process>, now: Micros) -> Self {
        Self {
            id,
            process: Rc::clone(process),
            state: Cell::new(SessionState::Connected),
            lost: Cell::new(false),
            changed: Waiting::default(),
            connection: Cell::new(0),
            linked: Cell::new(true),
            last_request: Cell::new(now),
            last_answer: Cell::new(now),
            under_way: RefCell::default(),
            waiting: RefCell::default(),
            watches: RefCell::default(),
        }
    }

    pub(crate) fn state(&self) -> SessionState {
        self.state.get()
    }

    pub(crate) fn is_linked(&self) -> bool {
        self.linked.get()
    }

    pub(super) fn connection(&self) -> u32 {
        self.connection.get()
    }

    /// A short loss of the connection is told, too, even after there is another.
    pub(super) async fn state_other_than(&self, from: SessionState) -> SessionState {
        self.changed
            .until(|| {
                if from == SessionState::Connected
                    && self.state.get() != SessionState::Over
                    && self.lost.replace(false)
                {
                    return Some(SessionState::Disconnected);
                }
                let state = self.state.get();
                (state != from).then_some(state)
            })
            .await
    }

    /// Answers come in the order of their requests: when one that could come at `at` does.
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

    pub(super) fn watched(&self, signal: &Rc<Signal>) {
        let mut watches = self.watches.borrow_mut();
        watches.retain(|known| !known.has_fired());
        watches.push(Rc::clone(signal));
    }

    /// The client knows that the session is over.
    pub(super) fn over(&self) {
        self.state.set(SessionState::Over);
        self.connection.set(self.connection.get() + 1);
        self.linked.set(false);
        for request in self.under_way.take() {
            let lost = ZkError::Ambiguous("the connection was closed".to_owned());
            request.answer.fill(Err(lost.into()));
        }
        for request in self.waiting.take() {
            request.answer.fill(Err(ZkError::SessionOver.into()));
        }
        self.disturb();
    }

    /// Wakes whoever waits for a change, of state or of a node.
    fn disturb(&self) {
        for signal in self.watches.take() {
            signal.fire();
        }
        self.changed.wake();
    }

    fn answered(&self, request: &Rc<Request>, answer: Answer) {
        self.under_way
            .borrow_mut()
            .retain(|known| !Rc::ptr_eq(known, request));
        request.answer.fill(answer);
    }
}

impl World {
    /// Sends a request, or keeps it until there is a connection.
    pub(super) fn submit(self: &Rc<Self>, line: &Rc<Line>, request: &Rc<Request>) {
        match line.state.get() {
            SessionState::Over => request.answer.fill(Err(ZkError::SessionOver.into())),
            SessionState::Disconnected => line.waiting.borrow_mut().push(Rc::clone(request)),
            SessionState::Connected => self.send(line, request),
        }
    }

    fn send(self: &Rc<Self>, line: &Rc<Line>, request: &Rc<Request>) {
        line.under_way.borrow_mut().push(Rc::clone(request));
        if !line.is_linked() {
            // The client has not noticed yet that nobody reads it.
            return;
        }
        let arrives = line.next_request(self.now() + self.net());
        let connection = line.connection();
        let (world, line, request) = (Rc::clone(self), Rc::clone(line), Rc::clone(request));
        self.spawn(async move {
            world.executor.until(arrives).await;
            if line.connection() != connection || request.done.replace(true) {
                return;
            }
            let answer = world.perform(&line, &request.ask);
            if line.process.is_frozen() || line.process.is_dead() {
                world.last_heard(line.id, world.now());
            } else {
                world.heard(line.id);
            }
            let slow = world.rng.below(world.keeper.slowness.get() + 1);
            let at = line.next_answer(world.now() + world.net() + slow);
            world.executor.until(at).await;
            if line.connection() == connection {
                line.answered(&request, answer);
            }
        });
    }

    /// The connection breaks; the client notices after a while, and has another after the outage, if its session lives.
    /// Of what was on its way, some gets through and some does not, and no answer comes.
    pub(crate) fn cut_line(self: &Rc<Self>, line: &Rc<Line>, notice: Micros, outage: Micros) {
        if !line.is_linked() || line.state() == SessionState::Over {
            return;
        }
        self.note(Who::of(&line.process), Phase::Unlinked, || {
            format!("connection of session {:x} to ZooKeeper breaks", line.id)
        });
        line.linked.set(false);
        line.connection.set(line.connection() + 1);
        self.silent(line.id, self.now());
        let under_way: Vec<_> = line.under_way.borrow().clone();
        for request in under_way {
            if !request.done.replace(true) && self.rng.percent(50) {
                // It gets through, and its answer does not. What it is told is lost.
                drop(self.perform(line, &request.ask));
            }
        }
        let (world, line) = (Rc::clone(self), Rc::clone(line));
        let owner = Rc::clone(&line.process);
        self.spawn_of(&owner, async move {
            world.executor.until(world.now() + notice).await;
            if line.state() == SessionState::Over {
                return;
            }
            line.state.set(SessionState::Disconnected);
            line.lost.set(true);
            for request in line.under_way.take() {
                let why = "the connection was lost".to_owned();
                request.answer.fill(Err(ZkError::Ambiguous(why).into()));
            }
            line.disturb();
            world.executor.until(world.now() + outage).await;
            world.link_again(&line);
        });
    }

    fn link_again(self: &Rc<Self>, line: &Rc<Line>) {
        if line.state() == SessionState::Over {
            return;
        }
        if self.is_session_over(line.id) {
            line.over();
            return;
        }
        line.linked.set(true);
        line.state.set(SessionState::Connected);
        self.heard(line.id);
        self.note(Who::of(&line.process), Phase::Linked, || {
            format!("session {:x} is connected again", line.id)
        });
        line.changed.wake();
        for request in line.waiting.take() {
            self.send(line, &request);
        }
    }
}
