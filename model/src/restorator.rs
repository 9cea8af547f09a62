//! The restorator: which step comes next, and what follows. The product decides what is read, judged and corrected
//! ([`audit`]).

pub mod ceilings;
pub mod at_rest;

use stitch_protocol::contender::Kind;

use crate::audit::{self, of_range};
use crate::bounds::{Bounds, CELLS, CorrectionMode};
use crate::fault::{Fault, Faults};
use crate::properties;
use crate::rule::Rule;
use crate::state::{After, Broken, Cut, Phase, Reading, Restorator, Sent, State, Who};
use crate::zookeeper;

use ceilings::{ceilings, follow, leader_steps, reaches_ceilings};

/// What the restorator does, or what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Continues with what its phase says.
    Next,
    /// Reads a later base cut.
    Converge,
    /// Queues for a range's exclusive lock, and requests its revocation.
    Lock(usize),
    /// Gives the range back unverified.
    GiveBack,
    /// Is killed.
    Crash,
    /// Freezes; the bits say which of its requests are still in its driver.
    Freeze(u8),
    /// Its session expires, and another one is started.
    Expire,
    /// A deposed leader answers from now on.
    DeposedLeader,
    /// The leader answers again.
    FindLeader,
    /// A frozen restorator wakes up.
    FormerWakes,
}

impl Phase {
    /// The range whose lock is held past R2.
    pub const fn locked(self) -> Option<usize> {
        match self {
            Self::Cutting(range)
            | Self::Following(range, _)
            | Self::Reading(range, _)
            | Self::Applying(range, _)
            | Self::AwaitingBarrier(After::Read(range, _)) => Some(range),
            Self::Idle
            | Self::MarkersRead
            | Self::BaseCut
            | Self::Scanning(_)
            | Self::Scanned
            | Self::Audited
            | Self::Converging(_)
            | Self::Rescanning(..)
            | Self::Correcting
            | Self::ReadingAgain(_)
            | Self::Locking(_)
            | Self::Locked(_)
            | Self::AwaitingBarrier(After::Base | After::Scan | After::Rescan(_) | After::Cut(_))
            | Self::Dead
            | Self::Done => None,
        }
    }

    /// Whether this range's lock is held past R2.
    pub fn has_locked(self, range: usize) -> bool {
        self.locked() == Some(range)
    }

    /// The range for which it has a lock entry.
    const fn claimed(self) -> Option<usize> {
        if let Self::Locking(range)
        | Self::Locked(range)
        | Self::AwaitingBarrier(After::Cut(range)) = self
        {
            Some(range)
        } else {
            self.locked()
        }
    }
}

fn own(sent: &Sent) -> bool {
    sent.who == Who::Restorator
}

/// The steps that it may take.
pub(crate) fn steps(bounds: &Bounds, state: &State, each: &mut impl FnMut(Step)) {
    let Restorator {
        phase, has_frozen, ..
    } = state.restorator;
    let awaits = || state.sent.iter().any(|sent| own(sent) && sent.awaited);
    let next = match phase {
        Phase::AwaitingBarrier(_) => {
            zookeeper::barrier_holds(bounds, state, |observers| observers.restorator)
        }
        Phase::Locking(range) => {
            let granted = zookeeper::is_granted(&state.queues[range], Who::Restorator);
            granted || bounds.lacks(Rule::ExclusiveLock)
        }
        Phase::Correcting | Phase::Applying(..) => !awaits(),
        Phase::Audited => {
            at_rest::may_correct(bounds, &state.restorator)
                || bounds.mode == CorrectionMode::Unlocked
        }
        Phase::Dead | Phase::Done => false,
        Phase::Scanned | Phase::Following(..) => reaches_ceilings(bounds, state),
        Phase::Rescanning(_, cell) | Phase::ReadingAgain(cell) => {
            cell < bounds.cells.len() || reaches_ceilings(bounds, state)
        }
        Phase::Idle
        | Phase::MarkersRead
        | Phase::BaseCut
        | Phase::Scanning(_)
        | Phase::Converging(_)
        | Phase::Locked(_)
        | Phase::Cutting(_)
        | Phase::Reading(..) => true,
    };
    if next {
        each(Step::Next);
    }
    if phase == Phase::Audited && !next {
        let unverified = |range: &usize| !state.restorator.verified[*range];
        for range in (0..bounds.ranges()).filter(unverified) {
            each(Step::Lock(range));
        }
        if state.faults.has(Fault::Converge) {
            each(Step::Converge);
        }
    }
    leader_steps(state, each);
    let waits = matches!(
        phase,
        Phase::Locking(_) | Phase::AwaitingBarrier(After::Cut(_) | After::Read(..))
    );
    if waits && state.faults.has(Fault::GiveBack) {
        each(Step::GiveBack);
    }
    if phase == Phase::Dead {
        each(Step::Expire);
    } else if !matches!(phase, Phase::Idle | Phase::Done) {
        if state.faults.has(Fault::RestoratorCrash) {
            each(Step::Crash);
        }
        let requests = state.sent.iter().filter(|sent| own(sent)).count();
        if state.faults.has(Fault::RestoratorFreeze) && requests > 0 && !has_frozen {
            (0..1_u8 << requests).for_each(|held| each(Step::Freeze(held)));
        }
    }
    if has_frozen {
        each(Step::FormerWakes);
    }
}

/// Lets the restorator take a step.
pub(crate) fn apply(bounds: &Bounds, state: &mut State, step: Step) {
    match step {
        Step::Next => next(bounds, state),
        Step::Converge => {
            state.faults.take(Fault::Converge);
            state.restorator.phase = Phase::Converging(state.checkpoints);
        }
        Step::Lock(range) => lock(bounds, state, range),
        Step::GiveBack => give_back(bounds, state),
        Step::Crash => {
            state.faults.take(Fault::RestoratorCrash);
            die(bounds, state, None);
        }
        Step::Freeze(held) => {
            state.faults.take(Fault::RestoratorFreeze);
            die(bounds, state, Some(held));
        }
        Step::Expire => {
            for range in 0..bounds.ranges() {
                zookeeper::leave(state, range, Who::Restorator);
            }
            zookeeper::leave_dead_member(state);
            state.restorator.phase = Phase::Idle;
        }
        Step::DeposedLeader => {
            state.faults.take(Fault::DeposedLeader);
            state.restorator.old_ends = Some(state.ends);
        }
        Step::FindLeader => state.restorator.old_ends = None,
        Step::FormerWakes => {
            state.restorator.has_frozen = false;
            for sent in &mut state.sent {
                if sent.who == Who::FrozenRestorator {
                    (sent.who, sent.held) = (Who::Former, false);
                }
            }
            state.sent.sort_unstable();
        }
    }
}

/// Queues for a range's exclusive lock.
pub(crate) fn lock(bounds: &Bounds, state: &mut State, range: usize) {
    zookeeper::enqueue(state, range, Who::Restorator, Kind::Exclusive);
    state.revocations[range] = true;
    if bounds.lacks(Rule::CeilingAfterGrant) {
        state.restorator.early_ceilings = Some(zookeeper::ceilings(state));
    }
    state.restorator.phase = Phase::Locking(range);
}

fn next(bounds: &Bounds, state: &mut State) {
    let count = bounds.cells.len();
    match state.restorator.phase {
        // The rule in reverse: nothing sees the markers that are created in between.
        Phase::Idle if bounds.lacks(Rule::MarkersAfterCut) => {
            state.restorator.phase = match zookeeper::read_markers(state, |_| true) {
                true => Phase::AwaitingBarrier(After::Base),
                false => Phase::MarkersRead,
            };
        }
        Phase::Idle | Phase::MarkersRead => base_cut(bounds, state),
        Phase::BaseCut => {
            let reads =
                !bounds.lacks(Rule::QuiescenceBeforeRead) && !bounds.lacks(Rule::MarkersAfterCut);
            let found = reads && zookeeper::read_markers(state, |_| true);
            state.restorator.phase = if found {
                Phase::AwaitingBarrier(After::Scan)
            } else {
                Phase::Scanning(0)
            };
        }
        Phase::Scanning(cell) => {
            read(bounds, state, cell);
            let last = cell + 1 == count;
            state.restorator.phase = if last {
                Phase::Scanned
            } else {
                Phase::Scanning(cell + 1)
            };
        }
        Phase::Scanned => audited(bounds, state),
        Phase::Converging(later) => {
            let found = !bounds.lacks(Rule::QuiescenceInConvergence)
                && zookeeper::read_markers(state, |_| true);
            state.restorator.phase = if found {
                Phase::AwaitingBarrier(After::Rescan(later))
            } else {
                Phase::Rescanning(later, 0)
            };
        }
        Phase::Rescanning(later, cell) => rescan(bounds, state, later, cell),
        Phase::Audited => at_rest::correct(bounds, state),
        Phase::Correcting => at_rest::answered(bounds, state),
        Phase::ReadingAgain(cell) => at_rest::read_again(bounds, state, cell),
        Phase::Locking(range) => state.restorator.phase = Phase::Locked(range),
        Phase::Locked(range) => {
            let reads = !bounds.lacks(Rule::QuiescenceAfterGrant);
            let found = reads && zookeeper::read_markers(state, |marked| marked == range);
            state.restorator.phase = if found {
                Phase::AwaitingBarrier(After::Cut(range))
            } else {
                Phase::Cutting(range)
            };
        }
        Phase::Cutting(range) => {
            let of = match bounds.lacks(Rule::CutUnderLock) {
                true => &state.restorator.base,
                false => &state.checkpoints,
            };
            state.restorator.phase = Phase::Following(range, of_range(of, range));
        }
        Phase::Following(range, cut) => follow(bounds, state, range, cut),
        Phase::Reading(range, reading) => correct(bounds, state, range, reading),
        Phase::Applying(range, reading) => applied(bounds, state, range, reading),
        Phase::AwaitingBarrier(after) => barrier_held(bounds, state, after),
        Phase::Dead | Phase::Done => {}
    }
}

/// Continues after a barrier.
fn barrier_held(bounds: &Bounds, state: &mut State, after: After) {
    zookeeper::end_barrier(bounds, state, true);
    state.restorator.phase = match after {
        After::Base => Phase::MarkersRead,
        After::Scan => Phase::Scanning(0),
        After::Rescan(later) => Phase::Rescanning(later, 0),
        After::Cut(range) => Phase::Cutting(range),
        After::Read(range, reading) => {
            state.restorator.in_doubt = false;
            Phase::Reading(range, reading)
        }
    };
}

fn base_cut(bounds: &Bounds, state: &mut State) {
    let knows = &mut state.restorator;
    *knows = Restorator {
        base: state.checkpoints,
        phase: Phase::BaseCut,
        verified: knows.verified,
        has_frozen: knows.has_frozen,
        old_ends: knows.old_ends,
        ..Restorator::new()
    };
    if bounds.lacks(Rule::CeilingAfterRead) {
        state.restorator.early_ceilings = Some(zookeeper::ceilings(state));
    }
    if bounds.mode != CorrectionMode::Locked {
        state.trusted = [false; CELLS];
    }
}

fn read(bounds: &Bounds, state: &mut State, cell: usize) {
    let knows = &mut state.restorator;
    knows.read[cell] = state.cells[cell];
    knows.wrong[cell] = audit::judge(bounds, &knows.base, cell, state.cells[cell]);
}

/// Judges the cells without an event from the base cut up to the ceilings.
pub(crate) fn audited(bounds: &Bounds, state: &mut State) {
    let ceilings = ceilings(bounds, state);
    let knows = &mut state.restorator;
    let dirty = audit::dirty(bounds, &knows.base, &ceilings);
    let sure = audit::wrong_at_rest(bounds, knows, &ceilings);
    for (cell, dirty) in dirty.into_iter().enumerate().take(bounds.cells.len()) {
        // What is corrected without a lock has to be at rest.
        if (dirty && !sure[cell]) || knows.verified[bounds.cells[cell]] {
            continue;
        }
        if state.cells[cell] != knows.read[cell] {
            state.broken = Some(Broken::Judged);
        }
        let is_right = knows.wrong[cell] == 0 || sure[cell];
        if bounds.mode != CorrectionMode::Locked && is_right {
            state.trusted[cell] = true;
        }
    }
    if bounds.mode != CorrectionMode::Locked {
        knows.sure = sure;
    }
    knows.phase = Phase::Audited;
}

fn rescan(bounds: &Bounds, state: &mut State, later: Cut, cell: usize) {
    let base = state.restorator.base;
    if cell < bounds.cells.len() {
        let range = bounds.cells[cell];
        let is_passed = audit::passed(bounds, &base, &later, range)[cell];
        if is_passed || state.restorator.sure[cell] {
            let knows = &mut state.restorator;
            knows.read[cell] = state.cells[cell];
            knows.wrong[cell] = audit::judge(bounds, &later, cell, state.cells[cell]);
        }
        state.restorator.phase = Phase::Rescanning(later, cell + 1);
    } else {
        state.restorator.base = later;
        state.restorator.sure = Default::default();
        audited(bounds, state);
    }
}

pub(crate) fn send(state: &mut State, cell: usize, amount: i16) {
    let in_doubt = |sent: &Sent| own(sent) && sent.cell == cell;
    if state.sent.iter().any(in_doubt) {
        state.broken = Some(Broken::I5);
    }
    state.sent.push(Sent {
        who: Who::Restorator,
        held: false,
        awaited: true,
        barriers: Default::default(),
        cell,
        event: None,
        amount,
    });
}

fn correct(bounds: &Bounds, state: &mut State, range: usize, reading: Reading) {
    let mut corrected = [false; CELLS];
    for cell in (0..bounds.cells.len()).filter(|cell| reading.cells[*cell]) {
        let delta = audit::correction(bounds, &reading.cut, cell, state.cells[cell]);
        if delta != 0 {
            send(state, cell, delta);
            corrected[cell] = true;
        }
    }
    state.sent.sort_unstable();
    let reading = Reading {
        corrected,
        ..reading
    };
    state.restorator.phase = Phase::Applying(range, reading);
}

fn applied(bounds: &Bounds, state: &mut State, range: usize, reading: Reading) {
    if state.restorator.in_doubt {
        if bounds.lacks(Rule::QuiescenceAfterUnknown) {
            state.restorator.in_doubt = false;
            state.restorator.phase = Phase::Reading(range, reading);
        } else {
            zookeeper::begin_barrier(state);
            state.restorator.phase = Phase::AwaitingBarrier(After::Read(range, reading));
        }
        return;
    }
    let Reading { cut, corrected, .. } = reading;
    let wrong = audit::is_still_wrong(bounds, range, &cut, &corrected, &state.cells);
    if wrong && !bounds.lacks(Rule::Verify) {
        state.restorator.phase = Phase::Reading(range, reading);
        return;
    }
    properties::check_verified(bounds, state, range, &cut);
    zookeeper::leave(state, range, Who::Restorator);
    state.restorator.verified[range] = true;
    state.restorator.phase = Phase::Audited;
    if state.restorator.verified[..bounds.ranges()]
        .iter()
        .all(|verified| *verified)
    {
        finish(bounds, state);
    }
}

/// Ends the restoration: no fault happens from now on, and every cell that was restored must stay right.
pub(crate) fn finish(bounds: &Bounds, state: &mut State) {
    state.restorator = Restorator {
        phase: Phase::Done,
        has_frozen: state.restorator.has_frozen,
        ..Restorator::new()
    };
    state.faults = Faults::default();
    zookeeper::end_barrier(bounds, state, false);
    zookeeper::end_clean_up(bounds, state);
    state.markers.clear();
    state.dead_members.clear();
}

fn give_back(bounds: &Bounds, state: &mut State) {
    state.faults.take(Fault::GiveBack);
    let Some(range) = state.restorator.phase.claimed() else {
        return;
    };
    if state.restorator.in_doubt && !bounds.lacks(Rule::MarkerAtRelease) {
        zookeeper::create_marker(state, range);
    }
    zookeeper::end_barrier(bounds, state, false);
    forget(state, None);
    zookeeper::leave(state, range, Who::Restorator);
    state.restorator.phase = Phase::Idle;
}

/// Ends it without a clean-up, or freezes it forever, with some of its requests in its driver.
fn die(bounds: &Bounds, state: &mut State, held: Option<u8>) {
    zookeeper::end_barrier(bounds, state, false);
    forget(state, held);
    state.restorator.phase = Phase::Dead;
    state.restorator.has_frozen |= held.is_some();
}

fn forget(state: &mut State, held: Option<u8>) {
    let own = state.sent.iter_mut().filter(|sent| own(sent));
    for (number, sent) in own.enumerate() {
        let is_held = held.is_some_and(|held| held & (1 << number) != 0);
        (sent.awaited, sent.held) = (false, is_held);
        sent.who = match is_held {
            true => Who::FrozenRestorator,
            false => Who::Former,
        };
    }
    state.sent.sort_unstable();
    let Restorator {
        verified,
        has_frozen,
        ..
    } = state.restorator;
    state.restorator = Restorator {
        verified,
        has_frozen,
        ..Restorator::new()
    };
}
