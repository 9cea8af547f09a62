//! The paths of all nodes in ZooKeeper: nothing else spells them. Names that carry more than a number are in [`name`].
//! `docs/architecture.md`, section 4, shows the tree with the meaning of each node.

pub mod name;

use stitch_common::cell::CounterName;
use stitch_common::member::MemberId;
use stitch_common::offset::Partition;
use stitch_common::ports::NodeId;
use stitch_common::range::RangeId;
use stitch_config::ROOT_DEFAULT;

/// The paths of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: String,
}

impl Paths {
    /// The paths of the namespace with this name below `/stitch`, the default.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self::below(ROOT_DEFAULT, namespace)
    }

    /// The paths of the namespace with this name below the node `root`, empty for the top. The configuration has validated
    /// both.
    #[must_use]
    pub fn below(root: &str, namespace: &str) -> Self {
        Self {
            root: format!("{root}/{namespace}"),
        }
    }

    /// `/stitch/<namespace>`, or below another root.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The directories that a namespace has from its start, parents first.
    #[must_use]
    pub fn directories(&self) -> Vec<String> {
        let slashes = self.root.match_indices('/').skip(1);
        let above = slashes.map(|(at, _)| self.root[..at].to_owned());
        let own = [
            self.root.clone(),
            self.members(),
            self.living(),
            self.cleanup(),
            self.known_nodes(),
            self.log(),
            self.partitions(),
            self.ranges(),
            self.revocations(),
            self.doubts(),
            self.backfills(),
            self.restorations(),
        ];
        above.chain(own).collect()
    }

    /// `/definition`: version, range bits, definitions, generation, identities. Created last, so a namespace that has
    /// it is complete.
    #[must_use]
    pub fn definition(&self) -> String {
        format!("{}/definition", self.root)
    }

    /// `/members`: its data version is raised with each new member.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}/members", self.root)
    }

    /// The persistent node of a member.
    #[must_use]
    pub fn member(&self, member: &MemberId) -> String {
        format!("{}/members/{member}", self.root)
    }

    /// The parent of the ephemeral nodes of all members.
    #[must_use]
    pub fn living(&self) -> String {
        format!("{}/alive", self.root)
    }

    /// The ephemeral node of a member.
    #[must_use]
    pub fn alive(&self, member: &MemberId) -> String {
        format!("{}/alive/{member}", self.root)
    }

    /// The queue of those that clean up after dead members.
    #[must_use]
    pub fn cleanup(&self) -> String {
        format!("{}/cleanup", self.root)
    }

    /// The parent of all known nodes of Cassandra.
    #[must_use]
    pub fn known_nodes(&self) -> String {
        format!("{}/nodes", self.root)
    }

    /// A known node of Cassandra.
    #[must_use]
    pub fn known_node(&self, id: NodeId) -> String {
        format!("{}/nodes/{}", self.root, id.0)
    }

    /// The parent of the first records of all partitions.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}/log", self.root)
    }

    /// The first record of a partition, which distinguishes its log from another.
    #[must_use]
    pub fn first_record(&self, partition: Partition) -> String {
        format!("{}/log/{partition}", self.root)
    }

    /// The parent of all partitions.
    #[must_use]
    pub fn partitions(&self) -> String {
        format!("{}/partitions", self.root)
    }

    /// A partition: its lock queue and its checkpoint.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> String {
        format!("{}/partitions/{partition}", self.root)
    }

    /// The offset from which a partition is counted.
    #[must_use]
    pub fn origin(&self, partition: Partition) -> String {
        format!("{}/partitions/{partition}/origin", self.root)
    }

    /// A partition's checkpoint.
    #[must_use]
    pub fn checkpoint(&self, partition: Partition) -> String {
        format!("{}/partitions/{partition}/checkpoint", self.root)
    }

    /// Why a partition is not counted now.
    #[must_use]
    pub fn suspension(&self, partition: Partition) -> String {
        format!("{}/partitions/{partition}/suspended", self.root)
    }

    /// The parent of all ranges.
    #[must_use]
    pub fn ranges(&self) -> String {
        format!("{}/ranges", self.root)
    }

    /// A range: its lock queue and its in-doubt markers.
    #[must_use]
    pub fn range(&self, range: RangeId) -> String {
        format!("{}/ranges/{range}", self.root)
    }

    /// The parent of all revocation requests; processors watch no other directory.
    #[must_use]
    pub fn revocations(&self) -> String {
        format!("{}/revocations", self.root)
    }

    /// The parent of all doubts.
    #[must_use]
    pub fn doubts(&self) -> String {
        format!("{}/doubts", self.root)
    }

    /// The doubt of a range with a cause of this name.
    #[must_use]
    pub fn doubt(&self, range: RangeId, cause: &str) -> String {
        format!("{}/doubts/{range}-{cause}", self.root)
    }

    /// The parent of all pending backfills.
    #[must_use]
    pub fn backfills(&self) -> String {
        format!("{}/backfills", self.root)
    }

    /// The pending backfill of a counter.
    #[must_use]
    pub fn backfill(&self, counter: &CounterName) -> String {
        format!("{}/backfills/{}", self.root, counter.0)
    }

    /// The published batch, and the queue of those that load one.
    #[must_use]
    pub fn batch(&self) -> String {
        format!("{}/batch", self.root)
    }

    /// What operators want of the restoration that runs, and of those to come.
    #[must_use]
    pub fn control(&self) -> String {
        format!("{}/control", self.root)
    }

    /// The records of audits.
    #[must_use]
    pub fn audits(&self) -> String {
        format!("{}/audits", self.root)
    }

    /// The restoration lock's queue and the records of restorations.
    #[must_use]
    pub fn restorations(&self) -> String {
        format!("{}/restorations", self.root)
    }
}

/// `directory/name`
#[must_use]
pub fn child(directory: &str, name: &str) -> String {
    format!("{directory}/{name}")
}

/// The partition whose node, below `/partitions`, has this name.
#[must_use]
pub(crate) fn partition_of(name: &str) -> Option<Partition> {
    let partition = Partition(name.parse().ok()?);
    (partition.0 >= 0 && partition.to_string() == name).then_some(partition)
}

/// The node of Cassandra whose node, below `/nodes`, has this name.
#[must_use]
pub(crate) fn node_of(name: &str) -> Option<NodeId> {
    let id = uuid::Uuid::parse_str(name).ok()?;
    (id.to_string() == name).then_some(NodeId(id))
}

/// The range whose node, below `/ranges`, has this name.
#[must_use]
pub(crate) fn range_of(name: &str) -> Option<RangeId> {
    let range = RangeId(name.parse().ok()?);
    (range.to_string() == name).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_spelled_as_the_design_says() {
        let paths = Paths::new("plays");
        let member = MemberId::new(0x1_0000_0001, 0);
        let spelled = [
            (paths.definition(), "/stitch/plays/definition"),
            (paths.first_record(Partition(3)), "/stitch/plays/log/3"),
            (paths.members(), "/stitch/plays/members"),
            (
                paths.known_node(NodeId(uuid::Uuid::from_u128(7))),
                "/stitch/plays/nodes/00000000-0000-0000-0000-000000000007",
            ),
            (
                paths.alive(&member),
                "/stitch/plays/alive/0000000100000001-0000000000000000",
            ),
            (
                paths.origin(Partition(3)),
                "/stitch/plays/partitions/3/origin",
            ),
            (
                paths.checkpoint(Partition(3)),
                "/stitch/plays/partitions/3/checkpoint",
            ),
            (paths.range(RangeId(63)), "/stitch/plays/ranges/63"),
            (paths.revocations(), "/stitch/plays/revocations"),
            (
                paths.doubt(RangeId(63), "given-up"),
                "/stitch/plays/doubts/63-given-up",
            ),
            (
                paths.backfill(&CounterName("likes".into())),
                "/stitch/plays/backfills/likes",
            ),
            (paths.batch(), "/stitch/plays/batch"),
            (paths.control(), "/stitch/plays/control"),
            (paths.audits(), "/stitch/plays/audits"),
            (paths.restorations(), "/stitch/plays/restorations"),
        ];
        for (path, expected) in spelled {
            assert_eq!(path, expected);
        }
    }

    #[test]
    fn every_directory_comes_after_its_parent() {
        let directories = Paths::new("plays").directories();
        for (index, directory) in directories.iter().enumerate() {
            let parent = &directory[..directory.rfind('/').unwrap()];
            assert!(parent.is_empty() || directories[..index].iter().any(|d| d == parent));
        }
    }

    #[test]
    fn only_plain_numbers_are_partitions_and_ranges() {
        assert_eq!(partition_of("12"), Some(Partition(12)));
        assert_eq!(range_of("12"), Some(RangeId(12)));
        for name in ["", "+1", "01", "-1", "x", "70000000000"] {
            assert_eq!(partition_of(name), None, "{name}");
            assert_eq!(range_of(name), None, "{name}");
        }
    }
}
