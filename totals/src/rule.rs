//! The rules of totals, one predicate each: the only place of this crate that asks whether a rule is taken out
//! ([`stitch_common::mutation`]). In the product every predicate says yes.

use stitch_common::mutation::{Rule, out};

/// Records that are in neither the archive nor the log are not passed over.
pub(crate) fn gaps_are_refused() -> bool {
    !out(Rule::GapRefused)
}

/// A base is of the same namespace, and not of an earlier one of the same name.
pub(crate) fn a_base_is_of_the_same_namespace() -> bool {
    !out(Rule::SameNamespace)
}

/// The cut of a base lies above no checkpoint.
pub(crate) fn a_base_has_no_event_above_the_cut() -> bool {
    !out(Rule::CutBelowCheckpoints)
}
