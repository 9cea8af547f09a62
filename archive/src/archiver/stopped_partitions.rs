//! Partitions that are stopped: what was read of them is put, and they are tried again if the log is still the archived one.

use std::time::Duration;

use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, ObjectStore};
use stitch_common::progress::Progress;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;

use super::effects::Completion;
use super::{Archiver, Extent, Ports, SILENCE_MAX, Stopped};
use crate::identity::{self, LogVerdict};

impl<L: EventLog, S: ObjectStore, C: Clock, P: Progress + ?Sized> Archiver<'_, L, S, C, P> {
    /// Stops a partition that cannot be read on. What was read will be put; another archiver may have what comes then.
    pub(super) fn stop_reading(&mut self, stopped: Stopped) {
        let partition = stopped.partition;
        let Some(task) = self.tasks.get_mut(&partition) else {
            return;
        };
        task.collector.seal(self.ports.archive.folder());
        task.stop(stopped);
        if self.extent == Extent::Once && task.collector.is_idle() {
            self.follow(partition, Duration::ZERO);
        }
    }

    /// Stops the partitions of which something is left to read, and nothing was delivered for too long. `has_room` says
    /// whether deliveries are taken.
    pub(super) fn stop_silent(&mut self, now: Moment, has_room: bool) {
        let mut silent = Vec::new();
        for (partition, task) in &mut self.tasks {
            let next = task.collector.next();
            let is_read = task.stopped.is_none()
                && !task.is_following
                && task.end.is_some_and(|end| next < end);
            if !is_read || !has_room {
                task.heard = now;
            } else if now.since(task.heard) >= SILENCE_MAX {
                silent.push(Stopped::silent(*partition, next, SILENCE_MAX));
            }
        }
        for stopped in silent {
            self.stop_reading(stopped);
        }
    }

    /// Tries stopped partitions again. A topic that was made again has other records behind the archive's end, so the log is
    /// compared with the archive before.
    pub(super) fn retry_stopped(&mut self) {
        let Ports { log, archive, .. } = *self.ports;
        for (partition, task) in &mut self.tasks {
            let may_go_on =
                task.stopped.is_some() && !task.has_conflict && task.collector.is_idle();
            if !may_go_on || std::mem::replace(&mut task.is_following, true) {
                continue;
            }
            let (partition, complete_to) = (*partition, task.complete_to);
            let known = task.compared.clone();
            self.effects.push(Box::pin(async move {
                let archived = (partition, complete_to);
                let compared = identity::compare(archive, log, archived, known).await;
                Completion::Compared {
                    partition,
                    compared,
                }
            }));
        }
    }

    pub(super) fn on_compared(
        &mut self,
        partition: Partition,
        compared: Result<LogVerdict, ServerFailure>,
    ) {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return;
        };
        task.is_following = false;
        match compared {
            Ok(LogVerdict::Same(compared)) => {
                task.compared = compared;
                self.follow(partition, Duration::ZERO);
            }
            Ok(LogVerdict::Other(error)) => {
                task.has_conflict = true;
                let offset = task.complete_to;
                self.stop_partition(Stopped::new(partition, offset, error));
            }
            Err(failure) => {
                let UserError { message, .. } = failure.into();
                tracing::warn!(%partition, error = %message, "the log could not be compared with the archive; it is tried again");
            }
        }
    }
}
