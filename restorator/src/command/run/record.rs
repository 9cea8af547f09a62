//! The record of the restoration in ZooKeeper, for `status`, and for the next run if this one dies.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::Offsets;
use stitch_control::audit_tally::AuditTally;
use stitch_control::control_record::ControlEvent;
use stitch_control::restoration_id::RestorationId;
use stitch_control::restoration_record::{
    RangeOutcome, RestorationRecord, RestorationState, write_record,
};
use stitch_protocol::restoration::LockHolder;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::lease_keeper::Interruption;
use crate::restoration::parts::RangeSummary;
use stitch_common::ports::Backends;
use stitch_common::wait::within;

/// Keeps the record up to date.
pub(super) struct Recorder {
    record: RefCell<RestorationRecord>,
    written: Cell<Moment>,
}

/// How often the record is written at most, besides the end: with many ranges it is large.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How long writing the record may take: no count depends on it.
const END_BOUND: Duration = Duration::from_secs(10);

impl Recorder {
    pub(super) fn new<B: Backends>(
        context: &RestoreContext<'_, B>,
        id: RestorationId,
        holder: LockHolder,
    ) -> Self {
        let namespace = &context.validated.definition.record;
        Self {
            record: RefCell::new(RestorationRecord {
                id,
                holder,
                scope: context.scope.clone(),
                exceptions: context
                    .exceptions()
                    .map_or_else(Vec::new, |made| made.lines()),
                state: RestorationState::Running,
                ended: None,
                cuts: Offsets::default(),
                generation: namespace.generation,
                identity: namespace.fingerprint(),
                found: None,
                control: Vec::new(),
                ranges: std::collections::BTreeMap::new(),
            }),
            written: Cell::new(context.clock.now()),
        }
    }

    pub(super) fn id(&self) -> RestorationId {
        self.record.borrow().id.clone()
    }

    /// The restoration goes on as this member.
    pub(super) fn set_holder(&self, holder: LockHolder) {
        self.record.borrow_mut().holder = holder;
    }

    pub(super) fn set_cuts(&self, cuts: Offsets) {
        self.record.borrow_mut().cuts = cuts;
    }

    /// Notes what the audit has found.
    pub(super) fn set_found(&self, found: AuditTally) {
        self.record.borrow_mut().found = Some(found);
    }

    /// Records what an operator had the restoration do, and whether it waits now.
    pub(super) async fn note_control<B: Backends>(
        &self,
        context: &RestoreContext<'_, B>,
        mut events: Vec<ControlEvent>,
    ) {
        {
            let record = &mut *self.record.borrow_mut();
            record.control.append(&mut events);
            let superfluous = record.control.len().saturating_sub(ControlEvent::KEPT);
            record.control.drain(..superfluous);
            record.state = match context.control.demand() {
                Some(Interruption::Paused) => RestorationState::Paused,
                Some(_) | None => RestorationState::Running,
            };
        }
        match within(context.clock, END_BOUND, self.write(context)).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => {
                tracing::warn!("the record of the restoration could not be updated")
            }
        }
    }

    pub(super) async fn write<B: Backends>(
        &self,
        context: &RestoreContext<'_, B>,
    ) -> Result<(), Error> {
        self.written.set(context.clock.now());
        let record = self.record.borrow().clone();
        Ok(write_record(context.session, &record).await?)
    }

    /// Notes the outcome of a range.
    pub(super) fn note(&self, range: &RangeSummary) {
        let record = &mut *self.record.borrow_mut();
        let outcome = match &range.outcome {
            Ok(_) => {
                let corrected = range.corrected;
                let locked_ms = u64::try_from(range.locked.as_millis()).unwrap_or(u64::MAX);
                if record.exceptions.is_empty() {
                    RangeOutcome::Verified {
                        corrected,
                        locked_ms,
                    }
                } else {
                    RangeOutcome::VerifiedWithExceptions {
                        corrected,
                        locked_ms,
                    }
                }
            }
            Err(why) => RangeOutcome::Unverified {
                why: why.to_string(),
            },
        };
        record.ranges.insert(range.range, outcome);
    }

    /// A write of the record as it is now, if it is time for one. Dropped, the record may be written or not.
    pub(super) fn due_write<'c, B: Backends>(
        &self,
        context: &'c RestoreContext<'_, B>,
    ) -> Option<LocalBoxFuture<'c, ()>> {
        let now = context.clock.now();
        if now.since(self.written.get()) < WRITE_EVERY {
            return None;
        }
        self.written.set(now);
        let record = self.record.borrow().clone();
        let write = async move {
            let written = write_record(context.session, &record);
            let written = within(context.clock, END_BOUND, written).await;
            if !matches!(written, Some(Ok(()))) {
                tracing::warn!("the record of the restoration could not be updated");
            }
        };
        Some(write.boxed_local())
    }

    /// Records the end of the restoration.
    pub(super) async fn end<B: Backends>(
        &self,
        context: &RestoreContext<'_, B>,
        state: RestorationState,
    ) {
        {
            let record = &mut *self.record.borrow_mut();
            record.state = state;
            record.ended = Some(context.clock.wall());
        }
        match within(context.clock, END_BOUND, self.write(context)).await {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                tracing::warn!(%error, "the end of the restoration is not recorded")
            }
            None => tracing::warn!("the end of the restoration is not recorded in time"),
        }
    }
}
