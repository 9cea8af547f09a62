//! Cassandra: the fates of requests.

use crate::bounds::Bounds;
use crate::fault::Fault;
use crate::processor::{self, Answer};
use crate::state::{Sent, State, Who};

/// The fate of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is applied, and acknowledged as applied.
    Applied,
    /// It is not applied, but acknowledged as applied.
    Lost,
    /// It is not applied, and the reply says so.
    NotApplied,
    /// Its sender gets no reply.
    Unknown,
    /// It is applied after its sender has given up.
    Late,
    /// It is never applied.
    Never,
}

/// The fates that a request may have.
pub(crate) fn fates(state: &State, number: usize, each: &mut impl FnMut(Fate)) {
    let sent = &state.sent[number];
    let twin = number > 0 && state.sent[number - 1] == *sent;
    if sent.held || twin {
        return;
    }
    if !sent.awaited {
        each(Fate::Late);
        each(Fate::Never);
        return;
    }
    each(Fate::Applied);
    let (unknown, lost) = faults_of(sent);
    if state.faults.has(unknown) {
        each(Fate::Unknown);
    }
    if state.faults.has(lost) {
        each(Fate::Lost);
    }
    if sent.event.is_some() && state.faults.has(Fault::NotApplied) {
        each(Fate::NotApplied);
    }
}

const fn faults_of(sent: &Sent) -> (Fault, Fault) {
    match sent.event {
        Some(_) => (Fault::Unknown, Fault::Lost),
        None => (Fault::DeltaUnknown, Fault::DeltaLost),
    }
}

/// Lets a request have a fate.
pub(crate) fn apply(bounds: &Bounds, state: &mut State, number: usize, fate: Fate) {
    let sent = state.sent.remove(number);
    let (unknown, lost) = faults_of(&sent);
    let answer = match fate {
        Fate::Applied => Some(Answer::Applied),
        Fate::Lost => {
            state.faults.take(lost);
            state.trusted[sent.cell] = false;
            Some(Answer::Applied)
        }
        Fate::NotApplied => {
            state.faults.take(Fault::NotApplied);
            Some(Answer::NotApplied)
        }
        Fate::Unknown => {
            state.faults.take(unknown);
            state.restorator.in_doubt |= sent.who == Who::Restorator;
            state.trusted[sent.cell] = false;
            state.sent.push(Sent {
                awaited: false,
                ..sent
            });
            state.sent.sort_unstable();
            Some(Answer::Unknown)
        }
        Fate::Late | Fate::Never => None,
    };
    if matches!(fate, Fate::Applied | Fate::Late) {
        state.cells[sent.cell] += sent.amount;
    }
    if let (Some(answer), Who::Processor(i)) = (answer, sent.who) {
        processor::answer(bounds, state, i, &sent, answer);
    }
}
