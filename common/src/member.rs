//! Members: one ZooKeeper session of a process each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Digits of each half of an id.
const HALF: usize = 16;

/// A member's id: its session's id and a random half, as 16 hexadecimal digits each, with a hyphen between them. It names
/// the member's node below `/members`, and is the `CLIENT_ID` of its driver's connections. A process that starts again
/// after its session expired is another member.
///
/// The session's id alone would not do: a ZooKeeper server counts them up from its host's uptime, so after a reboot of the
/// host, or on another one, it may give an id again that a dead member has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(String);

impl MemberId {
    /// The member of this ZooKeeper session, for which `nonce` was drawn.
    #[must_use]
    pub fn new(session: i64, nonce: u64) -> Self {
        Self(format!("{:016x}-{nonce:016x}", session.cast_unsigned()))
    }

    /// Parses the name of a member node; `None` if it is not one.
    #[must_use]
    pub fn from_node_name(name: &str) -> Option<Self> {
        let (session, nonce) = name.split_once('-')?;
        (is_half(session) && is_half(nonce)).then(|| Self(name.to_owned()))
    }

    /// The name of the member node.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_half(text: &str) -> bool {
    text.len() == HALF
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_parsed_as_it_was_spelled() {
        let id = MemberId::new(-5, 0xab);
        assert_eq!(id.as_str(), "fffffffffffffffb-00000000000000ab");
        assert_eq!(MemberId::from_node_name(id.as_str()), Some(id));
    }

    #[test]
    fn a_session_that_is_given_again_is_another_member() {
        assert_ne!(MemberId::new(7, 1), MemberId::new(7, 2));
    }

    #[test]
    fn other_names_are_not_parsed_as_ids() {
        let others = [
            "",
            "-",
            "fffffffffffffffb",
            "fffffffffffffffb-",
            "fffffffffffffffb-ab",
            "fffffffffffffffb-00000000000000AB",
            "fffffffffffffffb-00000000000000ab-1",
            // A host id without its hyphens is no member.
            "fffffffffffffffb00000000000000ab",
        ];
        for name in others {
            assert_eq!(MemberId::from_node_name(name), None, "{name}");
        }
    }
}
