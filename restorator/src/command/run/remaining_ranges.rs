//! The ranges of a run, restored a few at once, by one member after the other: what a session was lost to is left, and begins
//! again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::{self, StreamExt};
use stitch_common::clock::Clock;
use stitch_common::ports::Backends;
use stitch_expected::log_follower::LogFollower;

use super::ranges_in_flight::ranges_in_flight;
use super::record::Recorder;
use super::summary::Summary;
use crate::context::RestoreContext;
use crate::doubts;
use crate::journal::Journal;
use crate::plan::audit_findings::AuditFindings;
use crate::report::RunReport;
use crate::restoration::parts::{self, UnfinishedRange};

/// The ranges of a run, of which some may be restored.
pub(super) struct RemainingRanges {
    findings: AuditFindings,
    remaining: VecDeque<UnfinishedRange>,
    summary: Summary,
}

impl RemainingRanges {
    /// All ranges of the scope, with what the audit has found in them.
    pub(super) fn new<B: Backends>(
        context: &RestoreContext<'_, B>,
        findings: AuditFindings,
        summary: Summary,
    ) -> Self {
        Self {
            findings,
            remaining: context.scope.ranges().map(UnfinishedRange::new).collect(),
            summary,
        }
    }

    /// Restores what is left, as long as this process is this member and nobody aborts it. Returns whether nothing is left.
    pub(super) async fn restore<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
        (recorder, journal): (&Recorder, &Journal),
    ) -> bool {
        self.summary.set_journal(journal.path());
        loop {
            let mut again = self.each(context, follower, recorder, journal).await;
            let is_any = !again.is_empty();
            self.remaining.append(&mut again);
            if !is_any || !may_send_again(context).await {
                break;
            }
        }
        self.give_up_if_aborted(context).await;
        self.remaining.is_empty()
    }

    /// The report, once nothing is left.
    pub(super) fn finish(self) -> RunReport {
        self.summary.finish()
    }

    /// Restores each range that is left, a few at once. Those stay that are not begun when the session is lost. Returns those
    /// that it was lost to.
    async fn each<B: Backends>(
        &mut self,
        context: &RestoreContext<'_, B>,
        follower: &LogFollower,
        recorder: &Recorder,
        journal: &Journal,
    ) -> VecDeque<UnfinishedRange> {
        let Self {
            findings,
            remaining,
            summary,
        } = self;
        let count = u64::try_from(remaining.len()).ok();
        context.progress.begin("restoring", "ranges", count);
        let in_flight = ranges_in_flight(context, follower, findings);
        let left = stream::unfold((remaining, findings), async |(remaining, findings)| {
            // What waits for an operator here is not begun. If that ends with an error, so does what follows.
            let waited = context.wait_while_paused().await;
            let is_aborted = context.control.abort().is_some();
            // What is not begun is left to the next member.
            let may_begin = !context.is_session_over() || context.lease.is_stopped();
            let may_begin =
                may_begin && !is_aborted && (waited.is_ok() || context.lease.is_stopped());
            let left = may_begin.then(|| remaining.pop_front()).flatten()?;
            let of_range = (!left.is_begun()).then(|| findings.take(left.range()));
            Some(((left, of_range), (remaining, findings)))
        });
        let summary = RefCell::new(summary);
        let each = |result| summary.borrow_mut().add_range(result);
        let work = left.map(async |(left, findings)| {
            let restored = parts::range(context, follower, journal, left, findings, each).await;
            if let Ok(restored) = &restored
                && let Some(note) = doubts::settle(context, restored).await
            {
                summary.borrow_mut().add_note(note);
            }
            restored
        });
        let mut work = pin!(work.buffer_unordered(in_flight));
        let (mut write, mut again) = (None, VecDeque::new());
        while let Some(restored) = beside(&mut write, work.next()).await {
            let restored = match restored {
                Ok(restored) => restored,
                Err(left) => {
                    again.push_back(left);
                    continue;
                }
            };
            recorder.note(&restored);
            if write.is_none() {
                write = recorder.due_write(context);
            }
            follower.totals_mut().of_mut(restored.range).finish();
            context.progress.advance(1);
        }
        context.progress.end();
        again
    }

    /// Leaves the ranges as they are that an aborted run has not begun, or was to begin again. Readers hear of those that are, or
    /// may be, wrong.
    async fn give_up_if_aborted<B: Backends>(&mut self, context: &RestoreContext<'_, B>) {
        if context.control.abort().is_none() {
            return;
        }
        let mut doubtful = Vec::new();
        while let Some(left) = self.remaining.pop_front() {
            let range = left.range();
            if left.is_begun() {
                doubtful.push((range, "aborted before all of it was restored".to_owned()));
                let findings = AuditFindings::unjudged(context.memory, range);
                self.summary.add_aborted(range, findings);
            } else {
                let findings = self.findings.take(range);
                let wrong = findings.of(range).wrong_count();
                if wrong > 0 {
                    let detail = format!("{wrong} wrong cells found, not corrected: aborted");
                    doubtful.push((range, detail));
                }
                self.summary.add_not_begun(range, findings);
            }
        }
        doubts::record_each(context, doubtful).await;
    }
}

/// How often it is looked whether the lease is renewed.
const LEASE_INTERVAL: Duration = Duration::from_millis(200);

/// Waits until this member has a lease again, or will have none, or the work has to end. Returns whether it is still a member.
async fn may_send_again<B: Backends>(context: &RestoreContext<'_, B>) -> bool {
    while !context.is_session_over()
        && context.lease.interruption().is_none()
        && context.lease.permit(context.clock).is_none()
    {
        let renewed = pin!(context.clock.sleep(LEASE_INTERVAL));
        select(renewed, pin!(context.lease.interrupted())).await;
    }
    !context.is_session_over()
}

/// Waits for `work`, and for the `write` only beside it: ranges go on meanwhile, because one that waits keeps its lock.
async fn beside<T>(write: &mut Option<LocalBoxFuture<'_, ()>>, work: impl Future<Output = T>) -> T {
    let Some(pending) = write.as_mut() else {
        return work.await;
    };
    match select(pin!(work), pending).await {
        Either::Left((output, _)) => output,
        Either::Right(((), work)) => {
            *write = None;
            work.await
        }
    }
}
