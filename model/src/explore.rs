//! Runs the checker on a model.

use std::fmt::Write;
use std::num::NonZeroUsize;

use stateright::{Checker, HasDiscoveries, Model};

use crate::bounds::Bounds;
use crate::model::{Action, ENDS};

/// The result of an exploration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplorationResult {
    /// How many different states there are.
    pub states: usize,
    /// The length of the longest of the shortest histories to each state.
    pub depth: usize,
    /// Whether the search reached every state.
    pub complete: bool,
    /// The broken property, and the shortest history that breaks it.
    pub broken: Option<(&'static str, String)>,
    /// Whether a restoration ends in any history.
    pub ends: bool,
}

/// Explores every state, or as many as `steps_max` says.
pub fn explore(bounds: &Bounds, threads: usize, steps_max: Option<usize>) -> ExplorationResult {
    let mut builder = bounds
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(max) = steps_max.and_then(NonZeroUsize::new) {
        builder = builder.target_state_count(max.get());
    }
    let checker = builder.spawn_bfs().join();
    let discoveries = checker.discoveries();
    let broken = discoveries.iter().find(|(name, _)| **name != ENDS);
    let broken = broken.map(|(name, path)| {
        let mut text = String::new();
        for (state, action) in path.clone().into_vec() {
            if let Some(action) = action {
                let subject = match action {
                    Action::Request(number, _) => {
                        format!(" {:?}", state.sent[number])
                    }
                    Action::Restorator(_) => {
                        format!(" {:?}", state.restorator.phase)
                    }
                    Action::Produce(_)
                    | Action::Assign(..)
                    | Action::Processor(..)
                    | Action::CleanUpBegins
                    | Action::CleanUpEnds
                    | Action::Stuck => String::new(),
                };
                writeln!(text, "  {action:?}{subject}").expect("a string can be written to");
            } else {
                writeln!(text, "  {state:?}").expect("a string can be written to");
            }
        }
        (*name, text)
    });
    let limited = steps_max.is_some_and(|max| checker.state_count() >= max);
    ExplorationResult {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        complete: broken.is_none() && !limited,
        broken,
        ends: discoveries.contains_key(ENDS),
    }
}
