//! What the tree says of locks, read as ZooKeeper has it.

use crate::keeper::{Place, Tree, sequence};
use crate::notes::{Phase, Who};
use crate::world::World;

const ROOT: &str = "/stitch/n";

/// Of the first node of a queue the owner, and whether it wants it alone.
fn first(tree: &Tree, directory: &str) -> Option<(i64, bool)> {
    let queued = tree.below(directory).filter_map(|(path, node)| {
        let alone = match Place::of(path) {
            Place::PartitionLock(_) | Place::Exclusive(_) => true,
            Place::Shared(_) => false,
            Place::Member
            | Place::Checkpoint(_)
            | Place::Marker(_)
            | Place::Request
            | Place::RestorationLock
            | Place::Other => return None,
        };
        Some((sequence(path), node.stat.ephemeral_owner, alone))
    });
    queued.min().map(|(_, owner, alone)| (owner, alone))
}

/// Whether this session has the lock of this partition.
pub(super) fn has_partition(tree: &Tree, session: i64, partition: i32) -> bool {
    let first = first(tree, &format!("{ROOT}/partitions/{partition}"));
    first.is_some_and(|(owner, _)| owner == session)
}

/// Who has the range's exclusive lock.
pub(super) fn exclusive(tree: &Tree, range: u16) -> Option<i64> {
    let first = first(tree, &format!("{ROOT}/ranges/{range}"));
    first.filter(|(_, alone)| *alone).map(|(owner, _)| owner)
}

impl World {
    /// Whose session this is, for the notes.
    pub(super) fn who(&self, session: i64) -> Who {
        let known = self.checker.borrow().sessions.get(&session).copied();
        let processes = self.processes.borrow();
        let process = known.and_then(|(number, _)| processes.get(number));
        process.map_or(Who::Keeper, |process| Who::of(process))
    }

    /// This session belongs to this process.
    pub(crate) fn session_of(&self, session: i64, process: usize) {
        let began = (process, self.now());
        self.checker.borrow_mut().sessions.insert(session, began);
    }

    pub(crate) fn node_created(&self, session: i64, path: &str) {
        let phase = match Place::of(path) {
            Place::Member => Phase::Joined,
            Place::PartitionLock(_) => Phase::Taken,
            Place::Shared(_) => Phase::Shared,
            Place::Exclusive(range) => {
                if !self.checker.borrow_mut().locks.insert((session, range)) {
                    self.phase(self.who(session), Phase::Again);
                }
                Phase::Writ
            }
            Place::Request => {
                self.asked(path);
                Phase::Requested
            }
            Place::RestorationLock => Phase::Alone,
            Place::Marker(range) => {
                let marker = (session, range, self.now());
                self.checker.borrow_mut().markers.push(marker);
                Phase::Marked
            }
            Place::Checkpoint(partition) => return self.progress_made(partition, path),
            Place::Other => return,
        };
        self.note(self.who(session), phase, || format!("creates {path}"));
    }

    fn asked(&self, path: &str) {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.checker.borrow_mut().asked(name, self.now());
    }

    pub(crate) fn node_deleted(&self, session: i64, path: &str) {
        let phase = match Place::of(path) {
            Place::Member => Phase::DeclaredDead,
            Place::PartitionLock(_) => Phase::Returned,
            Place::Shared(_) => Phase::Yielded,
            Place::Exclusive(range) => {
                self.exclusive_ends(session, range);
                Phase::Unlocked
            }
            Place::Marker(_) => Phase::Unmarked,
            Place::Request => return self.asked(path),
            Place::RestorationLock | Place::Checkpoint(_) | Place::Other => return,
        };
        self.note(self.who(session), phase, || format!("{path} goes"));
    }

    pub(crate) fn node_written(&self, session: i64, path: &str, after: &[u8]) {
        if let Place::Checkpoint(partition) = Place::of(path) {
            self.note(self.who(session), Phase::Told, || {
                let text = String::from_utf8_lossy(after);
                format!("writes progress of partition {partition}: {text}")
            });
            self.progress_written(session, partition, after);
        }
    }
}
