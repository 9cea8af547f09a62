//! The product in the world: nothing is found as it is, and the loss of each rule is.

use crate::coverage::RULES;
use crate::explore::explore;
use crate::history::Fault;

/// Both threads of the smallest machine.
const THREADS: usize = 2;

#[test]
fn nothing_is_found_in_many_histories_and_they_reach_every_rule_and_fault() {
    let explored = explore(1, 5000, THREADS, || {});
    assert_eq!(explored.found, None);
    let coverage = &explored.coverage;
    for fault in Fault::EVERY {
        assert!(coverage.happened(*fault) > 10, "{}", fault.name());
    }
    for (rule, phases) in RULES {
        let steps = phases.iter().any(|phase| phase.is_step());
        if cfg!(feature = "mutations") || !steps {
            assert!(coverage.exercised(phases) > 10, "{rule}");
        }
    }
    if cfg!(feature = "mutations") {
        let (seen, all) = coverage.pairs();
        assert!(seen * 3 > all, "{seen} of {all} pairs of fault and step");
    }
}

#[cfg(feature = "mutations")]
mod without {
    use stitch_common::mutation::{Rule, take_out};

    use super::*;
    use crate::history::History;
    use crate::mutants::one;
    use crate::play::play;
    use crate::shrink::shrink;

    /// So many histories, from the first seed on, find each; docs/verification.md says how many it took.
    const ENOUGH: u64 = 5000;

    #[test]
    fn the_loss_of_each_rule_is_found() {
        let found = |rule: Rule| one(rule, 1, ENOUGH, THREADS).found.is_some();
        let unfound: Vec<_> = Rule::EVERY.iter().filter(|rule| !found(**rule)).collect();
        assert!(unfound.is_empty(), "{unfound:?}");
    }

    #[test]
    fn a_history_that_fails_is_made_smaller_and_fails_in_the_same_way() {
        let rule = Some(Rule::NeverResend);
        take_out(rule);
        let found = one(Rule::NeverResend, 1, 200, 1).found;
        let (seed, _, finding) = found.expect("the loss of this rule is found soon");
        let history = History::of(seed);
        let smaller = shrink(&history);
        let again = play(&smaller, false).finding;
        take_out(None);
        assert_eq!(again.map(|found| found.kind), Some(finding.kind));
        let size = |of: &History| of.events.len() + of.faults.len() + of.orders.len();
        assert!(size(&smaller) < size(&history));
    }
}
