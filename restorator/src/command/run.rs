//! `run`: audits the scope, then restores it range by range.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, Count};
use stitch_common::clock::Clock;
use stitch_common::ports::{Backends, Session};
use stitch_common::user_error::UserError;
use stitch_control::control_record::ControlEvent;
use stitch_control::restoration_id::RestorationId;
use stitch_control::restoration_record::RestorationState;
use stitch_protocol::namespace::ValidatedNamespace;
use stitch_protocol::restoration::{LockHolder, RestorationLock};

use super::CommandContext;
use super::plan::{Audit, AuditState, note_interrupted, unless_stopped, while_following};
use crate::context::RestoreContext;
use crate::doubts;
use crate::error::Error;
use crate::failpoint;
use crate::journal::Journal;
use crate::lease_keeper::Interruption;
use crate::limits;
use crate::membership::Process;
use crate::options::{PlanSource, RunOptions};
use crate::patience::while_kafka_delivers;
use crate::permissions;
use crate::plan::base_cut::BaseCut;
use crate::plan::file::PlanFile;
use crate::plan::judge::Verdicts;
use crate::plan::{self, AuditBaseline, AuditProgress};
use crate::preflight;
use crate::report::RunReport;
use crate::run_control;
use stitch_common::wait::within;

mod planned_cells;
mod ranges_in_flight;
mod record;
mod remaining_ranges;
mod summary;

use planned_cells::PlannedCells;
use record::Recorder;
use remaining_ranges::RemainingRanges;
use summary::Summary;

/// Restores the scope, and verifies it.
///
/// # Errors
/// The restoration could not begin, or is refused. Ranges that could not be verified are in the report.
pub async fn run<B: Backends>(
    command: &CommandContext<'_, B>,
    options: &RunOptions,
) -> Result<RunReport, UserError> {
    let only_doubtful = matches!(options.source, PlanSource::Doubtful(_));
    let (scope, mut planned) = match &options.source {
        PlanSource::Now(scope) | PlanSource::Doubtful(scope) => (scope.clone(), None),
        PlanSource::File(path) => {
            let file = PlanFile::open(path)?;
            (file.plan().scope.clone(), Some((file, path)))
        }
    };
    let (dead, limits) = (&options.declared_dead, options.limits);
    let mut state = RunState::default();
    let work = async |context: &RestoreContext<'_, B>| {
        exclusively(context, planned.as_mut(), &mut state).await
    };
    let scope = (&scope, only_doubtful);
    let totals = &options.totals;
    match command.as_member(scope, dead, limits, totals, work).await {
        Ok((report, left_behind)) => {
            let mut report = report.unwrap_or_else(RunReport::nothing_doubtful);
            report.notes.extend(left_behind);
            Ok(report)
        }
        Err(UserError { message, help }) => {
            // Some ranges were restored, and there is no report of them.
            let journal = state.started.filter(|_| state.ranges.is_some());
            let journal = journal.map(|started| {
                let path = started.journal.path().display().to_string();
                format!("; what was corrected before is in {path}")
            });
            let message = format!("{message}{}", journal.unwrap_or_default());
            Err(UserError::new(message, help))
        }
    }
}

/// A run, as far as it has come.
#[derive(Default)]
struct RunState {
    /// Those of the plan file, if there is one.
    planned: Option<Rc<PlannedCells>>,
    started: Option<Started>,
    audit: Option<AuditState>,
    /// Once everything is audited.
    ranges: Option<RemainingRanges>,
}

/// A run that is recorded.
struct Started {
    recorder: Recorder,
    journal: Journal,
    notes: Vec<String>,
}

/// Restores under the restoration lock, and releases it.
async fn exclusively<B: Backends>(
    context: &RestoreContext<'_, B>,
    planned: Option<&mut (PlanFile<File>, &PathBuf)>,
    state: &mut RunState,
) -> Result<RunReport, UserError> {
    if let Some((file, path)) = planned {
        let ValidatedNamespace {
            definition,
            observed,
            ..
        } = context.validated;
        let namespace = &context.config.namespace;
        preflight::plan(file.plan(), namespace, &definition.record, &observed.log)?;
        if state.planned.is_none() {
            let cells = PlannedCells::read(file, context.memory);
            state.planned = Some(Rc::new(cells.map_err(|error| error.of(path))?));
        }
    }
    if state.started.is_none() {
        run_control::refuse_held(context).await?;
    }
    let Process { host, id } = context.process;
    let mut lock = RestorationLock::new(context.session, host, *id);
    let granted = unless_stopped(context, acquire_lock(context, &mut lock)).await;
    let result = match granted {
        Ok(()) => restore(context, state).await,
        Err(failure) => Err(failure),
    };
    let bound = context.session.zookeeper().timeout();
    match within(context.clock, bound, lock.release(context.session)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            tracing::warn!(%error, "the restoration lock ends with the session");
            lock.abandon();
        }
        None => lock.abandon(),
    }
    result
}

/// Acquires the restoration lock. Waits for another restoration only as long as it takes to see whether it is dead.
async fn acquire_lock<B: Backends>(
    context: &RestoreContext<'_, B>,
    lock: &mut RestorationLock,
) -> Result<(), UserError> {
    let Some(holder) = lock.try_granted(context.session).await? else {
        return Ok(());
    };
    context.progress.note(&format!(
        "another restoration runs (process {} on {}): waiting to see whether it is dead",
        holder.process_id, holder.host
    ));
    // The servers end a session at the first tick after its timeout, which is at least three ticks.
    let timeout = context.session.zookeeper().timeout();
    let waited = within(
        context.clock,
        timeout * 3 / 2,
        lock.wait_granted(context.session),
    )
    .await;
    match waited {
        Some(granted) => {
            granted?;
            Ok(())
        }
        None => {
            let current = stitch_protocol::restoration::holder(context.session).await?;
            Err(already_running(current.unwrap_or(holder)))
        }
    }
}

fn already_running(holder: LockHolder) -> UserError {
    let LockHolder {
        member,
        host,
        process_id,
        started,
    } = holder;
    let message = format!(
        "a restoration already runs in this namespace: process {process_id} on {host}, member {member}, since {started}"
    );
    let help = "wait for it, or stop it with SIGINT, which releases its locks; then run this again";
    UserError::new(message, help)
}

async fn restore<B: Backends>(
    context: &RestoreContext<'_, B>,
    state: &mut RunState,
) -> Result<RunReport, UserError> {
    let holder = context.lock_holder(context.clock.wall());
    let started = match &mut state.started {
        Some(started) => started,
        None => state.started.insert(start(context, holder.clone()).await?),
    };
    started.recorder.set_holder(holder);
    started.recorder.write(context).await?;
    let (audit, ranges, planned) = (&mut state.audit, &mut state.ranges, &state.planned);
    let Started {
        recorder,
        journal,
        notes,
    } = &mut *started;
    let (recorder, journal, id) = (&*recorder, &*journal, recorder.id());
    let control = run_control::follow(context, &id, async |events| {
        note_control(context, journal, &events);
        recorder.note_control(context, events).await;
    });
    let work = RunWork {
        recorder,
        journal,
        notes,
        audit,
        ranges,
    };
    // The control first: a pause is in force from the first step on.
    let ended = match select(pin!(control), pin!(work.go_on(context, planned.clone()))).await {
        Either::Left((never, _)) => match never {},
        Either::Right((ended, _)) => ended,
    };
    let ended = match (ended, context.control.abort()) {
        (Ok(mut report), abort) => {
            report.note_abort(abort);
            Ok(report)
        }
        // While it was audited: no range was begun.
        (Err(_), Some(abort)) if state.ranges.is_none() => {
            let audit = state.audit.take();
            let audit = audit.map_or_else(|| Audit::new(context), |state| state.audit);
            let summary = Summary::new(audit, context.exceptions(), planned.clone(), &id);
            let mut report = summary.aborted(context);
            report.note_abort(Some(abort));
            Ok(report)
        }
        (Err(failure), _) => Err(failure),
    };
    match ended {
        Ok(mut report) => {
            started.recorder.end(context, report.state()).await;
            failpoint::pass("r8-recorded");
            report.notes.append(&mut started.notes);
            Ok(report)
        }
        Err(failure) => {
            if !context.goes_on() {
                let unverified = RestorationState::Unverified;
                started.recorder.end(context, unverified).await;
            }
            Err(failure)
        }
    }
}

/// Refuses whatever can be refused before the log is read, which may take hours.
async fn start<B: Backends>(
    context: &RestoreContext<'_, B>,
    holder: LockHolder,
) -> Result<Started, UserError> {
    let notes = note_interrupted(context).await?;
    let id = RestorationId::new(context.clock.wall(), &context.session.member());
    preflight::no_checkpoint_is_missing(&BaseCut::read(context).await?)?;
    permissions::to_correct(context).await?;
    let journal = (context.journal)(id.as_str()).map_err(|error| {
        let message = format!("{error}: {}", error.cause);
        UserError::new(message, "set [restorator] journal to a writable folder")
    })?;
    Ok(Started {
        recorder: Recorder::new(context, id, holder),
        journal,
        notes,
    })
}

/// Shows and keeps what operators had the run do.
fn note_control<B: Backends>(
    context: &RestoreContext<'_, B>,
    journal: &Journal,
    events: &[ControlEvent],
) {
    for event in events {
        let by = event.request.as_ref();
        let by = by.map_or_else(String::new, |request| format!(" {request}"));
        context.progress.note(&format!("{}{by}", event.command));
        tracing::info!(command = event.command, by, "control of the restoration");
        if let Err(error) = journal.control(event) {
            context.progress.note(&format!("{error}: {}", error.cause));
        }
    }
}

/// What a run works on, and keeps from one session to the next.
struct RunWork<'s> {
    recorder: &'s Recorder,
    journal: &'s Journal,
    notes: &'s mut Vec<String>,
    audit: &'s mut Option<AuditState>,
    ranges: &'s mut Option<RemainingRanges>,
}

impl RunWork<'_> {
    /// Audits and restores what is left of the scope.
    async fn go_on<B: Backends>(
        self,
        context: &RestoreContext<'_, B>,
        planned: Option<Rc<PlannedCells>>,
    ) -> Result<RunReport, UserError> {
        let state = AuditState::resume(self.audit, context).await?;
        let lowest = state.baseline.cut.lowest(context.scope);
        self.recorder.set_cuts(lowest);
        let follower = &state.baseline.follower;
        let (audit, progress) = (&mut state.audit, &mut state.progress);
        let ranges = self.ranges;
        let work = async {
            if ranges.is_none() {
                audit_all(context, &state.baseline, progress, audit).await?;
                failpoint::pass("r1-planned");
                let audit = std::mem::replace(audit, Audit::new(context));
                self.recorder.set_found(audit.found());
                self.notes.extend(state.baseline.notes.clone());
                let id = self.recorder.id();
                let summary = Summary::new(audit, context.exceptions(), planned, &id);
                let within_limits = limits::check(context.limits, summary.audit().wrong.extent());
                let findings = progress.take_findings(context);
                doubts::record_found(context, &findings, within_limits.as_ref().err()).await;
                if let Err(exceeded) = within_limits {
                    return Ok(summary.refused(context, exceeded));
                }
                *ranges = Some(RemainingRanges::new(context, findings, summary));
            }
            let left = ranges.as_mut().expect("everything is audited");
            let records = (self.recorder, self.journal);
            if !left.restore(context, follower, records).await {
                return Err(Error::Interrupted(Interruption::Lost).into());
            }
            let restored = ranges.take().expect("everything is audited");
            Ok(restored.finish())
        };
        let work = async { Ok(work.await) };
        while_following(context, follower, work)
            .await
            .map_err(UserError::from)?
    }
}

/// Audits the scope, as far as that is still to be done.
async fn audit_all<B: Backends>(
    context: &RestoreContext<'_, B>,
    baseline: &AuditBaseline,
    progress: &mut AuditProgress,
    audit: &mut Audit,
) -> Result<(), UserError> {
    let audited = async {
        let record = |_, verdicts: &Verdicts, dirty: &BTreeMap<Cell, Count>, _| {
            audit.add_range(verdicts, dirty, |_, _| Ok(())).map(drop)
        };
        let audited = plan::audit(context, baseline, progress, record);
        while_kafka_delivers(context, &baseline.follower, audited).await?;
        context.revalidate().await
    };
    unless_stopped(context, audited).await
}
