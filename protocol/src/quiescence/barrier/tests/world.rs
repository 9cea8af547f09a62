//! The barrier in a timed world of one member, one node and one request: a port of the model that section 7 of the
//! design was explored with. The process freezes, perhaps twice with a heartbeat in between, or is killed; the node
//! freezes; the link between them is cut; the ensemble elects a leader. The request was handed to the driver at or
//! before the barrier's beginning; whenever there is quiescence, it has landed or never will.
//!
//! Time goes in steps of half a second. The grid reaches the worst case of each term of `W`: with any one of them, or
//! one of the barrier's rules, removed, a request lands after quiescence.

use super::*;
use crate::quiescence::bound::{CLOCK_DRIFT, MARGIN};

const STEP: Duration = Duration::from_millis(500);
/// Session timeout: three ticks of ZooKeeper's server.
const SESSION: i32 = 6;
const ZOOKEEPER_TICK: i32 = 2;
/// From being read by the node to its effect: queue, then twice the increment's own timeout.
const LANDS_WITHIN: i32 = 4;
/// Silence after which a live process closes the connection.
const KEEPALIVE: i32 = 5;
const END: i32 = 100;
const NEVER: i32 = 1000;

#[derive(Clone, Copy, Debug)]
struct Span {
    from: i32,
    to: i32,
}

impl Span {
    const NONE: Self = Self {
        from: NEVER,
        to: NEVER,
    };

    fn new(from: i32, lasting: i32) -> Self {
        Self {
            from,
            to: from + lasting,
        }
    }

    fn holds(self, t: i32) -> bool {
        self.from <= t && t < self.to
    }
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    frozen: Span,
    frozen_again: Span,
    killed: bool,
    node_frozen: Span,
    link_cut: Span,
    election: i32,
}

/// Where the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Location {
    Driver,
    Kernel,
    Socket,
    Landed,
    Gone,
}

#[derive(Debug)]
struct World {
    schedule: Schedule,
    session_ends: Option<i32>,
    location: Location,
    lands: Option<i32>,
    closed: Option<i32>,
    unlisted: Option<i32>,
    silent: i32,
}

impl World {
    fn new(schedule: Schedule) -> Self {
        let first = schedule.frozen;
        Self {
            schedule,
            session_ends: session_ends(&schedule),
            location: if first.from <= 0 {
                Location::Driver
            } else {
                Location::Kernel
            },
            lands: None,
            closed: None,
            unlisted: None,
            silent: 0,
        }
    }

    fn is_dead(&self, t: i32) -> bool {
        self.session_ends.is_some_and(|ends| t >= ends)
    }

    fn step(&mut self, t: i32) {
        let schedule = self.schedule;
        let killed = schedule.killed && t >= schedule.frozen.from;
        let frozen = schedule.frozen.holds(t) || schedule.frozen_again.holds(t);
        let link = !schedule.link_cut.holds(t);
        let node = !schedule.node_frozen.holds(t);
        if killed && self.closed.is_none() {
            if self.location == Location::Driver {
                self.location = Location::Gone;
            }
            self.closed = Some(t);
        }
        if !killed && !frozen {
            if self.location == Location::Driver {
                self.location = Location::Kernel;
            }
            self.silent = if link && node { 0 } else { self.silent + 1 };
            let notices = self.silent > KEEPALIVE || self.is_dead(t);
            if notices && self.closed.is_none() {
                self.closed = Some(t);
                if self.location == Location::Kernel && !(link && self.silent == 0) {
                    self.location = Location::Gone;
                }
            }
        }
        if self.location == Location::Kernel && link {
            self.location = Location::Socket;
        }
        if self.location == Location::Socket && node {
            self.location = Location::Landed;
            self.lands = Some(t + LANDS_WITHIN);
        }
        if self.closed.is_some() && link && node && self.unlisted.is_none() {
            self.unlisted = Some(t);
        }
    }

    fn is_over(&self, t: i32) -> bool {
        match self.location {
            Location::Gone => true,
            Location::Landed => self.lands.is_some_and(|lands| lands <= t),
            Location::Driver | Location::Kernel | Location::Socket => false,
        }
    }

    fn round(&self, t: i32) -> SampleRound {
        let member = MemberId::new(1, 0);
        let listed = self.unlisted.is_none_or(|unlisted| t < unlisted);
        let connection = Connection {
            client_id: Some(member.to_string()),
            client: ([127, 0, 0, 1], 4000).into(),
        };
        let result = if self.schedule.node_frozen.holds(t) {
            SampleResult::Silent
        } else {
            SampleResult::Serving {
                connections: listed.then_some(connection).into_iter().collect(),
                settings: settings(),
            }
        };
        let moment = Moment::new(Duration::from_secs(1000) + steps(t));
        SampleRound {
            ring: Ok(Vec::new()),
            dead: Ok(self.is_dead(t).then_some(member).into_iter().collect()),
            epoch: Ok(Epoch(i32::from(t >= self.schedule.election))),
            samples: vec![NodeSample {
                own_address: true,
                node: NodeAddress {
                    id: NodeId(uuid::Uuid::nil()),
                    address: ([127, 0, 0, 1], 9042).into(),
                },
                sent_at: moment,
                ended_at: moment,
                result,
            }],
        }
    }
}

/// When ZooKeeper ends the member's session: a timeout after its last heartbeat, at the next tick; an election gives
/// it a whole timeout again.
fn session_ends(schedule: &Schedule) -> Option<i32> {
    let spans = [schedule.frozen, schedule.frozen_again];
    let silences = spans.into_iter().filter(|span| span.from < NEVER);
    for silence in silences {
        let to = if schedule.killed { NEVER } else { silence.to };
        let timeout = SESSION + ZOOKEEPER_TICK;
        let mut ends = silence.from + timeout;
        if silence.from <= schedule.election && schedule.election <= ends {
            ends = schedule.election + timeout;
        }
        if to > ends {
            return Some(ends);
        }
    }
    None
}

fn steps(count: i32) -> Duration {
    STEP * u32::try_from(count).expect("the barrier begins at 0")
}

fn settings() -> NodeSettings {
    NodeSettings {
        native_transport_timeout: steps(LANDS_WITHIN - 2),
        counter_write_request_timeout: steps(1),
        native_transport_idle_timeout: None,
        internode_timeout: true,
    }
}

/// When there is quiescence, if ever, and whether the request can no longer change the store then.
fn run(schedule: Schedule) -> Option<(i32, bool)> {
    let mut world = World::new(schedule);
    let sessions = Sessions {
        longest_timeout: steps(SESSION),
        keepalive_interval: steps(KEEPALIVE - 1),
        keepalive_timeout: steps(1),
    };
    let mut barrier = Barrier::new([MemberId::new(1, 0)], sessions, DeclaredDead::default());
    let first = [
        schedule.frozen.from,
        schedule.node_frozen.from,
        schedule.link_cut.from,
    ];
    let before = first.into_iter().min().unwrap_or(0).min(0);
    for t in before..0 {
        world.step(t);
    }
    for t in 0..END {
        world.step(t);
        if barrier.observe(&world.round(t)) == Verdict::Quiescence {
            return Some((t, world.is_over(t)));
        }
    }
    None
}

/// When the leader of an election begins, after the process froze.
const ELECTION: i32 = SESSION - 1;

/// Freezes of the process: short, as long as its session survives, with an election too, and permanent; those that its
/// session survives also twice, with one heartbeat between.
fn freezes() -> Vec<(Span, Span)> {
    let survived = SESSION + ZOOKEEPER_TICK;
    let mut freezes = vec![(Span::NONE, Span::NONE)];
    for from in [-1, 0, 1, 5] {
        for lasting in [2, survived, survived + 1, survived + ELECTION, 40] {
            let first = Span::new(from, lasting);
            freezes.push((first, Span::NONE));
            if lasting <= survived + ELECTION {
                freezes.push((first, Span::new(first.to + 1, survived)));
            }
        }
    }
    freezes
}

/// Spans of something else: anywhere, and around the moment `released` at which the process goes on at last.
fn others(released: i32, lasting: &[i32]) -> Vec<Span> {
    let mut spans = vec![Span::NONE];
    for from in [-1, 2, 7, released - 1, released, released + 1, released + 4] {
        spans.extend(lasting.iter().map(|lasting| Span::new(from, *lasting)));
    }
    spans
}

/// Every schedule of the grid.
fn each_schedule(mut visit: impl FnMut(Schedule)) {
    for (frozen, frozen_again) in freezes() {
        let last = [frozen_again, frozen]
            .into_iter()
            .find(|span| span.from < NEVER);
        let released = last.map_or(0, |span| span.to);
        // Unseen between two samples for as long as that restarts nothing, and longer.
        let node_spans = others(released, &[1, 3, 4, 30]);
        let mut link_spans = others(released, &[KEEPALIVE, 12]);
        // As long as a process that is alive whenever it runs keeps the connection.
        link_spans.push(Span {
            from: frozen.to - 1,
            to: released + KEEPALIVE - 1,
        });
        let can_die = last.is_some();
        for killed in if can_die {
            vec![false, true]
        } else {
            vec![false]
        } {
            for election in [NEVER, frozen.from + ELECTION] {
                for node_frozen in &node_spans {
                    for link_cut in &link_spans {
                        visit(Schedule {
                            frozen,
                            frozen_again,
                            killed,
                            node_frozen: *node_frozen,
                            link_cut: *link_cut,
                            election,
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn no_request_lands_after_quiescence_whatever_freezes_dies_or_is_cut() {
    let (mut schedules, mut quiet) = (0, 0);
    each_schedule(|schedule| {
        schedules += 1;
        if let Some((end, over)) = run(schedule) {
            quiet += 1;
            assert!(over, "quiescence at {end}: {schedule:?}");
        }
    });
    assert!(schedules > 10_000, "{schedules}");
    assert!(
        quiet * 10 > schedules * 9,
        "{quiet} of {schedules} came to quiescence"
    );
}

/// Drift and margin are for what this world does not have: without them it must hold too, or they would hide something.
#[test]
fn drift_and_margin_are_too_small_to_hide_a_missing_term() {
    assert!(CLOCK_DRIFT + MARGIN <= STEP * 2);
}
