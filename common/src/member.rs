//! Members: one ZooKeeper session of a process each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A member's session id as 16 hexadecimal digits: the name of its node below `/members`, and the `CLIENT_ID` of its
/// driver's connections. A process that starts again after its session expired is another member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(String);

impl MemberId {
    /// The member of this ZooKeeper session.
    #[must_use]
    pub fn of_session(session: i64) -> Self {
        Self(format!("{:016x}", session.cast_unsigned()))
    }

    /// Parses the name of a member node; `None` if it is not one.
    #[must_use]
    pub fn from_node_name(name: &str) -> Option<Self> {
        let valid = name.len() == 16
            && name
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        valid.then(|| Self(name.to_owned()))
    }

    /// The name of the member node.
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

/// The role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Counts events.
    Processor,
    /// Restores counts.
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
