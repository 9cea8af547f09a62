//! `run`: audits the scope afresh, then restores it range by range.

use std::cell::Cell;
use std::pin::pin;

use futures_util::stream::{self, StreamExt};
use stitch_common::clock::Clock;
use stitch_common::ports::{Cql, EventLog, Session, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_protocol::restoration::{
    self, Holder, RestorationId, RestorationLock, RestorationState,
};

use super::Given;
use super::plan::{Audit, begin, following, interrupted_before, unless_interrupted};
use crate::error::Error;
use crate::failpoint;
use crate::limits;
use crate::membership::Membership;
use crate::options::{Limits, PlanSource, RunOptions};
use crate::plan::audit_findings::AuditFindings;
use crate::plan::file::Plan;
use crate::plan::judge::{TEXTS_BYTES, Verdicts, WRONG_CELL_BYTES};
use crate::plan::{self, AuditBaseline};
use crate::preflight;
use crate::report::RunReport;
use crate::restoration::chunk_sizer::ChunkSizer;
use crate::restoration::{LOCKED_CELL_BYTES, Restored, Task};
use crate::site::{Site, World};
use stitch_common::scope::Scope;
use stitch_common::wait::within;
use stitch_totals::log_follower::LogFollower;

mod record;
mod summary;

use record::Recorder;
use summary::Summary;

/// Restores what is in scope, and proves it.
///
/// # Errors
/// It could not be begun, or is refused. What could not be proved is in the report.
pub async fn run<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    options: &RunOptions,
) -> Result<RunReport, UserError> {
    let (scope, planned) = match &options.source {
        PlanSource::Now(scope) => (scope.clone(), None),
        PlanSource::File(path) => {
            let plan = Plan::load(path, given.config.restorator.memory_bytes_max)?;
            (plan.scope.clone(), Some(plan))
        }
    };
    let work =
        async |membership: &_| alone(given, membership, options, &scope, planned.as_ref()).await;
    let (mut report, left_behind) = given.as_member(work).await?;
    report.notes.extend(left_behind);
    Ok(report)
}

/// Works under the restoration lock, and gives it back.
async fn alone<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    membership: &Membership<K, Q, C>,
    options: &RunOptions,
    scope: &Scope,
    planned: Option<&Plan>,
) -> Result<RunReport, UserError> {
    let site = given.site(membership, scope, &options.declared_dead);
    if let Some(plan) = planned {
        let found = &membership.validated.found;
        let record = &membership.validated.defined.record;
        preflight::plan(plan, &given.config.namespace, record, &found.log)?;
    }
    // The plan's cells and a set of them, as long as the restoration lasts.
    let planned_cells = planned.map_or(0, |plan| plan.wrong.len());
    let planned_bytes = planned_cells * 2 * (WRONG_CELL_BYTES + TEXTS_BYTES);
    let _planned = site.memory.take(planned_bytes).map_err(Error::from)?;
    let mut lock = RestorationLock::new(site.session, &given.process.host, given.process.id);
    let granted = unless_interrupted(&site, wait_alone(&site, &mut lock)).await;
    let done = match granted {
        Ok(()) => restore(given, membership, &site, options.limits, planned).await,
        Err(failure) => Err(failure),
    };
    let bound = site.session.zookeeper().timeout();
    match within(site.clock, bound, lock.release(site.session)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::warn!(%error, "the restoration lock goes with the session");
            lock.abandon();
        }
        None => lock.abandon(),
    }
    done
}

/// Waits for an earlier restoration no longer than it takes to see that it is dead.
async fn wait_alone<W: World>(
    site: &Site<'_, W>,
    lock: &mut RestorationLock,
) -> Result<(), UserError> {
    let Some(holder) = lock.try_granted(site.session).await? else {
        return Ok(());
    };
    site.progress.note(&format!(
        "another restoration runs (process {} on {}): waiting to see whether it is dead",
        holder.process_id, holder.host
    ));
    // The servers end a session at the first tick after its timeout, which is at least three ticks.
    let timeout = site.session.zookeeper().timeout();
    let waited = within(site.clock, timeout * 3 / 2, lock.wait_granted(site.session)).await;
    match waited {
        Some(granted) => {
            granted?;
            Ok(())
        }
        None => Err(runs_already(
            restoration::holder(site.session).await?.unwrap_or(holder),
        )),
    }
}

fn runs_already(holder: Holder) -> UserError {
    let Holder {
        member,
        host,
        process_id,
        started,
    } = holder;
    let what = format!(
        "a restoration runs in this namespace already: process {process_id} on {host}, member {member}, since {started}"
    );
    UserError::new(
        what,
        "wait for it, or stop it by SIGINT, which gives its locks back; then run this again",
    )
}

async fn restore<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock, W: World>(
    given: &Given<'_, K, Q, L, C>,
    membership: &Membership<K, Q, C>,
    site: &Site<'_, W>,
    limits: Limits,
    planned: Option<&Plan>,
) -> Result<RunReport, UserError> {
    let notes = interrupted_before(site).await?;
    let id = RestorationId::new(site.clock.wall(), &site.session.member());
    let holder = Holder {
        member: site.session.member(),
        host: given.process.host.clone(),
        process_id: given.process.id,
        started: site.clock.wall(),
    };
    let mut recorder = Recorder::new(site, id, holder);
    recorder.write(site).await?;
    let begun = match unless_interrupted(site, begin(site)).await {
        Ok(begun) => begun,
        Err(failure) => {
            recorder.end(site, RestorationState::Unverified).await;
            return Err(failure);
        }
    };
    recorder.cuts(begun.cut.lowest(site.scope));
    let work = async {
        let mut audit = Audit::new(site);
        let audited = async {
            let each = |follower: &LogFollower, range, verdicts: &Verdicts| {
                audit.range(site, follower, range, verdicts, |_, _| Ok(()))
            };
            let found = plan::audit(site, &begun, each).await?;
            given.still_agrees(membership).await?;
            Ok(found)
        };
        let found = unless_interrupted(site, audited).await?;
        failpoint::pass("r1-planned");
        let summary = Summary::new(audit, planned, recorder.id());
        ranges(given, site, &begun, found, limits, summary, &mut recorder).await
    };
    let done = following(site, &begun.follower, async { Ok(work.await) }).await;
    let done = done.map_err(UserError::from).and_then(|done| done);
    match done {
        Ok(mut report) => {
            recorder.end(site, report.state()).await;
            failpoint::pass("r8-recorded");
            report.notes.extend(notes);
            Ok(report)
        }
        Err(failure) => {
            recorder.end(site, RestorationState::Unverified).await;
            Err(failure)
        }
    }
}

/// Restores the ranges, a few at once.
async fn ranges<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock, W: World>(
    given: &Given<'_, K, Q, L, C>,
    site: &Site<'_, W>,
    begun: &AuditBaseline,
    mut found: AuditFindings,
    limits: Limits,
    mut summary: Summary,
    recorder: &mut Recorder,
) -> Result<RunReport, UserError> {
    if let Err(exceeded) = limits::check(limits, summary.audit().wrong.extent()) {
        return Ok(summary.refused(site, exceeded));
    }
    let journal = (given.journal)(recorder.id().as_str()).map_err(|error| {
        let what = format!("{error}: {}", error.cause);
        UserError::new(
            what,
            "name a folder that can be written by [restorator] journal",
        )
    })?;
    summary.journal(journal.place());
    let task = Task {
        site,
        follower: &begun.follower,
        journal: &journal,
        limits,
        spent: Cell::default(),
        pace: ChunkSizer::new(&site.config.restorator),
    };
    let scope: Vec<RangeId> = site.scope.ranges().collect();
    let count = u64::try_from(scope.len()).ok();
    site.progress.begin("restoring", "ranges", count);
    let at_once = at_once(site, &begun.follower, &found);
    let work = scope
        .into_iter()
        .map(|range| one(&task, range, found.take(range)));
    let mut work = pin!(stream::iter(work).buffer_unordered(at_once));
    while let Some(restored) = work.next().await {
        recorder.range(site, &restored).await;
        summary.range(site, &begun.follower, restored);
        site.progress.advance(1);
    }
    site.progress.end();
    Ok(summary.done(site, &begun.follower))
}

/// How many ranges are restored at once.
fn at_once<W: World>(site: &Site<'_, W>, follower: &LogFollower, found: &AuditFindings) -> usize {
    let totals = follower.totals();
    let cells = |range: RangeId| {
        let wrong = usize::try_from(found.of(range).wrong_number()).unwrap_or(usize::MAX);
        wrong.saturating_add(totals.of(range).dirty_number())
    };
    let worst = found.ranges().into_iter().map(cells).max().unwrap_or(0);
    let most = site.config.restorator.ranges_in_flight_max;
    side_by_side(worst, site.memory.left(), most)
}

/// No more ranges than fit into the memory that is left if each of them has as many cells for the lock as the worst.
fn side_by_side(worst: usize, left: usize, most: usize) -> usize {
    let bytes = worst.saturating_mul(LOCKED_CELL_BYTES + WRONG_CELL_BYTES);
    // The log goes on, and what it adds up to with it.
    let room = left / 4 * 3;
    let fit = room.checked_div(bytes).unwrap_or(usize::MAX);
    fit.clamp(1, most.max(1))
}

async fn one<W: World>(task: &Task<'_, W>, range: RangeId, found: AuditFindings) -> Restored {
    match task.site.standing.interruption() {
        None => crate::restoration::run(task, range, found).await,
        Some(why) => Restored::not_begun(range, found, Error::Interrupted(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_ranges_are_restored_at_once_as_fit_if_each_is_like_the_worst() {
        let cell = LOCKED_CELL_BYTES + WRONG_CELL_BYTES;
        let of = |worst, left| side_by_side(worst, left, 8);
        assert_eq!(of(0, 0), 8, "nothing is wrong");
        assert_eq!(of(10, 3 * 10 * cell / 3 * 4), 3);
        assert_eq!(of(10, 3 * 10 * cell), 2, "a quarter is left to the log");
        assert_eq!(of(10, 1 << 40), 8);
        assert_eq!(of(10, 0), 1, "one says what does not fit");
        assert_eq!(side_by_side(10, 1 << 40, 0), 1);
    }
}
