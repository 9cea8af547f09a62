//! The product in the world: nothing is found as it is, and the loss of each rule is.

use crate::coverage::RULES;
use crate::explore::explore;
use crate::history::Fault;

/// Both threads of the smallest machine.
const THREADS: usize = 2;

#[test]
fn nothing_is_found_in_many_histories_and_they_reach_every_rule_and_fault() {
    let explored = explore(1, 1000, THREADS, || {});
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

    /// A little before the seed at which the loss of a rule was found; a change of the product or of the world may move
    /// that on. Rules that are not listed were not found: docs/verification.md says so.
    const KNOWN: &[(Rule, u64)] = &[
        (Rule::PartitionLock, 260),
        (Rule::HandOver, 10),
        (Rule::SharedLock, 1),
        (Rule::Lease, 215),
        (Rule::NeverAgain, 5),
        (Rule::Answered, 1),
        (Rule::Marked, 5),
        (Rule::Yield, 1),
        (Rule::WrittenFirst, 270),
        (Rule::SettledFirst, 110),
        (Rule::ResumeThere, 260),
        (Rule::WaitGranted, 110),
        (Rule::CalmAfterGrant, 580),
        (Rule::CutUnderLock, 1),
        (Rule::TouchedBeyond, 580),
        (Rule::ReadWrong, 5),
        (Rule::CorrectOnce, 160),
        (Rule::ReadAgain, 60),
        (Rule::CalmStretch, 160),
    ];

    #[test]
    fn the_loss_of_each_rule_is_found() {
        let unfound = KNOWN
            .iter()
            .filter(|(rule, seed)| one(*rule, *seed, 1500, THREADS).found.is_none());
        let unfound: Vec<_> = unfound.map(|(rule, _)| rule.loss()).collect();
        assert!(unfound.is_empty(), "{unfound:?}");
    }

    #[test]
    fn a_history_that_fails_is_made_smaller_and_fails_in_the_same_way() {
        let rule = Some(Rule::NeverAgain);
        take_out(rule);
        let found = one(Rule::NeverAgain, 1, 200, 1).found;
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
