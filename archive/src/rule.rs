//! The archive's rules, one predicate each: the only place of this crate that asks whether a rule is taken out
//! ([`stitch_common::mutation`]). In the product every predicate says yes.

use stitch_common::mutation::{Rule, out};

/// The chain goes on behind a segment only if it is there: a put of unknown outcome is looked at.
pub(crate) fn unknown_puts_are_looked_at() -> bool {
    !out(Rule::CompleteIsPut)
}
