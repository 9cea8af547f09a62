//! `plan`: the audit. Locks nothing and changes nothing in the store.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, CounterName};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Cql, EventLog, ZooKeeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::UserError;
use stitch_protocol::membership;
use stitch_protocol::restoration::{self, RestorationState};

use super::Given;
use crate::error::Error;
use crate::failpoint;
use crate::membership::Membership;
use crate::options::PlanOptions;
use crate::plan::draft::Draft;
use crate::plan::file::Plan;
use crate::plan::judge::{Drift, Verdicts};
use crate::plan::{self, AuditBaseline};
use crate::preflight;
use crate::report::plan::Cells;
use crate::report::{PlanReport, Total, Totals, Wrongness};
use crate::restoration::judged;
use crate::site::{Site, World};
use stitch_totals::log_follower::LogFollower;

/// Finds what is wrong.
///
/// # Errors
/// It could not be done, or is refused.
pub async fn plan<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    options: &PlanOptions,
) -> Result<PlanReport, UserError> {
    let work = async |membership: &_| make(given, membership, options).await;
    let (mut report, left_behind) = given.as_member(work).await?;
    report.notes.extend(left_behind);
    Ok(report)
}

async fn make<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    membership: &Membership<K, Q, C>,
    options: &PlanOptions,
) -> Result<PlanReport, UserError> {
    let site = given.site(membership, &options.scope, &options.declared_dead);
    let plan_file = options.plan_file.as_deref();
    let mut draft = plan_file.map(Draft::begin).transpose()?;
    let mut audit = Audit::new(&site);
    let work = async {
        let begun = begin(&site).await?;
        let each = |follower: &LogFollower, range, verdicts: &Verdicts| {
            audit.range(
                &site,
                follower,
                range,
                verdicts,
                |cell, drift| match &mut draft {
                    Some(draft) => draft.add(cell, drift),
                    None => Ok(()),
                },
            )
        };
        let found = async { Ok(plan::audit(&site, &begun, each).await) };
        following(&site, &begun.follower, found).await??;
        Ok::<_, UserError>(begun)
    };
    let begun = unless_interrupted(&site, work).await?;
    given.still_agrees(membership).await?;
    failpoint::pass("r1-planned");
    if let Some(draft) = draft {
        draft.finish(&audit.plan(given, membership, &site, &begun))?;
    }
    Ok(PlanReport {
        cells: audit.cells,
        wrong: audit.wrong,
        totals: audit.totals,
        unnamed_counters: audit.unnamed,
        plan_file: plan_file.map(|path| path.display().to_string()),
        notes: interrupted_before(&site).await?,
    })
}

/// Sees that everybody counts by the same definitions; then reads base cut and log, after what the group has committed: progress read later can only be ahead of it.
pub(super) async fn begin<W: World>(site: &Site<'_, W>) -> Result<AuditBaseline, UserError> {
    let members = membership::list(site.session).await?;
    preflight::members(&members, site.defined)?;
    let committed: BTreeMap<Partition, Offset> = site.log.committed().await?;
    let begun = plan::begin(site, &site.log_reader(), &committed).await?;
    failpoint::pass("r1-begun");
    Ok(begun)
}

/// Does `work` while the log is followed.
pub(super) async fn following<W: World, T>(
    site: &Site<'_, W>,
    follower: &LogFollower,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let feed = site.log.feed().await?;
    match select(pin!(work), pin!(follower.follow(feed))).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

/// Does `work`, which holds nothing, unless it is asked to stop.
pub(super) async fn unless_interrupted<W: World, T>(
    site: &Site<'_, W>,
    work: impl Future<Output = Result<T, UserError>>,
) -> Result<T, UserError> {
    match select(pin!(work), pin!(site.standing.interrupted())).await {
        Either::Left((done, _)) => done,
        Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
    }
}

/// What the operator should know of an earlier restoration that ended without saying so.
pub(super) async fn interrupted_before<W: World>(
    site: &Site<'_, W>,
) -> Result<Vec<String>, UserError> {
    let holder = restoration::holder(site.session).await?;
    let records = match restoration::records(site.session).await {
        Ok(records) => records,
        // Records are for people: no count hangs on them.
        Err(error @ stitch_protocol::Error::Corrupt { .. }) => return Ok(vec![error.to_string()]),
        Err(error) => return Err(error.into()),
    };
    let others = records
        .iter()
        .filter(|record| record.holder.member != site.session.member());
    let Some(last) = others.last() else {
        return Ok(Vec::new());
    };
    let runs = holder.is_some_and(|holder| holder.member == last.holder.member);
    if runs || last.state != RestorationState::Running {
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

/// What is known of all cells in scope without a lock.
pub(super) struct Audit {
    pub(super) cells: Cells,
    pub(super) wrong: Wrongness,
    pub(super) totals: Totals,
    pub(super) unnamed: BTreeMap<CounterName, u64>,
}

impl Audit {
    /// Nothing yet.
    pub(super) fn new<W: World>(site: &Site<'_, W>) -> Self {
        let wanted = &site.scope.counter;
        let counters = site.definitions().counters.iter();
        let in_scope = counters.filter(|counter| {
            let name = wanted.as_ref();
            name.is_none_or(|name| *name == counter.name)
        });
        Self {
            cells: Cells::default(),
            wrong: Wrongness::default(),
            totals: in_scope
                .map(|counter| (counter.name.clone(), Total::default()))
                .collect(),
            unnamed: BTreeMap::new(),
        }
    }

    /// Takes in what is known of one range, and tells `each` of its wrong cells.
    pub(super) fn range<W: World>(
        &mut self,
        site: &Site<'_, W>,
        follower: &LogFollower,
        range: RangeId,
        verdicts: &Verdicts,
        mut each: impl FnMut(&Cell, Drift) -> Result<(), UserError>,
    ) -> Result<(), UserError> {
        let (judged, unjudged) = judged(follower, range, verdicts);
        self.cells.judged += judged;
        self.cells.unjudged += unjudged;
        // Right cells hold what is expected; wrong ones differ from it.
        for (name, sum) in sums(site, follower, [range]) {
            let total = self.totals.entry(name).or_default();
            total.expected += sum;
            total.before += sum;
        }
        let dirty = follower.totals().of(range).dirty();
        for (cell, drift) in verdicts.wrong_for_sure(&dirty) {
            self.cells.wrong += 1;
            self.wrong.add(cell, drift);
            let total = self.totals.entry(cell.counter.name.clone()).or_default();
            total.before += i128::from(drift.current.0) - i128::from(drift.expected.0);
            each(cell, drift)?;
        }
        for (name, cells) in verdicts.unnamed_counters() {
            *self.unnamed.entry(name.clone()).or_default() += cells;
        }
        Ok(())
    }

    fn plan<K: ZooKeeper, Q: Cql, L: EventLog, C: Clock, W: World>(
        &self,
        given: &Given<'_, K, Q, L, C>,
        membership: &Membership<K, Q, C>,
        site: &Site<'_, W>,
        begun: &AuditBaseline,
    ) -> Plan {
        Plan {
            namespace: given.config.namespace.clone(),
            made: site.clock.wall(),
            record: membership.validated.defined.record.clone(),
            log: membership.validated.found.log.clone(),
            scope: site.scope.clone(),
            cut: begun.cut.lowest(site.scope),
            judged: self.cells.judged,
            unjudged: self.cells.unjudged,
            wrong: Vec::new(),
        }
    }
}

/// What the log adds up to in these ranges, by counter.
pub(super) fn sums<W: World>(
    site: &Site<'_, W>,
    follower: &LogFollower,
    ranges: impl IntoIterator<Item = RangeId>,
) -> BTreeMap<CounterName, i128> {
    let mut sums = BTreeMap::new();
    let totals = follower.totals();
    let bits = site.definitions().range_bits;
    for range in ranges {
        let totals = totals.of(range);
        for counter in totals.in_scan_order(bits.interval(range)) {
            let sum: i128 = totals
                .totals(counter)
                .map(|(_, count)| i128::from(count.0))
                .sum();
            let name = &totals.place(counter).counter().name;
            *sums.entry(name.clone()).or_default() += sum;
        }
    }
    sums
}
