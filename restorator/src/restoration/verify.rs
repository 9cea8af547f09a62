//! R7: checks that the corrected cells hold what they should, and that nothing broke the protocol meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryFutureExt;
use stitch_common::cell::{Cell, Count};
use stitch_common::check_invariant;
use stitch_common::ports::{NodeState, Nodes};

use super::acquire::LockedRange;
use super::dirty::DirtyCells;
use super::sent::AppliedCorrections;
use crate::cells::{self, Waiting};
use crate::doubts::KnownDoubts;
use crate::error::Error;
use crate::failpoint;
use crate::plan::base_cut::BaseCut;
use crate::plan::judge::Drift;
use crate::rule;
use crate::unverified::Unverified;
use stitch_common::ports::Backends;

/// Every cell in scope of the range equals what the events below the cut add up to (I3).
#[derive(Debug)]
pub(crate) struct VerifiedRange {
    cells: usize,
    doubts: KnownDoubts,
}

impl VerifiedRange {
    /// The number of cells that were read under the lock.
    pub(crate) const fn cells(&self) -> usize {
        self.cells
    }

    /// The range's doubts as they were before the cut.
    pub(crate) const fn doubts(&self) -> &KnownDoubts {
        &self.doubts
    }
}

/// The result of the verification.
#[derive(Debug)]
pub(crate) enum VerifyOutcome {
    Right(VerifiedRange),
    /// These cells are still wrong: the correction that was sent, and what the cell holds now.
    Wrong(Vec<(Cell, Drift, Count)>),
}

/// Reads the corrected cells again, then everything that could invalidate the result.
pub(crate) async fn again<B: Backends>(
    held: &mut LockedRange<'_, '_, B>,
    doubts: &KnownDoubts,
    dirty: &DirtyCells,
    applied: AppliedCorrections,
) -> Result<VerifyOutcome, Unverified> {
    let context = held.context();
    let corrected = applied.corrections();
    let again = corrected.iter().map(|(cell, _)| cell);
    let read = cells::read(context, Waiting::UnderLock, again);
    let read = held
        .bound
        .wait("reading the corrected cells again", read)
        .await?;
    let wrong = still_wrong(corrected, &read);
    if !wrong.is_empty() && rule::corrected_cells_are_read_again() {
        let unchanged = wrong.iter().filter(|(_, sent, now)| sent.current == *now);
        let unchanged: BTreeSet<&Cell> = unchanged.map(|(cell, ..)| cell).collect();
        held.claim.sent.note_ignored(&applied, &unchanged);
        return Ok(VerifyOutcome::Wrong(wrong));
    }
    check_not_passed(held).await?;
    let ring = context.nodes.ring().map_err(Error::from);
    let ring = held.bound.wait("reading the ring", ring).await?;
    check_same_ring(&context.ring.borrow(), &ring)?;
    // Last of all: if the node still exists, the lock has been held all the time.
    let verified = held.claim.lock.verify(context.session);
    held.bound
        .wait("verifying that the range is still locked", verified)
        .await?;
    failpoint::pass("r7-verified");
    Ok(VerifyOutcome::Right(VerifiedRange {
        cells: dirty.expected().len(),
        doubts: doubts.clone(),
    }))
}

/// The corrected cells that do not hold what they should, according to what was `read`.
pub fn still_wrong(
    corrected: &[(Cell, Drift)],
    read: &[(Cell, Count)],
) -> Vec<(Cell, Drift, Count)> {
    let read: BTreeMap<&Cell, Count> = read.iter().map(|(cell, now)| (cell, *now)).collect();
    let mut wrong = Vec::new();
    for (cell, drift) in corrected {
        let now = read.get(cell).copied().unwrap_or_default();
        if now != drift.expected {
            wrong.push((cell.clone(), *drift, now));
        }
    }
    wrong
}

/// Checks that no checkpoint is below the cut, or has passed an event of the range.
async fn check_not_passed<B: Backends>(held: &LockedRange<'_, '_, B>) -> Result<(), Unverified> {
    let (context, follower) = (held.context(), held.follower);
    let read = BaseCut::read(context);
    let now = held
        .bound
        .wait("reading the checkpoints again", read)
        .await?;
    let now = now.of(held.range());
    held.bound
        .wait(
            "reading the log up to the checkpoints",
            follower.reach(&now),
        )
        .await?;
    let totals = follower.totals();
    let totals = totals.of(held.range());
    let not_below = totals.check_not_behind(&now);
    check_invariant!(CheckpointNeverAhead, not_below.is_ok(), "{not_below:?}");
    not_below.map_err(Error::from)?;
    let passed = totals.event_between_cut_and(&now).map_err(Error::from)?;
    let unpassed = check_invariant!(
        CheckpointNeverAhead,
        passed.is_none(),
        "{passed:?} of range {}",
        held.range()
    );
    match passed {
        Some(partition) if !unpassed => Err(Unverified::Passed(partition)),
        Some(_) | None => Ok(()),
    }
}

fn check_same_ring(then: &[NodeState], now: &[NodeState]) -> Result<(), Unverified> {
    let identity = |ring: &[NodeState]| {
        let mut nodes: Vec<_> = ring
            .iter()
            .map(|node| (node.node.id, node.tokens.clone()))
            .collect();
        nodes.sort();
        nodes
    };
    if identity(then) != identity(now) {
        let message = "the ring of Cassandra nodes changed during the restoration";
        return Err(Unverified::Ring(message.to_owned()));
    }
    match then.iter().chain(now).find(|node| !node.normal) {
        Some(node) => Err(Unverified::Ring(format!(
            "the Cassandra node at {} was joining, leaving or moving",
            node.node.address
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world::all as cell;
    use std::slice::from_ref;
    use stitch_common::ports::{NodeAddress, NodeId};

    #[test]
    fn a_correction_that_did_not_lead_to_the_expected_count_is_detected() {
        let drift = Drift::between(Count(3), Count(5)).unwrap();
        let corrected = [(cell("a"), drift), (cell("b"), drift), (cell("c"), drift)];
        let read = [(cell("a"), Count(3)), (cell("b"), Count(5))];
        let wrong = still_wrong(&corrected, &read);
        let wrong: Vec<_> = wrong
            .iter()
            .map(|(cell, _, now)| (cell.clone(), now.0))
            .collect();
        assert_eq!(wrong, [(cell("b"), 5), (cell("c"), 0)]);
    }

    fn node(id: u128, token: &str, normal: bool) -> NodeState {
        NodeState {
            node: NodeAddress {
                id: NodeId(uuid::Uuid::from_u128(id)),
                address: ([127, 0, 0, 1], 9042).into(),
            },
            own_address: true,
            datacenter: "dc1".to_owned(),
            tokens: vec![token.to_owned()],
            up: true,
            normal,
        }
    }

    #[test]
    fn a_changed_ring_or_a_moving_node_fails_the_verification() {
        let (a, b) = (node(1, "0", true), node(2, "9", true));
        assert!(check_same_ring(&[a.clone(), b.clone()], &[b.clone(), a.clone()]).is_ok());
        assert!(
            check_same_ring(from_ref(&a), &[a.clone(), b.clone()]).is_err(),
            "a node more"
        );
        assert!(
            check_same_ring(from_ref(&b), &[node(2, "8", true)]).is_err(),
            "another token"
        );
        assert!(
            check_same_ring(from_ref(&b), &[node(3, "9", true)]).is_err(),
            "another host id"
        );
        assert!(
            check_same_ring(&[b], &[node(2, "9", false)]).is_err(),
            "leaving"
        );
    }
}
