//! Members: one ZooKeeper session of a process, and everything that belongs to it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The session that a member is, as 16 hexadecimal digits: its node below `/members`, and the `CLIENT_ID` of its
/// driver's connections. A process that starts again after an expired session is another member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(String);

impl MemberId {
    /// The member of this ZooKeeper session.
    #[must_use]
    pub fn of_session(session: i64) -> Self {
        Self(format!("{:016x}", session.cast_unsigned()))
    }

    /// A member by the name of its node; `None` if it is no such name.
    #[must_use]
    pub fn from_node_name(name: &str) -> Option<Self> {
        let valid = name.len() == 16
            && name
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then(|| Self(name.to_owned()))
    }

    /// The name of its node.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It counts.
    Processor,
    /// It restores.
    Restorator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processor => "processor",
            Self::Restorator => "restorator",
        })
    }
}
