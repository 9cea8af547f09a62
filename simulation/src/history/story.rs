//! Stories: several faults in a certain order, which make one of the rules necessary and which chance alone produces too
//! seldom. A share of the histories follows one; whatever the story leaves open is drawn.

use stitch_testkit::time::Micros;

use super::{Command, EarlyEnd, Fault, History, Injection, ProducedEvent, When};
use crate::named::named_enum;
use crate::rng::Rng;
use crate::trace::Tracepoint;
use crate::world::checker::{EVENTS_MAX, KEYS};

named_enum! {
    /// Faults in the order that makes one of the rules necessary.
    Story {
        Overtaken "a dead sender's increment is still in flight when its successor has counted the event",
        Between "a member dies between two snapshots of a restoration",
        Doubled "a correction outlives its sender's patience",
        StoppedInDoubt "a restoration is stopped with a correction in flight, and another one follows",
        Deadline "a processor is stopped with an increment in flight that its deadline does not await",
        Unlisted "a processor leaves while its connection is cut off with an increment in it",
        Unacknowledged "a processor dies with an increment applied and not checkpointed, and the restoration's feed lags",
        DeposedLeader "a processor dies with an increment applied that a deposed leader does not show to the restoration",
        NoProgress "an increment lies in a frozen node while a restoration waits for the quiescence barrier",
        Lagging "increments are on one replica only",
        SlowMarkers "ZooKeeper answers slowly while outcomes are unknown",
        Epochs "an isolated process is frozen over several elections",
        SteadyLoad "events without a pause during the last restoration",
        Audits "audits while events arrive",
        GivenUp "a processor is stopped while Cassandra applies only some of what it has begun",
        DeletedLock "a partition's lock entry is deleted by hand",
        Removed "a node is frozen with an increment in its sockets, removed from the ring, and comes back",
        Stalled "an increment waits in a node's commit log while a restoration waits for the quiescence barrier",
        Patient "a processor keeps a dead connection for longer than the restorator would",
    }
}

const MS: Micros = 1000;
const SECOND: Micros = 1000 * MS;

impl Story {
    /// Makes a history follow the story.
    pub(super) fn apply(self, rng: &Rng, history: &mut History) {
        history.story = Some(self);
        history.latency = rng.pick(&[500, 500, 2000]);
        history.drifts.iter_mut().for_each(|drift| *drift = 0);
        let mut builder = Builder { rng, history };
        match self {
            Self::Overtaken => builder.overtaken(),
            Self::Between => builder.between(),
            Self::Doubled => builder.doubled(),
            Self::StoppedInDoubt => builder.stopped_in_doubt(),
            Self::Deadline => builder.deadline(),
            Self::Unlisted => builder.unlisted(),
            Self::Unacknowledged => builder.unacknowledged(Fault::StalledFeed),
            Self::DeposedLeader => builder.unacknowledged(Fault::DeposedLeader),
            Self::NoProgress => builder.silent(),
            Self::Lagging => builder.lagging(),
            Self::SlowMarkers => builder.slow_markers(),
            Self::Epochs => builder.epochs(),
            Self::SteadyLoad => builder.steady_load(),
            Self::Audits => builder.audits(),
            Self::GivenUp => builder.given_up(),
            Self::DeletedLock => builder.deleted_lock(),
            Self::Removed => builder.removed(),
            Self::Stalled => builder.stalled(),
            Self::Patient => builder.patient(),
        }
    }
}

/// Writes a story into a history.
struct Builder<'a> {
    rng: &'a Rng,
    history: &'a mut History,
}

impl Builder<'_> {
    fn run_at(&mut self, at: &[Micros]) {
        let command = |at: &Micros| Command {
            at: *at,
            only_plan: false,
            range: None,
            counter: None,
            stop_after: None,
        };
        self.history.commands = at.iter().map(command).collect();
    }

    /// Right after `point`, `fault` strikes the process that passed it.
    fn after(
        &mut self,
        from: Micros,
        point: Tracepoint,
        fault: Fault,
        length: Micros,
    ) -> &mut Injection {
        self.then(from, (point, None), fault, length)
    }

    /// The same, right after `points.1` has followed `points.0`.
    fn then(
        &mut self,
        from: Micros,
        points: (Tracepoint, Option<Tracepoint>),
        fault: Fault,
        length: Micros,
    ) -> &mut Injection {
        self.history.faults.push(Injection {
            fault,
            when: When::After {
                from,
                point: points.0,
                next: points.1,
                times: 1,
                delay: 0,
            },
            slot: self.rng.index(self.history.processors + 1),
            node: self.rng.index(crate::world::cassandra::NODES),
            at_target: true,
            length,
            early_end: None,
        });
        self.history
            .faults
            .last_mut()
            .expect("it was just put there")
    }

    fn at(&mut self, at: Micros, fault: Fault, length: Micros) -> &mut Injection {
        let injection = self.after(0, Tracepoint::Event, fault, length);
        injection.when = When::At(at);
        injection
    }

    /// Makes sure that there is a successor.
    fn two_processors(&mut self) {
        while self.history.processors < 2 {
            self.history.processors += 1;
            self.history.drifts.push(0);
        }
    }

    /// Enough events before `at` that ranges are locked, and some right after it.
    fn events_until(&mut self, at: Micros) {
        let mut when = 0;
        for event in &mut self.history.events {
            when += self.rng.below(at / 4);
            event.at = event.at.min(when);
        }
        for _ in 0..3 {
            let keys = Some((self.rng.index(KEYS.len()), self.rng.index(KEYS.len())));
            self.history.events.push(ProducedEvent {
                at: at + self.rng.below(10 * MS),
                partition: self.rng.index(self.history.partitions),
                keys,
            });
        }
        self.history.events.sort_by_key(|event| event.at);
    }

    /// A processor is isolated from the node that it has just sent to, and killed.
    fn send_and_die(&mut self, from: Micros, length: Micros, evicted: u64) {
        self.two_processors();
        self.events_until(from);
        self.after(
            from,
            Tracepoint::IncrementSent,
            Fault::IsolateFromNode,
            length,
        );
        if self.rng.percent(evicted) {
            self.after(from, Tracepoint::IncrementSent, Fault::Evict, length);
        }
        let delay = 700 + self.rng.below(600);
        let kill = self.after(from, Tracepoint::IncrementSent, Fault::Kill, length);
        kill.when.delay_by(delay);
    }

    fn overtaken(&mut self) {
        let from = self.rng.between(300 * MS, 800 * MS);
        let length = self.rng.between(3 * SECOND, 8 * SECOND);
        self.send_and_die(from, length, 60);
        if self.rng.percent(50) {
            let point = self.rng.pick(&[
                Tracepoint::Converged,
                Tracepoint::Queued,
                Tracepoint::Granted,
                Tracepoint::Dirty,
                Tracepoint::ReadUnderLock,
            ]);
            self.history.faults[0].early_end = Some(EarlyEnd { point, delay: 0 });
        }
        self.run_at(&[from + self.rng.between(500 * MS, 2500 * MS)]);
        self.history.faults_end_at = 9 * SECOND;
    }

    fn between(&mut self) {
        let from = self.rng.between(300 * MS, 600 * MS);
        let length = self.rng.between(3 * SECOND, 6 * SECOND);
        self.send_and_die(from, length, 90);
        let length = self.rng.between(250 * MS, 390 * MS);
        // The first base cut, or the one right before cells are judged.
        let first = self
            .rng
            .pick(&[Tracepoint::MembersListed, Tracepoint::BaselineTaken]);
        self.then(
            from,
            (first, Some(Tracepoint::RangeListed)),
            Fault::Freeze,
            length,
        );
        self.run_at(&[from + self.rng.between(200 * MS, 750 * MS)]);
        self.history.faults_end_at = 7 * SECOND;
    }

    /// A restoration with a cell to correct.
    fn corrupt_cell(&mut self) -> Micros {
        let at = self.rng.between(300 * MS, 1500 * MS);
        self.events_until(at / 2);
        self.at(at - 100 * MS, Fault::Corrupt, 0);
        self.run_at(&[at]);
        at
    }

    fn doubled(&mut self) {
        let at = self.corrupt_cell();
        // Several corrections of one range, one after the other: nothing may follow one in doubt.
        if self.rng.percent(50) {
            self.history.bits = 0;
            self.history.in_flight = 1;
            for _ in 0..4 {
                self.at(at - 100 * MS, Fault::Corrupt, 0);
            }
        }
        let length = self.rng.between(20 * MS, 1500 * MS);
        self.after(0, Tracepoint::Journaled, Fault::Overdue, length);
        self.history.faults_end_at = 7 * SECOND;
    }

    fn stopped_in_doubt(&mut self) {
        let at = self.corrupt_cell();
        self.after(0, Tracepoint::Journaled, Fault::Overdue, 250 * MS);
        let delay = self.rng.below(2000);
        let stop = self.after(0, Tracepoint::CorrectionUnknown, Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.run_at(&[at, at + self.rng.between(20 * MS, 400 * MS)]);
        self.history.latency = 500;
        self.history.faults_end_at = 7 * SECOND;
    }

    /// An event right before a range is locked.
    fn late_event(&mut self) -> Micros {
        let at = self.rng.between(500 * MS, 1500 * MS);
        self.events_until(at - 100 * MS);
        // Its range is asked for before or after it is sent, which its ceiling delays by a write to ZooKeeper.
        let (point, delay) = if self.rng.percent(50) {
            // One later, when the faults that follow wait already.
            (Tracepoint::Converged, 1)
        } else {
            (
                Tracepoint::Planned,
                self.rng.below(8 * self.history.latency),
            )
        };
        self.after(at, point, Fault::Produce, 0)
            .when
            .delay_by(delay);
        self.run_at(&[at]);
        at
    }

    fn deadline(&mut self) {
        let at = self.late_event();
        // Mostly another range is restored meanwhile, so that the processor stops while it waits for its lock.
        if self.rng.percent(75) {
            self.history.bits = 1;
            self.history.ranges_in_flight = 2;
            self.history.dirty_cells_target = 0;
            self.history.memory = super::LITTLE_MEMORY;
        }
        self.after(at, Tracepoint::Converged, Fault::Overdue, 400 * MS);
        if self.rng.percent(50) {
            let unlink = self.then(
                at,
                (Tracepoint::Converged, Some(Tracepoint::IncrementSent)),
                Fault::Disconnect,
                0,
            );
            unlink.when.delay_by(280 * MS);
        }
        let delay = self.rng.pick(&[0, 0, 500]);
        let stop = self.then(
            at,
            (Tracepoint::Converged, Some(Tracepoint::IncrementSent)),
            Fault::Stop,
            0,
        );
        stop.when.delay_by(delay);
        self.history.stop_timeout = 300 * MS;
        self.history.faults_end_at = 7 * SECOND;
    }

    fn unlisted(&mut self) {
        let from = self.rng.between(300 * MS, 600 * MS);
        self.events_until(from);
        self.after(
            from,
            Tracepoint::IncrementSent,
            Fault::IsolateFromNode,
            self.rng.between(7 * SECOND, 9 * SECOND),
        );
        let delay = self.rng.below(100 * MS);
        let stop = self.after(from, Tracepoint::IncrementSent, Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.run_at(&[from + self.rng.between(2 * SECOND, 3 * SECOND)]);
        self.history.faults_end_at = 11 * SECOND;
    }

    /// The restoration does not receive the event that was applied last.
    fn unacknowledged(&mut self, fault: Fault) {
        let at = self.late_event();
        let length = self.rng.between(5 * SECOND, 7 * SECOND);
        self.after(at, Tracepoint::Converged, fault, length);
        self.then(
            at,
            (Tracepoint::Converged, Some(Tracepoint::Acknowledged)),
            Fault::Kill,
            0,
        );
        self.history.faults_end_at = 10 * SECOND;
    }

    fn silent(&mut self) {
        let at = self.late_event();
        let length = self.rng.between(7 * SECOND, 9 * SECOND);
        self.then(
            at,
            (Tracepoint::Converged, Some(Tracepoint::IncrementSent)),
            Fault::NodeFreeze,
            length,
        );
        self.history.faults_end_at = 11 * SECOND;
    }

    fn lagging(&mut self) {
        let at = self.rng.between(500 * MS, 1500 * MS);
        self.events_until(at);
        self.at(0, Fault::Unreplicated, 9 * SECOND);
        if self.rng.percent(50) {
            self.at(at / 2, Fault::Corrupt, 0);
        }
        self.run_at(&[at, at + self.rng.between(SECOND, 4 * SECOND)]);
        self.history.faults_end_at = 10 * SECOND;
    }

    fn slow_markers(&mut self) {
        self.at(self.rng.below(500 * MS), Fault::SlowZooKeeper, 3 * SECOND);
        self.at(self.rng.below(500 * MS), Fault::Timeouts, 3 * SECOND);
        self.history.in_flight = 8;
    }

    fn epochs(&mut self) {
        self.history.processors = 1;
        let at = self.late_event();
        let sent = (Tracepoint::Converged, Some(Tracepoint::IncrementSent));
        let released = (Tracepoint::Converged, Some(Tracepoint::SharedReleased));
        self.then(at, sent, Fault::IsolateFromNode, 8 * SECOND);
        self.then(at, released, Fault::Freeze, 7 * SECOND);
        for number in 1..12 {
            let delay = number * 420 * MS + self.rng.below(30 * MS);
            let election = self.then(at, released, Fault::Election, 8 * MS);
            election.when.delay_by(delay);
        }
        self.history.faults_end_at = 12 * SECOND;
    }

    fn steady_load(&mut self) {
        self.history.bits = 0;
        self.history.commands.clear();
        self.history.in_flight = 8;
        self.history
            .events
            .truncate(EVENTS_MAX - super::STEADY_EVENTS);
        self.history.steady_load = true;
    }

    fn audits(&mut self) {
        let first = self.history.events.first().map_or(0, |event| event.at);
        for event in &mut self.history.events {
            event.at = first + (event.at - first) / 4;
        }
        let at = first + self.rng.below(200 * MS);
        self.run_at(&[at, at + 60 * MS, at + 120 * MS]);
        self.history
            .commands
            .iter_mut()
            .for_each(|command| command.only_plan = true);
        self.after(0, Tracepoint::BaselineTaken, Fault::StalledFeed, 300 * MS);
    }

    fn removed(&mut self) {
        let at = self.rng.between(300 * MS, 800 * MS);
        self.events_until(at);
        let length = self.rng.between(6 * SECOND, 8 * SECOND);
        self.after(at, Tracepoint::IncrementSent, Fault::NodeRemoved, length);
        self.run_at(&[at + self.rng.between(320 * MS, 600 * MS)]);
        self.history.faults_end_at = 10 * SECOND;
    }

    fn stalled(&mut self) {
        let at = self.rng.between(300 * MS, 800 * MS);
        self.events_until(at);
        let length = self.rng.between(6 * SECOND, 8 * SECOND);
        self.after(at, Tracepoint::IncrementSent, Fault::StallCommitLog, length);
        self.run_at(&[at + self.rng.between(320 * MS, 600 * MS)]);
        self.history.faults_end_at = 10 * SECOND;
    }

    fn patient(&mut self) {
        let at = self.rng.between(300 * MS, 800 * MS);
        self.events_until(at);
        self.history.processors_keepalive = self.rng.between(2500 * MS, 3500 * MS);
        let length = self.rng.between(4 * SECOND, 5 * SECOND);
        self.after(
            at,
            Tracepoint::IncrementSent,
            Fault::IsolateFromNode,
            length,
        );
        self.run_at(&[at + self.rng.between(320 * MS, 600 * MS)]);
        self.history.faults_end_at = 8 * SECOND;
    }

    fn given_up(&mut self) {
        let at = self.rng.between(300 * MS, 1500 * MS);
        self.events_until(at);
        self.at(at - 50 * MS, Fault::Unavailable, 4 * SECOND);
        let delay = self.rng.below(20 * MS);
        let stop = self.after(at, Tracepoint::IncrementSent, Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.history.commands.clear();
        self.history.faults_end_at = 6 * SECOND;
    }

    fn deleted_lock(&mut self) {
        self.two_processors();
        let at = self.rng.between(300 * MS, SECOND);
        self.events_until(at);
        self.after(at, Tracepoint::IncrementSent, Fault::Evict, 0);
        self.after(at, Tracepoint::IncrementSent, Fault::Late, 500 * MS);
        self.after(at, Tracepoint::PartitionQueued, Fault::DeleteLock, 0);
    }
}
