//! What a path stands for, so that the world can tell what happens in the tree.

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Member,
    PartitionLock(i32),
    Checkpoint(i32),
    Shared(u16),
    Exclusive(u16),
    Marker(u16),
    Request,
    RestorationLock,
    Other,
}

/// The namespace of every history.
pub(crate) const NAMESPACE: &str = "n";
const ROOT: &str = "/stitch/n/";

impl Place {
    pub(crate) fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix(ROOT) else {
            return Self::Other;
        };
        let mut parts = rest.splitn(3, '/');
        let (Some(kind), Some(first), rest) = (parts.next(), parts.next(), parts.next()) else {
            return Self::Other;
        };
        match (kind, rest) {
            ("members", None) => Self::Member,
            ("partitions", Some(name)) => match first.parse() {
                Ok(partition) if name == "checkpoint" => Self::Checkpoint(partition),
                Ok(partition) => Self::PartitionLock(partition),
                Err(_) => Self::Other,
            },
            ("ranges", Some(name)) => match first.parse() {
                Ok(range) if name.contains("__READ__") => Self::Shared(range),
                Ok(range) if name.contains("__WRIT__") => Self::Exclusive(range),
                Ok(range) => Self::Marker(range),
                Err(_) => Self::Other,
            },
            ("revocations", None) => Self::Request,
            ("restorations", None) if first.starts_with("lock-") => Self::RestorationLock,
            _ => Self::Other,
        }
    }
}

/// The number that ZooKeeper gave a sequential node.
pub(crate) fn sequence(path: &str) -> i32 {
    let digits = path.len().saturating_sub(10);
    path[digits..].parse().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::member::MemberId;
    use stitch_common::offset::Partition;
    use stitch_common::range::RangeId;
    use stitch_protocol::path::Paths;

    #[test]
    fn every_node_that_the_world_watches_is_told_by_its_path() {
        let paths = Paths::new(NAMESPACE);
        let member = MemberId::of_session(1);
        let range = paths.range(RangeId(1));
        let partition = paths.partition(Partition(2));
        for (path, place) in [
            (paths.member(&member), Place::Member),
            (paths.alive(&member), Place::Other),
            (paths.checkpoint(Partition(2)), Place::Checkpoint(2)),
            (
                format!("{partition}/lock-x-0000000003"),
                Place::PartitionLock(2),
            ),
            (format!("{range}/_c_x-__READ__0000000003"), Place::Shared(1)),
            (
                format!("{range}/_c_x-__WRIT__0000000003"),
                Place::Exclusive(1),
            ),
            (format!("{range}/in-doubt-x-1"), Place::Marker(1)),
            (
                format!("{}/1-0000000003", paths.revocations()),
                Place::Request,
            ),
            (
                format!("{}/lock-x-0000000003", paths.restorations()),
                Place::RestorationLock,
            ),
            (paths.definition(), Place::Other),
        ] {
            assert_eq!(Place::of(&path), place, "{path}");
        }
        assert_eq!(sequence("/a/lock-x-0000000003"), 3);
    }
}
