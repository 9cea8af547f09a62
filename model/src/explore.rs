//! Lets the checker loose on a model, and tells what it found.

use std::fmt::Write;
use std::num::NonZeroUsize;

use stateright::{Checker, HasDiscoveries, Model};

use crate::bounds::Bounds;
use crate::model::{Action, ENDS};

/// What became of an exploration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How many different states were seen.
    pub states: usize,
    /// How long the longest shortest history is.
    pub depth: usize,
    /// Whether all of them were.
    pub whole: bool,
    /// The property that does not hold, and the shortest history that breaks it.
    pub broken: Option<(&'static str, String)>,
    /// Whether a restoration ends in any of them.
    pub ends: bool,
}

/// Explores every state, or as many as `steps_max` says.
///
/// # Panics
/// If `steps_max` is 0.
#[must_use]
pub fn explore(bounds: &Bounds, threads: usize, steps_max: Option<usize>) -> Explored {
    let mut builder = bounds
        .clone()
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(max) = steps_max.and_then(NonZeroUsize::new) {
        builder = builder.target_state_count(max.get());
    }
    let checker = builder.spawn_bfs().join();
    let found = checker.discoveries();
    let broken = found.iter().find(|(name, _)| **name != ENDS);
    let broken = broken.map(|(name, path)| {
        let mut text = String::new();
        for (state, action) in path.clone().into_vec() {
            if let Some(action) = action {
                let subject = match action {
                    Action::RevocationRequest(number, _) => {
                        format!(" {:?}", state.sent[number])
                    }
                    Action::Restorator(_) => {
                        format!(" {:?}", state.restorator.phase)
                    }
                    Action::Produce(_)
                    | Action::Deal(..)
                    | Action::Processor(..)
                    | Action::SweepBegins
                    | Action::SweepEnds
                    | Action::Stuck => String::new(),
                };
                writeln!(text, "  {action:?}{subject}").expect("a text takes everything");
            } else {
                writeln!(text, "  {state:?}").expect("a text takes everything");
            }
        }
        (*name, text)
    });
    let limited = steps_max.is_some_and(|max| checker.state_count() >= max);
    Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        whole: broken.is_none() && !limited,
        broken,
        ends: found.contains_key(ENDS),
    }
}
