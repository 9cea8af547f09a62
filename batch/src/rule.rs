//! The rules of batch counts, one predicate each: the only place of this crate that asks whether a rule is taken out
//! ([`stitch_common::mutation`]). In the product every predicate says yes.

use stitch_common::mutation::{Rule, out};

/// One process at a time loads batch counts.
pub(crate) fn the_lock_is_waited_for() -> bool {
    !out(Rule::BatchLock)
}

/// Before older totals are loaded, what is published is withdrawn.
pub(crate) fn what_is_newer_is_withdrawn() -> bool {
    !out(Rule::WithdrawNewer)
}

/// The writes of a load are later than those of every load before it.
pub(crate) fn loads_are_later_than_those_before() -> bool {
    !out(Rule::LaterWrites)
}
