//! The protocol's rules as far as the restorator keeps them, one predicate each: the only place of this crate that asks
//! whether a rule is taken out ([`stitch_common::mutation`]). In the product every predicate says yes.

use stitch_common::mutation::{Rule, out};
use stitch_common::ports::Level;

/// R1: in-doubt markers and dead members are read after the base cut, never before.
pub(crate) fn markers_are_read_after_the_cut() -> bool {
    !out(Rule::MarkersAfterCut)
}

/// R1: what may still change the store is waited out before cells are read.
pub(crate) fn quiescence_comes_before_reading() -> bool {
    !out(Rule::QuiescenceBeforeRead)
}

/// R1: the ceilings are read after the cells.
pub(crate) fn ceiling_is_read_after_the_cells() -> bool {
    !out(Rule::CeilingAfterRead)
}

/// Totals that count a counter in scope from later on than the processors are no base.
pub(crate) fn late_counters_are_refused() -> bool {
    !out(Rule::LateCounterRefused)
}

/// R2: what may still change the store is waited out after the grant.
pub(crate) fn quiescence_comes_after_the_grant() -> bool {
    !out(Rule::QuiescenceAfterGrant)
}

/// R2: a range is not kept locked while an operator wants the restoration to wait.
pub(crate) fn a_pause_gives_the_lock_back() -> bool {
    !out(Rule::PauseGivesBack)
}

/// R3: the cut is read under the lock.
pub(crate) fn cut_is_read_under_the_lock() -> bool {
    !out(Rule::CutUnderLock)
}

/// R4: the log is followed to the ceilings that are read after the grant.
pub(crate) fn log_is_followed_to_the_ceiling() -> bool {
    !out(Rule::CeilingAfterGrant)
}

/// R4: cells with events from the cut up to the ceiling are dirty.
pub(crate) fn cells_beyond_the_cut_are_dirty() -> bool {
    !out(Rule::DirtyBeyondCut)
}

/// Doubt: a verified range answers its doubts only if the scope has all of its cells.
pub(crate) fn narrow_scopes_answer_no_doubt() -> bool {
    !out(Rule::NarrowScopeKeepsDoubt)
}

/// R5: cells are read at the configured level, `ALL` unless the operator accepts less.
pub(crate) fn read_level(configured: Level) -> Level {
    if out(Rule::ReadAll) {
        Level::Quorum
    } else {
        configured
    }
}

/// R5: cells that were judged wrong are read again under the lock.
pub(crate) fn wrong_cells_are_read_under_the_lock() -> bool {
    !out(Rule::ReadWrong)
}

/// R6: a correction of unknown outcome is never sent again.
pub(crate) fn unknown_corrections_are_not_resent() -> bool {
    !out(Rule::CorrectOnce)
}

/// R6: a correction of unknown outcome is waited out.
pub(crate) fn quiescence_comes_after_an_unknown_outcome() -> bool {
    !out(Rule::QuiescenceAfterUnknown)
}

/// R6: without the lock, only cells are corrected that have no event from the cut up to the ceiling.
pub(crate) fn only_cells_at_rest_are_corrected_without_the_lock() -> bool {
    !out(Rule::CorrectAtRest)
}

/// R6: where corrections without the lock are in doubt, there is a marker, and so a barrier.
pub(crate) fn corrections_in_doubt_without_the_lock_are_marked() -> bool {
    !out(Rule::MarkerAtRest)
}

/// R6: no correction is begun once the bound has passed, or another one is unknown or has failed.
pub(crate) fn nothing_is_begun_after_the_bound() -> bool {
    !out(Rule::BeginWithinBound)
}

/// R7: corrected cells are read again.
pub(crate) fn corrected_cells_are_read_again() -> bool {
    !out(Rule::ReadAgain)
}

/// R8: an in-doubt marker is created before a lock with corrections in doubt is released.
pub(crate) fn marker_comes_before_the_release() -> bool {
    !out(Rule::MarkerFirst)
}
