//! The kind of a node, by its path.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Member,
    PartitionLock(i32),
    Checkpoint(i32),
    SharedLock(u16),
    ExclusiveLock(u16),
    Marker(u16),
    Doubt(u16),
    RevocationRequest,
    RestorationLock,
    Other,
}

/// The namespace of every history.
pub(crate) const NAMESPACE: &str = "n";
pub(in crate::world) const ROOT: &str = "/stitch/n";

impl NodeKind {
    pub(crate) fn of(path: &str) -> Self {
        let Some(rest) = path.strip_prefix("/stitch/n/") else {
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
                Ok(range) if name.contains("__READ__") => Self::SharedLock(range),
                Ok(range) if name.contains("__WRIT__") => Self::ExclusiveLock(range),
                Ok(range) => Self::Marker(range),
                Err(_) => Self::Other,
            },
            ("doubts", None) => match first.split('-').next().map(str::parse) {
                Some(Ok(range)) => Self::Doubt(range),
                Some(Err(_)) | None => Self::Other,
            },
            ("revocations", None) => Self::RevocationRequest,
            ("restorations", None) if first.starts_with("lock-") => Self::RestorationLock,
            _ => Self::Other,
        }
    }
}

/// The sequence number of a node.
pub(in crate::world) fn sequence(path: &str) -> i32 {
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
    fn kinds_of_nodes_are_recognised_by_their_paths() {
        let paths = Paths::new(NAMESPACE);
        let member = MemberId::new(1, 0);
        let range = paths.range(RangeId(1));
        let partition = paths.partition(Partition(2));
        for (path, kind) in [
            (paths.member(&member), NodeKind::Member),
            (paths.alive(&member), NodeKind::Other),
            (paths.checkpoint(Partition(2)), NodeKind::Checkpoint(2)),
            (
                format!("{partition}/lock-x-0000000003"),
                NodeKind::PartitionLock(2),
            ),
            (
                format!("{range}/_c_x-__READ__0000000003"),
                NodeKind::SharedLock(1),
            ),
            (
                format!("{range}/_c_x-__WRIT__0000000003"),
                NodeKind::ExclusiveLock(1),
            ),
            (format!("{range}/in-doubt-x-1"), NodeKind::Marker(1)),
            (paths.doubt(RangeId(1), "given-up"), NodeKind::Doubt(1)),
            (
                format!("{}/1-0000000003", paths.revocations()),
                NodeKind::RevocationRequest,
            ),
            (
                format!("{}/lock-x-0000000003", paths.restorations()),
                NodeKind::RestorationLock,
            ),
            (paths.definition(), NodeKind::Other),
        ] {
            assert_eq!(NodeKind::of(&path), kind, "{path}");
        }
        assert_eq!(sequence("/a/lock-x-0000000003"), 3);
    }
}
