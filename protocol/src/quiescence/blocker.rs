//! What holds up a quiescence barrier, with what the operator can do about it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use stitch_common::member::MemberId;
use stitch_common::ports::NodeAddress;

/// One thing that holds up the barrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// A dead member has connections.
    Connected {
        /// The dead member.
        member: MemberId,
        /// The address of its process.
        client: SocketAddr,
        /// The node that lists the connection.
        node: NodeAddress,
    },
    /// A node does not answer.
    Silent {
        /// The silent node.
        node: NodeAddress,
        /// How long it has been silent, as far as this barrier has seen.
        lasting: Duration,
    },
    /// A node answers reads, but applies no increment.
    Stalled {
        /// The node.
        node: NodeAddress,
        /// How long it has applied none, as far as this barrier has seen.
        lasting: Duration,
    },
    /// A node refuses connections, and its peers report it up, or cannot be asked.
    Refusing(NodeAddress),
    /// Another node answers at a node's address.
    Replaced(NodeAddress),
    /// An address refuses connections of which the node has not said that it listens there itself, so something else may
    /// refuse in its place.
    ForeignAddress(NodeAddress),
    /// A node answers, but rejects increments, or its connections or settings cannot be read.
    Unreadable {
        /// The node that was asked.
        node: NodeAddress,
        /// The error that it answered with.
        why: String,
    },
    /// No node reports the ring.
    RingUnknown(String),
    /// ZooKeeper does not report the living members.
    MembersUnknown(String),
    /// A member has just died: its connections are read once more.
    JustDied(MemberId),
    /// Only time is missing.
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
                 process, or, if its host is permanently gone, say `--declare-dead {member}`",
                node.address
            ),
            Self::Silent { node, lasting } => write!(
                f,
                "the Cassandra node {} ({}) has been silent for {} s: thaw, repair or stop it, or, if it is permanently \
                 gone, say `--declare-dead {}`",
                node.address,
                node.id.0,
                lasting.as_secs(),
                node.id.0
            ),
            Self::Stalled { node, lasting } => write!(
                f,
                "the Cassandra node {} ({}) answers reads, but has applied no increment for {} s, so its commit log or \
                 its counter stage stalls: see its log and its disks, or stop it, or, if it is permanently gone, say \
                 `--declare-dead {}`",
                node.address,
                node.id.0,
                lasting.as_secs(),
                node.id.0
            ),
            Self::Refusing(node) => write!(
                f,
                "the Cassandra node {} ({}) refuses connections, and its peers do not report it down yet: start it, or \
                 stop its whole process, or, if it is permanently gone, say `--declare-dead {}`",
                node.address, node.id.0, node.id.0
            ),
            Self::Replaced(node) => write!(
                f,
                "another node answers at the address {} of the Cassandra node {}, which may still hold increments if its \
                 host was paused: make sure that no process of it runs any more, then say `--declare-dead {}`",
                node.address, node.id.0, node.id.0
            ),
            Self::ForeignAddress(node) => write!(
                f,
                "the address {} of the Cassandra node {} refuses connections, but may not be that node's own (a load \
                 balancer's, a service's, a firewall's): start the node, or, if no process of it runs any more, say \
                 `--declare-dead {}`",
                node.address, node.id.0, node.id.0
            ),
            Self::Unreadable { node, why } => {
                write!(
                    f,
                    "the Cassandra node {} ({}) cannot be probed: {why}",
                    node.address, node.id.0
                )
            }
            Self::RingUnknown(why) => write!(f, "no Cassandra node reports the ring: {why}"),
            Self::MembersUnknown(why) => {
                write!(
                    f,
                    "ZooKeeper does not report which members are alive: {why}"
                )
            }
            Self::JustDied(member) => write!(f, "member {member} has just died"),
            Self::QuietPeriod { left } => write!(
                f,
                "{:.1} s must pass in which every node answers",
                left.as_secs_f64()
            ),
        }
    }
}
