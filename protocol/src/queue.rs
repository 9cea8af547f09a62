//! Decides a lock queue: from the names of a directory's children alone, which nodes hold the lock and which node each
//! other one waits for. Names are parsed by [`name`](crate::path::name), and [`lock`](crate::lock) waits.

use crate::contender::Contender;
use crate::path::name::read_entry;

/// The position of a node in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position<'a> {
    /// It holds the lock.
    Held,
    /// It holds the lock at the earliest when the node of this name is gone.
    Behind(&'a str),
    /// It is not in the queue.
    Gone,
}

/// The contender among `others` that `me` waits for; none if it holds the lock. A shared lock waits for the nearest
/// earlier exclusive node, an exclusive one for the nearest earlier node of any kind: each wakes only those that it
/// blocked.
pub fn predecessor(
    me: Contender,
    others: impl IntoIterator<Item = Contender>,
) -> Option<Contender> {
    let mut nearest: Option<Contender> = None;
    for other in others.into_iter().filter(|other| me.waits_for(*other)) {
        if nearest.is_none_or(|nearest| nearest.sequence.precedes(other.sequence)) {
            nearest = Some(other);
        }
    }
    nearest
}

/// The position of `own` among `children`.
#[must_use]
pub fn position<'a>(children: &'a [String], own: &str) -> Position<'a> {
    if !children.iter().any(|name| name == own) {
        return Position::Gone;
    }
    let Some(me) = read_entry(own) else {
        return Position::Gone;
    };
    let others = children.iter().filter_map(|name| read_entry(name));
    let Some(nearest) = predecessor(me, others) else {
        return Position::Held;
    };
    let named = children
        .iter()
        .find(|name| read_entry(name) == Some(nearest));
    named.map_or(Position::Held, |name| Position::Behind(name))
}

/// The names of those among `children` that hold the lock.
pub fn holders(children: &[String]) -> impl Iterator<Item = &str> {
    let queued = children.iter().filter(|name| read_entry(name).is_some());
    let held = queued.filter(|name| position(children, name) == Position::Held);
    held.map(String::as_str)
}

#[cfg(test)]
mod tests;
