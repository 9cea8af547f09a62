//! The model as the checker sees it: states, actions, properties.

use stateright::{Model, Property};

use crate::bounds::{Bounds, PARTITIONS, PROCESSORS};
use crate::cassandra::{self, Fate};
use crate::fault::Fault;
use crate::processor;
use crate::processor::partition;
use crate::properties::{has_ended, is_right_in_the_end, keeps_i1, keeps_i6};
use crate::restorator;
use crate::state::{Broken, Cut, Phase, Restorator, State};
use crate::zookeeper;

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An event is appended to a partition.
    Produce(usize),
    /// A partition is assigned to a processor.
    Assign(usize, usize),
    /// A processor does something, or something happens to it.
    Processor(usize, processor::Step),
    /// A request has its fate.
    Request(usize, Fate),
    /// A member begins to clean up.
    CleanUpBegins,
    /// Its quiescence barrier holds.
    CleanUpEnds,
    /// The restorator does something, or something happens to it.
    Restorator(restorator::Step),
    /// Nothing can happen, and work is left.
    Stuck,
}

fn produce(bounds: &Bounds, state: &mut State, partition: usize) {
    state.ends[partition] += 1;
    for i in 0..PROCESSORS {
        partition::ingest_all(bounds, state, i, partition);
    }
}

fn assignments(bounds: &Bounds, state: &State, each: &mut impl FnMut(Action)) {
    for partition in 0..bounds.log.len() {
        let owner = state.owner[partition];
        let lives = processor::is_running(&state.processors[owner]);
        let may = !lives || state.faults.has(Fault::Rebalance);
        let others = (0..PROCESSORS).filter(|&to| to != owner);
        others
            .filter(|&to| may && processor::is_running(&state.processors[to]))
            .for_each(|to| each(Action::Assign(partition, to)));
    }
}

impl Model for Bounds {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            ends: [0; PARTITIONS],
            owner: std::array::from_fn(|partition| partition % PROCESSORS),
            cells: Default::default(),
            sent: Vec::new(),
            checkpoints: Cut::default(),
            ceilings: Default::default(),
            holders: Default::default(),
            queues: Default::default(),
            revocations: Default::default(),
            markers: Vec::new(),
            dead_members: Vec::new(),
            processors: std::array::from_fn(|_| processor::new()),
            cleaning_up: false,
            restorator: Restorator::new(),
            faults: self.faults,
            trusted: Default::default(),
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return;
        }
        let mut each = |action| actions.push(action);
        for (partition, events) in self.log.iter().enumerate() {
            if usize::from(state.ends[partition]) < events.len() {
                each(Action::Produce(partition));
            }
        }
        assignments(self, state, &mut each);
        for i in 0..PROCESSORS {
            processor::steps(self, state, i, &mut |step| each(Action::Processor(i, step)));
        }
        for number in 0..state.sent.len() {
            cassandra::fates(state, number, &mut |fate| {
                each(Action::Request(number, fate));
            });
        }
        let left = !state.markers.is_empty() || !state.dead_members.is_empty();
        if left && !state.cleaning_up && state.faults.has(Fault::CleanUp) {
            each(Action::CleanUpBegins);
        }
        if state.cleaning_up && zookeeper::barrier_holds(self, state, |observers| observers.cleaner)
        {
            each(Action::CleanUpEnds);
        }
        restorator::steps(self, state, &mut |step| each(Action::Restorator(step)));
        if actions.is_empty() && !has_ended(self, state) {
            actions.push(Action::Stuck);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Produce(partition) => produce(self, &mut state, partition),
            Action::Assign(partition, to) => {
                let owner = state.owner[partition];
                if processor::is_running(&state.processors[owner]) {
                    state.faults.take(Fault::Rebalance);
                }
                state.owner[partition] = to;
            }
            Action::Processor(i, step) => processor::apply(self, &mut state, i, step),
            Action::Request(number, fate) => cassandra::apply(self, &mut state, number, fate),
            Action::CleanUpBegins => {
                state.faults.take(Fault::CleanUp);
                zookeeper::begin_clean_up(&mut state);
            }
            Action::CleanUpEnds => zookeeper::end_clean_up(self, &mut state),
            Action::Restorator(step) => restorator::apply(self, &mut state, step),
            Action::Stuck => state.broken = Some(Broken::Stuck),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn keeps(state: &State, broken: Broken) -> bool {
            state.broken != Some(broken)
        }
        vec![
            Property::always(I1, keeps_i1),
            Property::always(I2, |_, state| keeps(state, Broken::I2)),
            Property::always(I3, |_, state| keeps(state, Broken::I3)),
            Property::always(I4, |_, state| keeps(state, Broken::I4)),
            Property::always(I5, |_, state| keeps(state, Broken::I5)),
            Property::always(I6, |bounds, state| {
                keeps(state, Broken::I6) && keeps_i6(bounds, state)
            }),
            Property::always(I7, |_, state| keeps(state, Broken::I7)),
            Property::always(JUDGED, |_, state| keeps(state, Broken::Judged)),
            Property::always(NOT_STUCK, |_, state| keeps(state, Broken::Stuck)),
            Property::always(RIGHT, is_right_in_the_end),
            Property::sometimes(ENDS, |bounds, state| {
                has_ended(bounds, state) && state.restorator.phase == Phase::Done
            }),
        ]
    }
}

/// See [`stitch_common::invariant::Invariant::ExclusiveAccess`], and so on.
pub const I1: &str = "I1";
pub const I2: &str = "I2";
pub const I3: &str = "I3";
pub const I4: &str = "I4";
pub const I5: &str = "I5";
pub const I6: &str = "I6";
pub const I7: &str = "I7";
/// The premise of R1 and of corrections without a lock.
pub const JUDGED: &str = "a judged cell stays as it was read";
pub const NOT_STUCK: &str = "nothing is stuck";
pub const RIGHT: &str = "every cell is right in the end";
/// Shows that the model gets anywhere.
pub const ENDS: &str = "a restoration ends";
