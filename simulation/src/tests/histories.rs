//! The product in the world: no violation as it is, and one without each rule.

#[cfg(feature = "mutations")]
mod every_step;

use crate::coverage::RULES;
use crate::explore::explore;
use crate::history::{Fault, History};
use crate::run::run;

/// The threads of the smallest machine.
const THREADS: usize = 2;

#[test]
fn many_histories_exercise_every_rule_and_fault_without_a_violation() {
    let exploration = explore(1, 3500, THREADS, || {});
    assert_eq!(exploration.finding, None);
    let coverage = &exploration.coverage;
    for fault in Fault::EVERY {
        assert!(coverage.happened(*fault) > 10, "{}", fault.name());
    }
    for (rule, phases) in RULES {
        let steps = phases.iter().any(|point| point.is_failpoint());
        if cfg!(feature = "mutations") || !steps {
            assert!(coverage.exercised(phases) > 10, "{rule}");
        }
    }
    if cfg!(feature = "mutations") {
        let (seen, all) = coverage.pairs();
        assert!(seen * 3 > all, "{seen} of {all} pairs of fault and step");
    }
}

#[test]
fn traces_do_not_depend_on_the_number_of_threads() {
    let traces = |threads| {
        let exploration = explore(1, 200, threads, || {});
        (exploration.histories, exploration.traces)
    };
    let one_by_one = (1..=200).map(|seed| run(&History::from_seed(seed), false).hash);
    let sum = one_by_one.fold(0, u64::wrapping_add);
    assert_eq!(traces(1), (200, sum));
    assert_eq!(traces(3), (200, sum));
}

#[cfg(feature = "mutations")]
mod without {
    use stitch_common::mutation::{Rule, take_out};

    use super::*;
    use crate::mutants::run_one;
    use crate::shrink::shrink;

    /// Each loss is found within this many histories from the first seed on.
    const ENOUGH: u64 = 5000;

    #[test]
    fn the_loss_of_each_rule_is_found() {
        let found = |rule: Rule| run_one(rule, 1, ENOUGH, THREADS).finding.is_some();
        let unfound: Vec<_> = Rule::EVERY.iter().filter(|rule| !found(**rule)).collect();
        assert!(unfound.is_empty(), "{unfound:?}");
    }

    #[test]
    fn a_history_that_fails_is_shrunk_to_one_that_fails_in_the_same_way() {
        let rule = Some(Rule::NeverResend);
        take_out(rule);
        let found = run_one(Rule::NeverResend, 1, 200, 1).finding;
        let (seed, _, finding) = found.expect("the loss of this rule is found soon");
        let history = History::from_seed(seed);
        let smaller = shrink(&history);
        let again = run(&smaller, false).finding;
        take_out(None);
        assert_eq!(again.map(|found| found.kind), Some(finding.kind));
        let size = |of: &History| of.events.len() + of.faults.len() + of.commands.len();
        assert!(size(&smaller) < size(&history));
    }
}
