//! Themes: stories that need several faults in one order. Each is what makes one of the rules necessary, and chance alone
//! leads there too seldom. A share of the histories takes up one of them; what the story leaves open is drawn.

use super::{Fault, History, Injected, Ordered, Produced, Until, When};
use crate::checker::{EVENTS_MAX, KEYS};
use crate::executor::Micros;
use crate::notes::Phase;
use crate::rng::Rng;

macro_rules! themes {
    ($($theme:ident $name:literal,)*) => {
        /// A story.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]

        pub enum Theme { $($theme,)* }

        impl Theme {
            /// Every theme.
            pub const EVERY: &[Self] = &[$(Self::$theme,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$theme => $name,)* }
            }
        }
    };
}

themes! {
    Overtaken "a dead sender's increment is still on its way when its successor has counted the event",
    Between "a member dies between two looks of a restoration",
    Doubled "a correction outlives its sender's patience",
    Unmarked "a restoration is stopped with a correction on its way, and another one follows",
    Deadline "a processor is stopped with an increment on its way that its deadline does not await",
    Unlisted "a processor leaves while its connection is cut off with an increment in it",
    Untold "a processor dies with something applied that it has not told, and the restoration's feed lags",
    NoProgress "an increment lies in a frozen node while a restoration waits for calm",
    Lagging "increments stand on one replica alone",
    SlowMarks "ZooKeeper answers slowly while outcomes are unknown",
    Epochs "a cut off process is frozen over several elections",
    Crowd "events without a pause while the last range is asked for",
    Audits "audits while events come",
    Unlock "a partition's lock node is deleted by hand",
}

const MS: Micros = 1000;
const SECOND: Micros = 1000 * MS;

impl Theme {
    pub(crate) const COUNT: usize = Self::EVERY.len();

    /// Its place in [`Theme::EVERY`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Takes the story up.
    pub(super) fn tell(self, rng: &Rng, history: &mut History) {
        history.theme = Some(self);
        history.latency = rng.pick(&[500, 500, 2000]);
        history.drifts.iter_mut().for_each(|drift| *drift = 0);
        let mut story = Story { rng, history };
        match self {
            Self::Overtaken => story.overtaken(),
            Self::Between => story.between(),
            Self::Doubled => story.doubled(),
            Self::Unmarked => story.unmarked(),
            Self::Deadline => story.deadline(),
            Self::Unlisted => story.unlisted(),
            Self::Untold => story.untold(),
            Self::NoProgress => story.silent(),
            Self::Lagging => story.lagging(),
            Self::SlowMarks => story.slow_marks(),
            Self::Epochs => story.epochs(),
            Self::Crowd => story.crowd(),
            Self::Audits => story.audits(),
            Self::Unlock => story.unlock(),
        }
    }
}

/// A theme and what it makes of a history.
struct Story<'a> {
    rng: &'a Rng,
    history: &'a mut History,
}

impl Story<'_> {
    fn orders(&mut self, at: &[Micros]) {
        let order = |at: &Micros| Ordered {
            at: *at,
            only_plan: false,
            range: None,
            stop_after: None,
        };
        self.history.orders = at.iter().map(order).collect();
    }

    /// Right after `phase`, `fault` hits whoever did it.
    fn after(&mut self, from: Micros, phase: Phase, fault: Fault, length: Micros) -> &mut Injected {
        self.then(from, (phase, None), fault, length)
    }

    /// Right after `moment.1` has followed `moment.0`.
    fn then(
        &mut self,
        from: Micros,
        moment: (Phase, Option<Phase>),
        fault: Fault,
        length: Micros,
    ) -> &mut Injected {
        self.history.faults.push(Injected {
            fault,
            when: When::After {
                from,
                phase: moment.0,
                next: moment.1,
                times: 1,
                delay: 0,
            },
            seat: self.rng.index(self.history.processors + 1),
            node: self.rng.index(crate::cassandra::NODES),
            aimed: true,
            length,
            until: None,
        });
        self.history
            .faults
            .last_mut()
            .expect("it was just put there")
    }

    fn at(&mut self, at: Micros, fault: Fault, length: Micros) -> &mut Injected {
        let injected = self.after(0, Phase::Event, fault, length);
        injected.when = When::At(at);
        injected
    }

    /// So that there is a successor.
    fn two_processors(&mut self) {
        while self.history.processors < 2 {
            self.history.processors += 1;
            self.history.drifts.push(0);
        }
    }

    /// Enough events before `at` that ranges are held, and an event soon after it.
    fn events_until(&mut self, at: Micros) {
        let mut when = 0;
        for event in &mut self.history.events {
            when += self.rng.below(at / 4);
            event.at = event.at.min(when);
        }
        for _ in 0..3 {
            let keys = Some((self.rng.index(KEYS.len()), self.rng.index(KEYS.len())));
            self.history.events.push(Produced {
                at: at + self.rng.below(10 * MS),
                partition: self.rng.index(self.history.partitions),
                keys,
            });
        }
        self.history.events.sort_by_key(|event| event.at);
    }

    /// Cut off from the node that it has just sent to, and killed.
    fn sent_and_died(&mut self, from: Micros, length: Micros, evicted: u64) {
        self.two_processors();
        self.events_until(from);
        self.after(from, Phase::Sent, Fault::Cut, length);
        if self.rng.percent(evicted) {
            self.after(from, Phase::Sent, Fault::Evict, length);
        }
        let delay = 700 + self.rng.below(600);
        let kill = self.after(from, Phase::Sent, Fault::Kill, length);
        kill.when.delay_by(delay);
    }

    fn overtaken(&mut self) {
        let from = self.rng.between(300 * MS, 800 * MS);
        let length = self.rng.between(3 * SECOND, 8 * SECOND);
        self.sent_and_died(from, length, 60);
        if self.rng.percent(50) {
            let phase = self.rng.pick(&[
                Phase::ClosedIn,
                Phase::Queued,
                Phase::Granted,
                Phase::Touched,
                Phase::ReadUnderLock,
            ]);
            self.history.faults[0].until = Some(Until { phase, delay: 0 });
        }
        self.orders(&[from + self.rng.between(500 * MS, 2500 * MS)]);
        self.history.calm_at = 9 * SECOND;
    }

    fn between(&mut self) {
        let from = self.rng.between(300 * MS, 600 * MS);
        let length = self.rng.between(3 * SECOND, 6 * SECOND);
        self.sent_and_died(from, length, 90);
        let length = self.rng.between(250 * MS, 390 * MS);
        self.then(
            from,
            (Phase::Listed, Some(Phase::Looked)),
            Fault::Freeze,
            length,
        );
        self.orders(&[from + self.rng.between(200 * MS, 750 * MS)]);
        self.history.calm_at = 7 * SECOND;
    }

    /// A restoration with something to correct.
    fn spoilt(&mut self) -> Micros {
        let at = self.rng.between(300 * MS, 1500 * MS);
        self.events_until(at / 2);
        self.at(at - 100 * MS, Fault::Spoil, 0);
        self.orders(&[at]);
        at
    }

    fn doubled(&mut self) {
        self.spoilt();
        let length = self.rng.between(20 * MS, 1500 * MS);
        self.after(0, Phase::Journaled, Fault::Overdue, length);
        self.history.calm_at = 7 * SECOND;
    }

    fn unmarked(&mut self) {
        let at = self.spoilt();
        self.after(0, Phase::Journaled, Fault::Overdue, 250 * MS);
        let delay = self.rng.below(2000);
        let stop = self.after(0, Phase::Doubtful, Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.orders(&[at, at + self.rng.between(20 * MS, 400 * MS)]);
        self.history.latency = 500;
        self.history.calm_at = 7 * SECOND;
    }

    /// An event that comes right before a range is locked.
    fn late_event(&mut self) -> Micros {
        let at = self.rng.between(500 * MS, 1500 * MS);
        self.events_until(at - 100 * MS);
        // When whoever waits for what follows does so already.
        self.after(at, Phase::ClosedIn, Fault::Produce, 0)
            .when
            .delay_by(1);
        self.orders(&[at]);
        at
    }

    fn deadline(&mut self) {
        let at = self.late_event();
        self.after(at, Phase::ClosedIn, Fault::Overdue, 400 * MS);
        if self.rng.percent(50) {
            let unlink = self.then(at, (Phase::ClosedIn, Some(Phase::Sent)), Fault::Unlink, 0);
            unlink.when.delay_by(280 * MS);
        }
        let delay = self.rng.pick(&[0, 0, 500]);
        let stop = self.then(at, (Phase::ClosedIn, Some(Phase::Sent)), Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.history.stop_timeout = 300 * MS;
        self.history.calm_at = 7 * SECOND;
    }

    fn unlisted(&mut self) {
        let from = self.rng.between(300 * MS, 600 * MS);
        self.events_until(from);
        self.after(
            from,
            Phase::Sent,
            Fault::Cut,
            self.rng.between(7 * SECOND, 9 * SECOND),
        );
        let delay = self.rng.below(100 * MS);
        let stop = self.after(from, Phase::Sent, Fault::Stop, 0);
        stop.when.delay_by(delay);
        self.orders(&[from + self.rng.between(2 * SECOND, 3 * SECOND)]);
        self.history.calm_at = 11 * SECOND;
    }

    fn untold(&mut self) {
        let at = self.late_event();
        let length = self.rng.between(5 * SECOND, 7 * SECOND);
        self.after(at, Phase::ClosedIn, Fault::StalledFeed, length);
        self.then(at, (Phase::ClosedIn, Some(Phase::Answered)), Fault::Kill, 0);
        self.history.calm_at = 10 * SECOND;
    }

    fn silent(&mut self) {
        let at = self.late_event();
        let length = self.rng.between(7 * SECOND, 9 * SECOND);
        self.then(
            at,
            (Phase::ClosedIn, Some(Phase::Sent)),
            Fault::NodeFreeze,
            length,
        );
        self.history.calm_at = 11 * SECOND;
    }

    fn lagging(&mut self) {
        let at = self.rng.between(500 * MS, 1500 * MS);
        self.events_until(at);
        self.at(0, Fault::Untold, 9 * SECOND);
        if self.rng.percent(50) {
            self.at(at / 2, Fault::Spoil, 0);
        }
        self.orders(&[at, at + self.rng.between(SECOND, 4 * SECOND)]);
        self.history.calm_at = 10 * SECOND;
    }

    fn slow_marks(&mut self) {
        self.at(self.rng.below(500 * MS), Fault::SlowKeeper, 3 * SECOND);
        self.at(self.rng.below(500 * MS), Fault::Timeouts, 3 * SECOND);
        self.history.in_flight = 8;
    }

    fn epochs(&mut self) {
        self.history.processors = 1;
        let at = self.late_event();
        let sent = (Phase::ClosedIn, Some(Phase::Sent));
        let given_back = (Phase::ClosedIn, Some(Phase::Yielded));
        self.then(at, sent, Fault::Cut, 8 * SECOND);
        self.then(at, given_back, Fault::Freeze, 7 * SECOND);
        for number in 1..12 {
            let delay = number * 420 * MS + self.rng.below(30 * MS);
            let election = self.then(at, given_back, Fault::Election, 8 * MS);
            election.when.delay_by(delay);
        }
        self.history.calm_at = 12 * SECOND;
    }

    fn crowd(&mut self) {
        self.history.bits = 0;
        self.history.orders.clear();
        self.history.in_flight = 8;
        self.history.events.truncate(EVENTS_MAX - super::CROWD);
        self.history.crowd = true;
        self.history.portion = None;
    }

    fn audits(&mut self) {
        let first = self.history.events.first().map_or(0, |event| event.at);
        for event in &mut self.history.events {
            event.at = first + (event.at - first) / 4;
        }
        let at = first + self.rng.below(200 * MS);
        self.orders(&[at, at + 60 * MS, at + 120 * MS]);
        self.history
            .orders
            .iter_mut()
            .for_each(|order| order.only_plan = true);
        self.after(0, Phase::Begun, Fault::StalledFeed, 300 * MS);
    }

    fn unlock(&mut self) {
        self.two_processors();
        let at = self.rng.between(300 * MS, SECOND);
        self.events_until(at);
        self.after(at, Phase::Sent, Fault::Evict, 0);
        self.after(at, Phase::Sent, Fault::Late, 500 * MS);
        self.after(at, Phase::Taken, Fault::Unlock, 0);
    }
}
