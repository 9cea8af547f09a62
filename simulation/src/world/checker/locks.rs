//! Locks as ZooKeeper's tree has them, and the changes of its nodes.

use stitch_testkit::zookeeper::Tree;

use crate::trace::{Actor, Tracepoint};
use crate::world::World;
use crate::world::checker::{Finding, Kind};
use crate::world::zookeeper::{NodeKind, ROOT, sequence};

/// The owner of the first entry of a lock queue, and whether the entry is exclusive.
fn first(tree: &Tree, directory: &str) -> Option<(i64, bool)> {
    let queued = tree.below(directory).filter_map(|(path, node)| {
        let exclusive = match NodeKind::of(path) {
            NodeKind::PartitionLock(_) | NodeKind::ExclusiveLock(_) => true,
            NodeKind::SharedLock(_) => false,
            NodeKind::Member
            | NodeKind::Checkpoint(_)
            | NodeKind::Marker(_)
            | NodeKind::Doubt(_)
            | NodeKind::RevocationRequest
            | NodeKind::RestorationLock
            | NodeKind::Other => return None,
        };
        Some((sequence(path), node.stat.ephemeral_owner, exclusive))
    });
    queued.min().map(|(_, owner, exclusive)| (owner, exclusive))
}

/// Whether this session holds the lock of this partition.
pub(super) fn has_partition(tree: &Tree, session: i64, partition: i32) -> bool {
    let first = first(tree, &format!("{ROOT}/partitions/{partition}"));
    first.is_some_and(|(owner, _)| owner == session)
}

/// Whether this session holds the restoration lock.
pub(super) fn has_restoration(tree: &Tree, session: i64) -> bool {
    let directory = format!("{ROOT}/restorations");
    let queued = tree
        .below(&directory)
        .filter(|(path, _)| matches!(NodeKind::of(path), NodeKind::RestorationLock));
    let first = queued.min_by_key(|(path, _)| sequence(path));
    first.is_some_and(|(_, node)| node.stat.ephemeral_owner == session)
}

/// The session that holds the exclusive lock of this range.
pub(in crate::world) fn exclusive(tree: &Tree, range: u16) -> Option<i64> {
    let first = first(tree, &format!("{ROOT}/ranges/{range}"));
    first
        .filter(|(_, exclusive)| *exclusive)
        .map(|(owner, _)| owner)
}

impl World {
    /// The actor of a session, for the trace.
    pub(super) fn actor(&self, session: i64) -> Actor {
        let owner = self.checker.borrow().sessions.get(&session).copied();
        let processes = self.processes.borrow();
        let process = owner.and_then(|(number, _)| processes.get(number));
        process.map_or(Actor::ZooKeeper, |process| Actor::of(process))
    }

    /// Notes the process of a new session.
    pub(crate) fn session_opened(&self, session: i64, process: usize) {
        let began = (process, self.now());
        self.checker.borrow_mut().sessions.insert(session, began);
    }

    pub(crate) fn node_created(&self, session: i64, path: &str) {
        let point = match NodeKind::of(path) {
            NodeKind::Member => {
                self.member_created(path);
                Tracepoint::Joined
            }
            NodeKind::PartitionLock(_) => Tracepoint::PartitionQueued,
            NodeKind::SharedLock(_) => Tracepoint::SharedQueued,
            NodeKind::ExclusiveLock(_) => Tracepoint::ExclusiveQueued,
            NodeKind::RevocationRequest => {
                self.revocation_changed(path);
                Tracepoint::RevocationRequested
            }
            NodeKind::RestorationLock => Tracepoint::RestorationQueued,
            NodeKind::Marker(range) => {
                let marker = (session, range, self.now());
                self.checker.borrow_mut().markers.push(marker);
                Tracepoint::MarkerCreated
            }
            NodeKind::Doubt(_) => Tracepoint::DoubtRecorded,
            NodeKind::Checkpoint(partition) => return self.checkpoint_created(partition, path),
            NodeKind::Other => return,
        };
        self.record(self.actor(session), point, || format!("creates {path}"));
    }

    /// Checks that no member has the id of an earlier one: what is left of that one would be taken for its own.
    fn member_created(&self, path: &str) {
        let is_new = self.checker.borrow_mut().members.insert(path.to_owned());
        if !is_new {
            self.report(Finding::new(Kind::RepeatedId, path));
        }
    }

    fn revocation_changed(&self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.checker
            .borrow_mut()
            .revocation_changed(name, self.now());
    }

    pub(crate) fn node_deleted(&self, session: i64, path: &str) {
        let kind = NodeKind::of(path);
        let point = match kind {
            NodeKind::Member => Tracepoint::MemberDeleted,
            NodeKind::PartitionLock(_) => Tracepoint::PartitionReleased,
            NodeKind::SharedLock(_) => Tracepoint::SharedReleased,
            NodeKind::ExclusiveLock(range) => {
                self.exclusive_released(session, range);
                Tracepoint::ExclusiveReleased
            }
            NodeKind::Marker(_) => Tracepoint::MarkerDeleted,
            NodeKind::RevocationRequest => return self.revocation_changed(path),
            NodeKind::Doubt(_) => Tracepoint::DoubtRemoved,
            NodeKind::RestorationLock | NodeKind::Checkpoint(_) | NodeKind::Other => return,
        };
        self.record(self.actor(session), point, || format!("{path} is deleted"));
        if matches!(
            kind,
            NodeKind::Member | NodeKind::Marker(_) | NodeKind::Doubt(_)
        ) {
            self.check_certainty();
        }
    }

    pub(crate) fn node_written(&self, session: i64, path: &str, after: &[u8]) {
        if let NodeKind::Checkpoint(partition) = NodeKind::of(path) {
            self.record(self.actor(session), Tracepoint::CheckpointWritten, || {
                let text = String::from_utf8_lossy(after);
                format!("writes the checkpoint of partition {partition}: {text}")
            });
            self.checkpoint_written(session, partition, after);
        }
        self.batch_written(self.actor(session), path, after);
    }
}
