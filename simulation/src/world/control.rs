//! `/control`, written as an operator's command does, at once.

use std::rc::Rc;

use chrono::DateTime;
use stitch_control::control_record::{ControlCommand, ControlRecord, ControlRequest};
use stitch_control::restoration_id::RestorationId;
use stitch_control::restoration_record::RestorationRecord;
use stitch_protocol::envelope;
use stitch_protocol::restoration::LockHolder;
use stitch_testkit::time::Micros;

use super::World;
use super::checker::locks;
use super::zookeeper::{NodeKind, ROOT, sequence};

impl World {
    fn control_path() -> String {
        format!("{ROOT}/control")
    }

    fn control_record(&self) -> Option<ControlRecord> {
        let path = Self::control_path();
        let tree = self.zookeeper.tree.borrow();
        let node = tree.get(&path)?;
        Some(envelope::open(&path, &node.data).expect("only this world writes it"))
    }

    /// Carries out a command. `false` if it is refused.
    pub(crate) fn control(self: &Rc<Self>, command: ControlCommand) -> bool {
        let request = ControlRequest {
            by: "operator".to_owned(),
            at: DateTime::UNIX_EPOCH,
            reason: self.now().to_string(),
        };
        let record = self.control_record().unwrap_or_default();
        let running = self.running_restoration();
        match record.after(command, request, running.as_ref(), None) {
            Ok(record) => {
                self.write_by_hand(&Self::control_path(), &envelope::seal(&record));
                true
            }
            Err(_) => false,
        }
    }

    /// When the restoration that runs was paused.
    pub(crate) fn paused_at(&self) -> Option<Micros> {
        let record = self.control_record()?;
        let running = self.running_restoration()?;
        record.of(Some(&running)).pause?.reason.parse().ok()
    }

    /// A range that is locked exclusively.
    pub(crate) fn exclusively_locked(&self) -> Option<u16> {
        let tree = self.zookeeper.tree.borrow();
        let mut ranges = self.bits.ranges().map(|range| range.0);
        ranges.find(|range| locks::exclusive(&tree, *range).is_some())
    }

    fn running_restoration(&self) -> Option<RestorationId> {
        let tree = self.zookeeper.tree.borrow();
        let folder = format!("{ROOT}/restorations");
        let paths: Vec<_> = tree
            .children(&folder)
            .map(|name| format!("{folder}/{name}"))
            .collect();
        let is_lock = |path: &&String| NodeKind::of(path) == NodeKind::RestorationLock;
        let first = paths
            .iter()
            .filter(is_lock)
            .min_by_key(|path| sequence(path))?;
        let holder: LockHolder = envelope::open(first, &tree.get(first)?.data).ok()?;
        let records = paths
            .iter()
            .filter(|path| !is_lock(path))
            .filter_map(|path| {
                envelope::open::<RestorationRecord>(path, &tree.get(path)?.data).ok()
            });
        let mut of_holder = records
            .filter(|record| record.holder.member == holder.member && record.ended.is_none());
        of_holder.next().map(|record| record.id)
    }
}
