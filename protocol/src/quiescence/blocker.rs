//! What a calm waits for, named so that an operator knows what to do about it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use stitch_common::member::MemberId;
use stitch_common::ports::NodeAddress;

/// One thing that a calm waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// A dead member has connections.
    Connected {
        /// The member.
        member: MemberId,
        /// Where its process is.
        client: SocketAddr,
        /// The node that lists it.
        node: NodeAddress,
    },
    /// A node says nothing.
    Silent {
        /// The node.
        node: NodeAddress,
        /// For how long, as far as this calm knows.
        lasting: Duration,
    },
    /// A node refuses connections while others hear of it, or cannot be asked whether they do.
    Refuses(NodeAddress),
    /// A node answers, and does not tell its connections or settings.
    Untold {
        /// The node.
        node: NodeAddress,
        /// Why.
        why: String,
    },
    /// No node tells what nodes there are.
    NoRing(String),
    /// ZooKeeper does not tell who lives.
    NoKeeper(String),
    /// A member has just died: its connections are looked at once more.
    Died(MemberId),
    /// Nothing but time.
    QuietPeriod {
        /// How much of it.
        left: Duration,
    },
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected {
                member,
                client,
                node,
            } => write!(
                f,
                "member {member} is dead and still has a connection from {client} at the Cassandra node {}: end that \
                 process, or, if its host is gone for good, say `--declare-dead {member}`",
                node.address
            ),
            Self::Silent { node, lasting } => write!(
                f,
                "the Cassandra node {} ({}) has been silent for {} s: thaw, mend or stop it, or, if it is gone for \
                 good, say `--declare-dead {}`",
                node.address,
                node.id.0,
                lasting.as_secs(),
                node.address
            ),
            Self::Refuses(node) => write!(
                f,
                "the Cassandra node {} ({}) refuses connections, and its peers are not known to have lost it yet: \
                 start it, or stop it whole, or, if it is gone for good, say `--declare-dead {}`",
                node.address, node.id.0, node.address
            ),
            Self::Untold { node, why } => {
                write!(
                    f,
                    "the Cassandra node {} cannot be asked: {why}",
                    node.address
                )
            }
            Self::NoRing(why) => write!(f, "no Cassandra node tells what nodes there are: {why}"),
            Self::NoKeeper(why) => write!(f, "ZooKeeper does not tell which members live: {why}"),
            Self::Died(member) => write!(f, "member {member} has just died"),
            Self::QuietPeriod { left } => write!(
                f,
                "{:.1} s must pass in which every node answers",
                left.as_secs_f64()
            ),
        }
    }
}
