//! The options of the commands, already checked against the configuration.
//!
//! `--read-consistency QUORUM` is not among them: it becomes [`read_level`](stitch_config::Restorator::read_level) of
//! the configuration, which no file can set.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use stitch_common::member::MemberId;
use stitch_common::ports::NodeId;
use stitch_common::scope::Scope;
use stitch_totals::build::BaseChoice;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanOptions {
    pub scope: Scope,
    /// Only those ranges of the scope that are uncertain.
    pub only_doubtful: bool,
    pub plan_file: Option<PathBuf>,
    /// How many cells may remain unjudged; `None` for one in a hundred.
    pub max_unjudged: Option<u64>,
    pub declared_dead: Vec<DeclaredDead>,
    pub totals: TotalsOptions,
}

/// Which totals an audit starts from, and whether it leaves some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalsOptions {
    pub base: BaseChoice,
    /// Whether an audit of everything leaves totals at its base cut.
    pub leave: bool,
}

impl Default for TotalsOptions {
    fn default() -> Self {
        Self {
            base: BaseChoice::Newest,
            leave: true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumsOptions {
    pub scope: Scope,
    /// Only those ranges of the scope that are uncertain.
    pub only_doubtful: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    pub source: PlanSource,
    pub limits: Limits,
    pub declared_dead: Vec<DeclaredDead>,
    pub totals: TotalsOptions,
}

/// Where the scope of a restoration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanSource {
    /// A plan file.
    File(PathBuf),
    /// The arguments of `run --now`.
    Now(Scope),
    /// The arguments of `run --now --doubtful`: only those ranges of the scope that are uncertain.
    Doubtful(Scope),
}

/// The most that the operator expects. More is refused before anything is corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most cells that may be corrected.
    pub max_cells: Option<u64>,
    /// The most that all corrections may add up to, by absolute value.
    pub max_change: Option<u64>,
}

/// A node or a member that the operator declares permanently dead: no quiescence barrier waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredDead {
    /// A Cassandra node, by host id.
    Node(NodeId),
    /// A Cassandra node, by address and port.
    Address(SocketAddr),
    /// A Cassandra node, by address.
    Host(IpAddr),
    Member(MemberId),
}

impl fmt::Display for DeclaredDead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(NodeId(id)) => id.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Host(host) => host.fmt(f),
            Self::Member(member) => member.fmt(f),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" names neither a Cassandra node (its host id, its address, or address:port) nor a member (two times 16 \
     hexadecimal digits); `stitch-restorator status` lists the members, `check` the nodes"
)]
pub struct InvalidDeclaredDead(String);

impl FromStr for DeclaredDead {
    type Err = InvalidDeclaredDead;

    fn from_str(text: &str) -> Result<Self, InvalidDeclaredDead> {
        let member = MemberId::from_node_name(text).map(Self::Member);
        let node = || text.parse().ok().map(|id| Self::Node(NodeId(id)));
        let address = || text.parse().ok().map(Self::Address);
        let host = || text.parse().ok().map(Self::Host);
        let dead = member.or_else(node).or_else(address).or_else(host);
        dead.ok_or_else(|| InvalidDeclaredDead(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use stitch_common::ports::NodeAddress;

    use super::*;
    use crate::quiescence::declared_dead;

    #[test]
    fn a_node_or_a_member_can_be_declared_dead() {
        let id = uuid::Uuid::from_u128(7);
        let node = NodeAddress {
            id: NodeId(id),
            address: ([127, 0, 0, 2], 9042).into(),
        };
        // As the barrier sees it.
        let dead = |text: &str| declared_dead(&[text.parse().unwrap()]);
        for meant in [id.to_string().as_str(), "127.0.0.2", "127.0.0.2:9042"] {
            let dead = dead(meant);
            assert!(dead.has_id(node.id) || dead.has_address(&node), "{meant}");
        }
        for other in [
            "127.0.0.1",
            "127.0.0.2:9043",
            "00000000000000ff-0000000000000000",
        ] {
            let dead = dead(other);
            assert!(!dead.has_id(node.id) && !dead.has_address(&node), "{other}");
        }
        let members = dead("00000000000000ff-0000000000000000").members;
        assert_eq!(members, [MemberId::new(255, 0)].into());
        let error = "node-3".parse::<DeclaredDead>().unwrap_err().to_string();
        assert!(
            error.contains("node-3") && error.contains("status"),
            "{error}"
        );
    }
}
