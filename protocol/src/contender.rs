//! A contender for a lock, as the name of its node describes it: its maker, the kind of lock, and its position in the
//! queue.

use std::cmp::Ordering;
use std::fmt;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Together with other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        })
    }
}

/// A position in a queue, given by ZooKeeper: ten digits, counting up within the directory, and going on from the lowest
/// negative number after the highest. So two of them are compared by their distance, and there is no total order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(i32);

impl Sequence {
    /// The position with this number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// Parses the end of a sequential node's name.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let sequence = Self(digits.parse().ok()?);
        (sequence.to_string() == digits).then_some(sequence)
    }

    /// Whether this was given before `other`, if fewer than 2^31 were given between them.
    #[must_use]
    pub const fn precedes(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) < 0
    }

    /// The order of two positions in one queue, which never spans half of all numbers.
    pub(crate) fn cmp_distance(self, other: Self) -> Ordering {
        self.0.wrapping_sub(other.0).cmp(&0)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// Identifies the nodes of one contender. It is part of the name, because the answer to a creation may be lost and
/// ZooKeeper chooses the rest of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guid(uuid::Uuid);

impl Guid {
    /// The `number`th of the session for which `nonce` was drawn.
    #[must_use]
    pub const fn new(nonce: u64, number: u64) -> Self {
        Self(uuid::Uuid::from_u64_pair(nonce, number))
    }

    /// Parses the 36 characters that it is written as.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let guid = Self(uuid::Uuid::try_parse(text).ok()?);
        (guid.to_string() == text).then_some(guid)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// A node in a lock queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Identifies its maker.
    pub guid: Guid,
    /// The kind of lock that it wants.
    pub kind: Kind,
    /// Its position.
    pub sequence: Sequence,
}

impl Contender {
    pub(crate) fn waits_for(self, other: Self) -> bool {
        other.sequence.precedes(self.sequence)
            && (self.kind == Kind::Exclusive || other.kind == Kind::Exclusive)
    }
}
