//! The rules of a load, one predicate each: the only place of this crate that asks whether a rule is taken out
//! ([`stitch_common::mutation`]). In the product every predicate says yes.

use stitch_common::mutation::{Rule, out};

/// Only what was read back as it should be is published.
pub(crate) fn what_is_read_back_counts() -> bool {
    !out(Rule::ReadBack)
}

/// Every cell that differs is loaded, and not only those that are not held at all.
pub(crate) fn every_difference_is_loaded() -> bool {
    !out(Rule::EveryDifference)
}
