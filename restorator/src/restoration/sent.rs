//! The corrections sent for one range, under its lock and without it, and what became of them: in the journal, in what is
//! charged to the limits, and for the report.

use std::collections::{BTreeMap, BTreeSet};

use stitch_common::cell::{Amount, Cell};
use stitch_common::check_invariant;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::Offsets;
use stitch_common::ports::Backends;
use stitch_common::range::RangeId;

use super::delta::{self, Delta};
use super::send::{self, BatchOutcome};
use crate::context::RestoreContext;
use crate::failpoint;
use crate::journal::{CorrectionId, CorrectionOutcome, Journal};
use crate::limits::{self, Extent};
use crate::plan::judge::Drift;
use crate::unverified::Unverified;

/// What was sent for a part of a range before it begins again.
#[derive(Debug, Default)]
pub(crate) struct SentBefore {
    /// What was corrected, or may have been: it is charged to the limits once.
    pub(crate) corrected: BTreeMap<Cell, Drift>,
    /// What is not known of it: the cells will show it, once it was waited out.
    pub(crate) unread: Vec<UnreadCorrection>,
}

/// What was sent for a range.
pub(crate) struct SentCorrections<'a, B: Backends> {
    context: &'a RestoreContext<'a, B>,
    journal: &'a Journal,
    range: RangeId,
    /// What was corrected, or may have been.
    corrected: BTreeMap<Cell, Drift>,
    /// A correction of unknown outcome was sent, and not yet waited out.
    in_doubt: bool,
    /// Corrections of which only the cells will show what became of them.
    unread: Vec<UnreadCorrection>,
}

/// A correction of unknown outcome, or one that was sent together with such, or whose cell did not rest when it was read
/// again.
#[derive(Debug)]
pub(crate) struct UnreadCorrection {
    id: CorrectionId,
    cell: Cell,
    drift: Drift,
    outcome: CorrectionOutcome,
}

/// Corrections that were acknowledged, all of them.
#[derive(Debug, Default)]
pub(crate) struct AppliedCorrections {
    corrections: Vec<(Cell, Drift)>,
    /// The number of the first in the journal; `None` if there are none.
    first: Option<CorrectionId>,
}

impl AppliedCorrections {
    pub(crate) fn corrections(&self) -> &[(Cell, Drift)] {
        &self.corrections
    }
}

/// The outcome of all corrections together.
#[derive(Debug)]
pub(crate) enum SendOutcome {
    Applied(AppliedCorrections),
    /// The outcome of some is unknown, and will remain so: they have to be waited out, and all cells read again.
    Unknown,
}

impl<'a, B: Backends> SentCorrections<'a, B> {
    /// Nothing was sent yet but what was sent `before`, and is waited out before anything else is.
    pub(crate) fn new(
        context: &'a RestoreContext<'a, B>,
        journal: &'a Journal,
        range: RangeId,
        before: SentBefore,
    ) -> Self {
        Self {
            context,
            journal,
            range,
            corrected: before.corrected,
            in_doubt: false,
            unread: before.unread,
        }
    }

    pub(crate) const fn range(&self) -> RangeId {
        self.range
    }

    pub(super) const fn context(&self) -> &'a RestoreContext<'a, B> {
        self.context
    }

    /// What was corrected, or may have been.
    pub(crate) const fn corrected(&self) -> &BTreeMap<Cell, Drift> {
        &self.corrected
    }

    pub(crate) fn into_sent(self) -> SentBefore {
        SentBefore {
            corrected: self.corrected,
            unread: self.unread,
        }
    }

    /// Whether a correction has an unknown outcome and was not waited out.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// Notes that no correction can change the store any more.
    pub(super) const fn note_waited_out(&mut self) {
        self.in_doubt = false;
    }

    /// Charges these corrections to the limits of the run; [`SentCorrections::send`] gives back what was not sent.
    ///
    /// # Errors
    /// All of it would exceed a limit.
    pub(super) fn charge(&self, wrong: &[(Cell, Drift)]) -> Result<Extent, Unverified> {
        let wrong = wrong.iter().map(|(cell, drift)| (cell, *drift));
        let charged = delta::charge(&self.corrected, wrong);
        let spent = self.context.spent.get().plus(charged);
        limits::check(self.context.limits, spent)?;
        self.context.spent.set(spent);
        Ok(charged)
    }

    fn refund(&self, charged: Extent) {
        let spent = &self.context.spent;
        spent.set(spent.get().minus(charged));
    }

    /// Writes the corrections to the journal, makes sure by `ready` that they may be sent, and sends each once. After
    /// `until`, or once any of them is unknown or has failed, no further one is begun (A11); what was begun is awaited.
    ///
    /// # Errors
    /// No correction is in flight any more, or [`SentCorrections::is_in_doubt`] says that some are in doubt.
    pub(super) async fn send(
        &mut self,
        cut: &Offsets,
        delta: Delta,
        until: Option<Moment>,
        ready: impl Future<Output = Result<(), Unverified>>,
    ) -> Result<SendOutcome, Unverified> {
        if delta.corrections().is_empty() {
            return Ok(SendOutcome::Applied(AppliedCorrections::default()));
        }
        let none_in_doubt = check_invariant!(
            SentOnce,
            !self.in_doubt,
            "range {} has corrections in doubt",
            self.range
        );
        let journaled = if none_in_doubt {
            self.write(cut, &delta, ready).await
        } else {
            Err(Unverified::Unknown)
        };
        let first = match journaled {
            Ok(first) => first,
            Err(why) => {
                self.refund(delta.charged());
                return Err(why);
            }
        };
        let batches = delta.batches();
        let (now, corrections) = (self.context.clock.now(), delta.corrections().len());
        self.context.control.charge(now, corrections);
        let outcomes = send::all(self.context, &batches, until).await;
        failpoint::pass("r6-applied");
        // The batches have the corrections in their order.
        let each = batches.iter().zip(&outcomes).flat_map(|(batch, outcome)| {
            std::iter::repeat_n(outcome.of_correction(), batch.amounts.len())
        });
        let each: Vec<_> = each.collect();
        self.note(&delta, first, &each);
        for outcome in outcomes {
            if let BatchOutcome::NotApplied(why) | BatchOutcome::NotSent(why) = outcome {
                return Err(why);
            }
        }
        if self.in_doubt {
            return Ok(SendOutcome::Unknown);
        }
        Ok(SendOutcome::Applied(AppliedCorrections {
            corrections: delta.into_corrections(),
            first: Some(first),
        }))
    }

    /// Writes the corrections to the journal, and makes sure that they may be sent.
    async fn write(
        &self,
        cut: &Offsets,
        delta: &Delta,
        ready: impl Future<Output = Result<(), Unverified>>,
    ) -> Result<CorrectionId, Unverified> {
        let (when, corrections) = (self.context.clock.wall(), delta.corrections());
        let first = self
            .journal
            .corrections(when, self.range, cut, corrections)?;
        failpoint::pass("r6-journaled");
        if let Err(why) = ready.await {
            let not_sent = corrections.iter().enumerate().map(|(index, (_, drift))| {
                let id = first.plus(index);
                (id, CorrectionOutcome::NotSent, drift.correction())
            });
            self.note_outcomes(not_sent);
            return Err(why);
        }
        Ok(first)
    }

    /// Notes what became of each correction.
    fn note(&mut self, delta: &Delta, first: CorrectionId, outcomes: &[CorrectionOutcome]) {
        let corrections = || delta.corrections().iter().zip(outcomes);
        let numbered = corrections().enumerate();
        let lines = numbered.map(|(index, ((_, drift), outcome))| {
            (first.plus(index), *outcome, drift.correction())
        });
        self.note_outcomes(lines);
        let may_have_changed = corrections().filter(|(_, outcome)| match outcome {
            CorrectionOutcome::Applied | CorrectionOutcome::Unknown => true,
            CorrectionOutcome::NotApplied
            | CorrectionOutcome::NotSent
            | CorrectionOutcome::Ignored => false,
        });
        let sent = may_have_changed.map(|((cell, drift), _)| (cell, *drift));
        let charged = delta::charge(&self.corrected, sent.clone());
        self.refund(delta.charged().minus(charged));
        for (cell, drift) in sent {
            self.corrected.entry(cell.clone()).or_insert(drift);
        }
        self.in_doubt |= outcomes.contains(&CorrectionOutcome::Unknown);
        if self.in_doubt {
            let unread = corrections().enumerate();
            let unread = unread.map(|(index, ((cell, drift), outcome))| UnreadCorrection {
                id: first.plus(index),
                cell: cell.clone(),
                drift: *drift,
                outcome: *outcome,
            });
            self.unread.extend(unread);
        }
    }

    /// Notes that these of the corrections did not change their cells at all.
    pub(super) fn note_ignored(&self, applied: &AppliedCorrections, cells: &BTreeSet<&Cell>) {
        let numbered = applied.corrections.iter().enumerate();
        let ignored = numbered.filter(|(_, (cell, _))| cells.contains(cell));
        let ignored = ignored.filter_map(|(index, (_, drift))| {
            let id = applied.first?.plus(index);
            Some((id, CorrectionOutcome::Ignored, drift.correction()))
        });
        self.note_outcomes(ignored);
    }

    /// Notes that the cells of these of the corrections have to be read once more before it is known what became of them.
    pub(super) fn note_unread(&mut self, applied: &AppliedCorrections, cells: &BTreeSet<Cell>) {
        let numbered = applied.corrections.iter().enumerate();
        let unread = numbered.filter(|(_, (cell, _))| cells.contains(cell));
        let unread = unread.filter_map(|(index, (cell, drift))| {
            Some(UnreadCorrection {
                id: applied.first?.plus(index),
                cell: cell.clone(),
                drift: *drift,
                outcome: CorrectionOutcome::Applied,
            })
        });
        self.unread.extend(unread);
    }

    /// Notes what became of corrections that have been waited out: what their cells lack now shows it. `now` has the drift
    /// of a cell, none for one that is right; cells in `dirty` show nothing yet. Returns the cells that an acknowledged
    /// correction did not change: they lack what they lacked before.
    pub(super) fn resolve(
        &mut self,
        now: &BTreeMap<Cell, Drift>,
        dirty: &BTreeSet<Cell>,
    ) -> BTreeMap<Cell, Drift> {
        let (mut resolved, mut ignored, mut left) = (Vec::new(), BTreeMap::new(), Vec::new());
        for unread in std::mem::take(&mut self.unread) {
            if dirty.contains(&unread.cell) {
                left.push(unread);
                continue;
            }
            let UnreadCorrection {
                id,
                cell,
                drift,
                outcome,
            } = unread;
            let now = now.get(&cell);
            let is_unchanged = now.is_some_and(|now| now.correction() == drift.correction());
            let outcome = match outcome {
                CorrectionOutcome::Unknown if now.is_none() => CorrectionOutcome::Applied,
                CorrectionOutcome::Unknown if is_unchanged => {
                    let change = u128::from(drift.size());
                    self.refund(Extent { cells: 0, change });
                    CorrectionOutcome::NotApplied
                }
                CorrectionOutcome::Applied if is_unchanged => {
                    ignored.insert(cell, drift);
                    CorrectionOutcome::Ignored
                }
                // Known, or something else writes to the cell.
                CorrectionOutcome::Unknown
                | CorrectionOutcome::Applied
                | CorrectionOutcome::NotApplied
                | CorrectionOutcome::NotSent
                | CorrectionOutcome::Ignored => continue,
            };
            resolved.push((id, outcome, drift.correction()));
        }
        self.unread = left;
        self.note_outcomes(resolved);
        ignored
    }

    fn note_outcomes(
        &self,
        outcomes: impl IntoIterator<Item = (CorrectionId, CorrectionOutcome, Amount)>,
    ) {
        if let Err(error) = self.journal.outcomes(self.context.clock.wall(), outcomes) {
            // The counts do not depend on it, so the range goes on.
            let note = format!(
                "{error}: {}; what became of some corrections is not written there",
                error.cause
            );
            self.context.progress.note(&note);
        }
    }
}
