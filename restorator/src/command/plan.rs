//! `plan`: the audit. Takes no lock, and changes nothing in the store.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, Count, CounterName};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Backends, EventLog};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_common::wait::within;
use stitch_control::audit_record::{self, AuditRecord};
use stitch_control::audit_tally::AuditTally;
use stitch_control::restoration_record;
use stitch_protocol::membership;
use stitch_protocol::restoration;

use super::CommandContext;
use crate::context::RestoreContext;
use crate::error::Error;
use crate::failpoint;
use crate::options::{Limits, PlanOptions};
use crate::patience::while_kafka_delivers;
use crate::permissions;
use crate::plan::draft::Draft;
use crate::plan::file::Plan;
use crate::plan::judge::{Drift, Verdicts};
use crate::plan::{self, AuditBaseline, AuditProgress, moving_cut};
use crate::preflight;
use crate::report::plan::Cells;
use crate::report::{PlanReport, Total, Totals, Wrongness};
use crate::restoration::count_judged;
use stitch_expected::log_follower::LogFollower;

/// Audits the scope, and writes the plan file if one is wanted.
pub async fn plan<B: Backends>(
    command: &CommandContext<'_, B>,
    options: &PlanOptions,
) -> Result<PlanReport, UserError> {
    let scope = (&options.scope, options.only_doubtful);
    let (dead, limits) = (&options.declared_dead, Limits::default());
    let plan_file = options.plan_file.as_deref();
    let mut draft = plan_file.map(Draft::begin).transpose()?;
    let mut state = None;
    let work = async |context: &RestoreContext<'_, B>| {
        make(context, options, &mut draft, &mut state).await
    };
    let totals = &options.totals;
    let (report, left_behind) = command.as_member(scope, dead, limits, totals, work).await?;
    let mut report = report.unwrap_or_else(PlanReport::nothing_doubtful);
    report.notes.extend(left_behind);
    Ok(report)
}

/// An audit, as far as it has come.
pub(super) struct AuditState {
    pub(super) baseline: AuditBaseline,
    pub(super) progress: AuditProgress,
    /// Summed up over the ranges that are audited.
    pub(super) audit: Audit,
    /// The same, by range.
    found: BTreeMap<RangeId, AuditTally>,
    /// When it began.
    started: DateTime<Utc>,
}

impl AuditState {
    /// The audit in `slot`; if there is none, base cut and log are read first.
    pub(super) async fn resume<'s, B: Backends>(
        slot: &'s mut Option<Self>,
        context: &RestoreContext<'_, B>,
    ) -> Result<&'s mut Self, UserError> {
        if slot.is_none() {
            let baseline = unless_stopped(context, begin(context)).await?;
            *slot = Some(Self {
                baseline,
                progress: AuditProgress::new(context),
                audit: Audit::new(context),
                found: BTreeMap::new(),
                started: context.clock.wall(),
            });
        }
        Ok(slot.as_mut().expect("just filled"))
    }
}

async fn make<B: Backends>(
    context: &RestoreContext<'_, B>,
    options: &PlanOptions,
    draft: &mut Option<Draft>,
    state: &mut Option<AuditState>,
) -> Result<PlanReport, UserError> {
    let AuditState {
        baseline,
        progress,
        audit,
        found,
        started,
    } = AuditState::resume(state, context).await?;
    let follower = &baseline.follower;
    let record = |range, verdicts: &Verdicts, dirty: &BTreeMap<Cell, Count>, is_last| {
        let of_part = audit.add_range(verdicts, dirty, |cell, drift| match draft {
            Some(draft) => draft.add(cell, drift),
            None => Ok(()),
        })?;
        found
            .entry(range)
            .or_insert_with(AuditTally::default)
            .add(of_part);
        if is_last {
            follower.totals_mut().of_mut(range).finish();
        }
        Ok(())
    };
    let audited = plan::audit(context, baseline, progress, record);
    let audited = while_kafka_delivers(context, follower, audited);
    let audited = async { Ok(audited.await) };
    let audited = async {
        let audited = while_following(context, follower, audited).await;
        audited.map_err(UserError::from)?
    };
    unless_stopped(context, audited).await?;
    context.revalidate().await?;
    failpoint::pass("r1-planned");
    let mut notes = baseline.notes.clone();
    notes.extend(note_interrupted(context).await?);
    let record = AuditRecord {
        auditor: context.lock_holder(*started),
        scope: context.scope.clone(),
        exceptions: context
            .exceptions()
            .map_or_else(Vec::new, |made| made.lines()),
        ended: context.clock.wall(),
        cuts: baseline.cut.lowest(context.scope),
        generation: context.validated.definition.record.generation,
        ranges: std::mem::take(found),
    };
    notes.extend(write_record(context, &record).await);
    if let Some(draft) = draft.take() {
        draft.finish(&audit.plan(context, baseline))?;
    }
    let plan_file = options.plan_file.as_ref();
    let unjudged_max = options.max_unjudged;
    Ok(PlanReport {
        cells: audit.cells,
        unjudged_max: unjudged_max.unwrap_or_else(|| audit.cells.unjudged_max()),
        exceptions: context.exceptions(),
        wrong: std::mem::take(&mut audit.wrong),
        totals: std::mem::take(&mut audit.totals),
        unnamed_counters: std::mem::take(&mut audit.unnamed),
        plan_file: plan_file.map(|path| path.display().to_string()),
        notes,
        nothing_doubtful: false,
    })
}

/// Leaves the record of the audit, which no count depends on: a failure is a note.
async fn write_record<B: Backends>(
    context: &RestoreContext<'_, B>,
    record: &AuditRecord,
) -> Option<String> {
    let written = audit_record::write_record(context.session, record);
    let why = match within(context.clock, RECORD_BOUND, written).await {
        Some(Ok(())) => return None,
        Some(Err(error)) => error.to_string(),
        None => "ZooKeeper did not answer in time".to_owned(),
    };
    Some(format!(
        "the record of this audit, by which it is known when counts were audited, was not written: {why}"
    ))
}

/// How long writing the record of an audit may take.
const RECORD_BOUND: Duration = Duration::from_secs(10);

/// Checks that all members count by the same definitions, then reads base cut and log. What the consumer group has
/// committed is read first: a checkpoint that is read later can only be ahead of it.
async fn begin<B: Backends>(context: &RestoreContext<'_, B>) -> Result<AuditBaseline, UserError> {
    let writes = context.validated.definition.record.lowest_consistency();
    preflight::read_level(context.config.restorator.read_level, writes)?;
    let members = membership::list(context.session).await?;
    preflight::members(&members, &context.validated.definition)?;
    permissions::to_read(context).await?;
    let partitions = context.log.partitions().await?;
    let committed: BTreeMap<Partition, Offset> = context.log.committed(&partitions).await?;
    let baseline = plan::begin(context, &committed).await?;
    failpoint::pass("r1-begun");
    Ok(baseline)
}

/// Runs `work` while following the log, and moving the cuts up.
pub(super) async fn while_following<B: Backends, T>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let feed = context.log.feed().await?;
    let following = pin!(follower.follow(feed));
    let moving = pin!(moving_cut::follow(context, follower));
    let merging = pin!(follower.merge_runs());
    let beside = async {
        let (Either::Left((never, _)) | Either::Right((never, _))) =
            select(following, moving).await;
        never
    };
    match select(pin!(work), select(pin!(beside), merging)).await {
        Either::Left((result, _)) => result,
        Either::Right((Either::Left((never, _)) | Either::Right((never, _)), _)) => match never {},
    }
}

/// Runs `work`, which holds no lock, until it ends or an operator wants it to end. A lost session does not end it: what it
/// needs of ZooKeeper fails then, and all else goes on.
pub(super) async fn unless_stopped<B: Backends, T>(
    context: &RestoreContext<'_, B>,
    work: impl Future<Output = Result<T, UserError>>,
) -> Result<T, UserError> {
    match select(pin!(work), pin!(context.ended())).await {
        Either::Left((result, _)) => result,
        Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
    }
}

/// A note on the last restoration, if it ended without recording its end.
pub(super) async fn note_interrupted<B: Backends>(
    context: &RestoreContext<'_, B>,
) -> Result<Vec<String>, UserError> {
    let holder = restoration::holder(context.session).await?;
    let records = match restoration_record::records(context.session).await {
        Ok(records) => records,
        // Records are for people: no count depends on them.
        Err(error @ stitch_protocol::Error::Corrupt { .. }) => return Ok(vec![error.to_string()]),
        Err(error) => return Err(error.into()),
    };
    let others = records
        .iter()
        .filter(|record| record.holder.member != context.session.member());
    let Some(last) = others.last() else {
        return Ok(Vec::new());
    };
    let runs = holder.is_some_and(|holder| holder.member == last.holder.member);
    if runs || !last.state.is_of_a_run() {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "restoration {} of {} (process {} on {}) was interrupted after {} ranges: what it corrected is read like \
         everything else, and nothing is corrected twice",
        last.id,
        last.holder.started,
        last.holder.process_id,
        last.holder.host,
        last.ranges.len()
    )])
}

/// The findings of an audit, summed up over the whole scope.
pub(super) struct Audit {
    pub(super) cells: Cells,
    pub(super) wrong: Wrongness,
    pub(super) totals: Totals,
    pub(super) unnamed: BTreeMap<CounterName, u64>,
}

impl Audit {
    pub(super) fn new<B: Backends>(context: &RestoreContext<'_, B>) -> Self {
        let counters = context.definitions().counters.iter();
        let in_scope = counters.filter(|counter| context.scope.has_definition(&counter.name));
        Self {
            cells: Cells::default(),
            wrong: Wrongness::default(),
            totals: in_scope
                .map(|counter| (counter.name.clone(), Total::default()))
                .collect(),
            unnamed: BTreeMap::new(),
        }
    }

    /// Adds the findings of one range, or of a part of it, and passes its wrong cells to `each`. `dirty` are its dirty cells, and what they
    /// should hold.
    pub(super) fn add_range(
        &mut self,
        verdicts: &Verdicts,
        dirty: &BTreeMap<Cell, Count>,
        mut each: impl FnMut(&Cell, Drift) -> Result<(), UserError>,
    ) -> Result<AuditTally, UserError> {
        let (judged, unjudged) = count_judged(verdicts, dirty);
        let wrong_before = self.cells.wrong;
        self.cells.judged += judged;
        self.cells.unjudged += unjudged;
        // Right cells hold what is expected; wrong ones differ from it.
        for (name, sum) in verdicts.expected_sums() {
            let total = self.totals.entry(name.clone()).or_default();
            total.expected += sum;
            total.before += sum;
        }
        for (cell, expected) in dirty {
            let unjudged = i128::from(expected.0);
            let total = self.totals.entry(cell.counter.name.clone()).or_default();
            total.expected -= unjudged;
            total.before -= unjudged;
        }
        let dirty = dirty.keys().cloned().collect();
        for (cell, drift) in verdicts.wrong_and_clean(&dirty) {
            self.cells.wrong += 1;
            self.wrong.add(cell, drift);
            let total = self.totals.entry(cell.counter.name.clone()).or_default();
            total.before += i128::from(drift.current.0) - i128::from(drift.expected.0);
            each(cell, drift)?;
        }
        for (name, cells) in verdicts.unnamed_counters() {
            *self.unnamed.entry(name.clone()).or_default() += cells;
        }
        Ok(AuditTally {
            judged,
            wrong: self.cells.wrong - wrong_before,
            unjudged,
        })
    }

    /// Numbers of cells in all ranges.
    pub(super) const fn found(&self) -> AuditTally {
        AuditTally {
            judged: self.cells.judged,
            wrong: self.cells.wrong,
            unjudged: self.cells.unjudged,
        }
    }

    fn plan<B: Backends>(&self, context: &RestoreContext<'_, B>, baseline: &AuditBaseline) -> Plan {
        Plan {
            namespace: context.config.namespace.clone(),
            made: context.clock.wall(),
            record: context.validated.definition.record.clone(),
            log: context.validated.observed.log.clone(),
            scope: context.scope.clone(),
            cut: baseline.cut.lowest(context.scope),
            judged: self.cells.judged,
            unjudged: self.cells.unjudged,
        }
    }
}
