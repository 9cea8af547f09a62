//! Suspended partitions: an ERROR line and a node in ZooKeeper when the reason is new, and an INFO line at the end.

use stitch_common::clock::Clock;
use stitch_common::offset::Partition;
use stitch_common::ports::{EventLog, Session, Store};
use stitch_common::user_error::UserError;
use stitch_protocol::start_offset::Refusal;
use stitch_protocol::suspension::SuspensionRecord;

use super::EventLoop;
use crate::error::Error;

impl<S: Session, C: Clock, Q: Store, L: EventLog> EventLoop<'_, S, C, Q, L> {
    /// The partition cannot be counted now: it is drained, given back and tried again; the others go on.
    ///
    /// # Errors
    /// The session is over.
    pub(super) fn suspend(&mut self, partition: Partition, error: Error) -> Result<(), Error> {
        if error.ends_at_once() {
            return Err(error);
        }
        let now = self.connections.clock.now();
        let suspends = self
            .engine
            .suspend(partition, error.suspension_reason(), now);
        self.report_suspension(partition, &error, suspends);
        Ok(())
    }

    /// ZooKeeper refuses the partition's checkpoint.
    pub(super) fn on_checkpoint_refused(&mut self, partition: Partition, error: &Error) {
        let now = self.connections.clock.now();
        let reason = error.suspension_reason();
        let suspends = self.engine.on_checkpoint_refused(partition, reason, now);
        self.report_suspension(partition, error, suspends);
    }

    /// The partition is, or may be, another member's.
    pub(super) fn forsake(&mut self, partition: Partition, error: &Error) {
        let now = self.connections.clock.now();
        let suspends = self
            .engine
            .forsake(partition, error.suspension_reason(), now);
        self.report_suspension(partition, error, suspends);
    }

    /// Records what the error says of counts, once. A leader that was deposed may answer that the log ends early: that is
    /// believed when the partition is tried again.
    fn doubt(&mut self, partition: Partition, error: &Error) {
        let Some(cause) = error.doubt() else {
            return;
        };
        let may_pass = matches!(error, Error::Refused(Refusal::Beyond { .. }));
        let is_first = !self.suspensions.contains_key(&partition);
        if may_pass && is_first || self.doubted.insert(partition, cause) == Some(cause) {
            return;
        }
        let detail = format!("partition {partition}: {error}");
        self.spawn(self.connections.record_doubts(cause, detail));
    }

    fn report_suspension(&mut self, partition: Partition, error: &Error, suspends: bool) {
        self.doubt(partition, error);
        if !suspends {
            tracing::warn!(%partition, %error, "the partition cannot be counted, and is given back already");
            return;
        }
        let UserError { message, help } = error.user_error();
        let known = self.suspensions.get(&partition);
        if known.is_some_and(|known| known.message == message) {
            tracing::debug!(%partition, message, "the partition still cannot be counted");
            return;
        }
        tracing::error!(
            %partition, message, help,
            "the partition is suspended: nothing of it is counted until it can be, which is tried at least once a minute; \
             other partitions go on"
        );
        let session = &self.connections.session;
        let since = known.map_or_else(|| session.clock().wall(), |known| known.since);
        let record = SuspensionRecord {
            member: session.member(),
            host: self.process.host.to_owned(),
            since,
            message,
            help,
        };
        self.suspensions.insert(partition, record.clone());
        self.spawn(self.connections.record_suspension(partition, record));
    }

    /// The partition is counted again, or goes to another process.
    pub(super) fn end_suspension(&mut self, partition: Partition) {
        self.doubted.remove(&partition);
        if self.suspensions.remove(&partition).is_some() {
            tracing::info!(%partition, "the partition is not suspended any more");
            self.spawn(self.connections.clear_suspension(partition));
        }
    }
}
