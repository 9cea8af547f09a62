//! What operators want of this run. It is obeyed between ranges and between steps, never while a range is locked: a range
//! that is locked when a pause comes is given back, and begun again.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use stitch_common::clock::{Clock, Moment};
use stitch_common::ports::{Backends, Session};
use stitch_common::user_error::UserError;
use stitch_control::control_node;
use stitch_control::control_record::{ControlEvent, ControlRecord, ControlRequest, Hold};
use stitch_control::restoration_id::RestorationId;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::context::RestoreContext;
use crate::error::Error;
use crate::lease_keeper::Interruption;
use crate::rule;

/// The control that is in force for this run. Outlives its sessions.
#[derive(Debug, Default)]
pub(crate) struct RunControl {
    /// What is for this run; nothing before it is recorded, or for a command that is not controlled.
    record: RefCell<ControlRecord>,
    changed: Notify,
    /// When the corrections that were sent are paid for, at the rate that was in force.
    free_at: Cell<Option<Moment>>,
}

impl RunControl {
    /// Why work may not go on now, if an operator wants that.
    pub(crate) fn demand(&self) -> Option<Interruption> {
        let record = self.record.borrow();
        if record.abort.is_some() {
            return Some(Interruption::Aborted);
        }
        let waits = record.pause.is_some() || record.hold.is_some();
        waits.then_some(Interruption::Paused)
    }

    /// The same, for work under a lock.
    fn interruption(&self) -> Option<Interruption> {
        let is_obeyed = |why: &Interruption| {
            *why != Interruption::Paused || rule::a_pause_gives_the_lock_back()
        };
        self.demand().filter(is_obeyed)
    }

    /// Who has aborted the run.
    pub(crate) fn abort(&self) -> Option<ControlRequest> {
        self.record.borrow().abort.clone()
    }

    /// Resolves when the control has changed since this was called. Cancel-safe.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Takes notice of the record in ZooKeeper; returns what has changed.
    fn update(
        &self,
        record: ControlRecord,
        restoration: &RestorationId,
        now: DateTime<Utc>,
    ) -> Vec<ControlEvent> {
        let new = record.of(Some(restoration)).at(now);
        let old = self.record.replace(new.clone());
        let events = ControlEvent::between(&old, &new, now);
        if !events.is_empty() {
            self.changed.notify_waiters();
        }
        events
    }

    /// The most corrections that may be sent before the next pause.
    pub(crate) fn chunk_max(&self) -> usize {
        let record = self.record.borrow();
        let throttle = record.throttle.as_ref();
        throttle.map_or(usize::MAX, |throttle| {
            usize::try_from(throttle.rate.0.max(1)).unwrap_or(usize::MAX)
        })
    }

    /// How long the next corrections have to wait for those before.
    fn debt(&self, now: Moment) -> Duration {
        let is_throttled = self.record.borrow().throttle.is_some();
        let free_at = self.free_at.get().filter(|_| is_throttled);
        free_at.map_or(Duration::ZERO, |free_at| free_at.since(now))
    }

    /// Charges corrections that are sent now, under a lock or without one.
    pub(crate) fn charge(&self, now: Moment, corrections: usize) {
        let record = self.record.borrow();
        let Some(throttle) = &record.throttle else {
            self.free_at.set(None);
            return;
        };
        let corrections = u32::try_from(corrections).unwrap_or(u32::MAX);
        let cost = Duration::from_secs(1) * corrections / throttle.rate.0.max(1);
        let from = self.free_at.get().map_or(now, |free_at| free_at.max(now));
        self.free_at.set(Some(from.plus(cost)));
    }
}

impl<B: Backends> RestoreContext<'_, B> {
    /// Why work has to end or to wait now.
    pub(crate) fn interruption(&self) -> Option<Interruption> {
        self.lease
            .interruption()
            .or_else(|| self.control.interruption())
    }

    /// Waits until work has to end or to wait. Cancel-safe.
    pub(crate) async fn interrupted(&self) -> Interruption {
        loop {
            let changed = self.control.changed();
            if let Some(why) = self.interruption() {
                return why;
            }
            match select(pin!(self.lease.interrupted()), pin!(changed)).await {
                Either::Left((why, _)) => return why,
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Waits until an operator wants the work to end, by a signal or by `abort`. Cancel-safe.
    pub(crate) async fn ended(&self) -> Interruption {
        loop {
            let changed = self.control.changed();
            if self.control.demand() == Some(Interruption::Aborted) {
                return Interruption::Aborted;
            }
            match select(pin!(self.lease.stopped()), pin!(changed)).await {
                Either::Left(((), _)) => return Interruption::Stopped,
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Whether an operator wants the work to end, by a signal or by `abort`.
    pub(crate) fn is_ended(&self) -> bool {
        self.lease.is_stopped() || self.control.demand() == Some(Interruption::Aborted)
    }

    /// Waits as long as an operator wants it. Nothing is locked meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// The work has to end.
    pub(crate) async fn wait_while_paused(&self) -> Result<(), Error> {
        loop {
            let changed = self.control.changed();
            match (self.control.demand(), self.lease.interruption()) {
                (None, _) => return Ok(()),
                (Some(Interruption::Paused), None) => {}
                (Some(Interruption::Paused), Some(why)) | (Some(why), _) => {
                    return Err(Error::Interrupted(why));
                }
            }
            select(pin!(self.lease.interrupted()), pin!(changed)).await;
        }
    }

    /// Waits until corrections may be sent at the rate that an operator wants. Nothing is locked meanwhile. Cancel-safe.
    ///
    /// # Errors
    /// The work has to end or to wait.
    pub(crate) async fn wait_for_rate(&self) -> Result<(), Error> {
        loop {
            let changed = self.control.changed();
            if let Some(why) = self.interruption() {
                return Err(Error::Interrupted(why));
            }
            let debt = self.control.debt(self.clock.now());
            if debt.is_zero() {
                return Ok(());
            }
            let (changed, interrupted) = (pin!(changed), pin!(self.lease.interrupted()));
            let woken = select(changed, interrupted);
            select(pin!(self.clock.sleep(debt)), woken).await;
        }
    }
}

/// How long ZooKeeper is left alone after it did not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The watch comes first, or else it does no harm to look again.
const NEVER: Duration = Duration::from_secs(3600);

/// Follows what operators want of `restoration`, and passes what has changed to `note`, which keeps it. Runs beside the
/// work, until it is dropped.
pub(crate) async fn follow<B: Backends>(
    context: &RestoreContext<'_, B>,
    restoration: &RestorationId,
    note: impl AsyncFn(Vec<ControlEvent>),
) -> Infallible {
    let path = context.session.paths().control();
    loop {
        // The watch is there before the record is read, so no change is missed.
        let watch = context.session.zookeeper().watch_node(&path).await;
        let pause = match control_node::read(context.session).await {
            Ok(record) => {
                let now = context.clock.wall();
                let left = record.hold.as_ref().map(|hold| hold_left(hold, now));
                let events = context.control.update(record, restoration, now);
                if !events.is_empty() {
                    note(events).await;
                }
                left.unwrap_or(NEVER)
            }
            Err(error @ stitch_protocol::Error::Corrupt { .. }) => {
                // What was in force remains so.
                context.progress.note(&error.to_string());
                NEVER
            }
            Err(_) => RETRY_PAUSE,
        };
        match watch {
            Ok((_, watch)) => {
                select(pin!(watch), pin!(context.clock.sleep(pause))).await;
            }
            Err(_) => context.clock.sleep(RETRY_PAUSE).await,
        }
    }
}

/// How long a hold lasts yet; `NEVER` if it has ended.
fn hold_left(hold: &Hold, now: DateTime<Utc>) -> Duration {
    let left = (hold.until - now).to_std().unwrap_or_default();
    match left.is_zero() {
        true => NEVER,
        false => left.min(NEVER),
    }
}

/// Refuses a run that begins while a hold is in force.
pub(crate) async fn refuse_held<B: Backends>(
    context: &RestoreContext<'_, B>,
) -> Result<(), UserError> {
    let record = control_node::read(context.session).await?;
    let Some(hold) = record.at(context.clock.wall()).hold else {
        return Ok(());
    };
    let help = "run it again then, or lift the hold with `stitch-restorator resume`; `plan` is not held, it changes nothing";
    Err(UserError::new(
        format!("restorations of this namespace are held {hold}"),
        help,
    ))
}
