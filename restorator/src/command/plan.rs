//! `plan`: the audit. Locks nothing and changes nothing in the store.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::cell::{Cell, CounterName};
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Cql, EventLog, Keeper};
use stitch_common::range::RangeId;
use stitch_common::user_error::Failure;
use stitch_protocol::membership;
use stitch_protocol::restoration::{self, RestorationState};

use super::Given;
use crate::error::Error;
use crate::failpoint;
use crate::options::PlanOptions;
use crate::plan::draft::Draft;
use crate::plan::file::Plan;
use crate::plan::judge::{Drift, Verdicts};
use crate::plan::{self, Begun};
use crate::refuse;
use crate::report::plan::Cells;
use crate::report::{PlanReport, Total, Totals, Wrongness};
use crate::restoration::judged;
use crate::site::{Site, World};
use crate::visit::Visit;
use stitch_totals::tail::Tail;

/// Finds what is wrong.
///
/// # Errors
/// It could not be done, or is refused.
pub async fn plan<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    options: &PlanOptions,
) -> Result<PlanReport, Failure> {
    let work = async |visit: &_| make(given, visit, options).await;
    let (mut report, left_behind) = given.as_member(work).await?;
    report.notes.extend(left_behind);
    Ok(report)
}

async fn make<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    visit: &Visit<K, Q, C>,
    options: &PlanOptions,
) -> Result<PlanReport, Failure> {
    let site = given.site(visit, &options.scope, &options.gone);
    let plan_file = options.plan_file.as_deref();
    let mut draft = plan_file.map(Draft::begin).transpose()?;
    let mut audit = Audit::new(&site);
    let work = async {
        let begun = begin(&site).await?;
        let each = |tail: &Tail, range, verdicts: &Verdicts| {
            audit.range(
                &site,
                tail,
                range,
                verdicts,
                |cell, drift| match &mut draft {
                    Some(draft) => draft.add(cell, drift),
                    None => Ok(()),
                },
            )
        };
        let found = async { Ok(plan::audit(&site, &begun, each).await) };
        following(&site, &begun.tail, found).await??;
        Ok::<_, Failure>(begun)
    };
    let begun = unless_interrupted(&site, work).await?;
    given.still_agrees(visit).await?;
    failpoint::pass("r1-planned");
    if let Some(draft) = draft {
        draft.finish(&audit.plan(given, visit, &site, &begun))?;
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
pub(super) async fn begin<W: World>(site: &Site<'_, W>) -> Result<Begun, Failure> {
    let members = membership::list(site.coordinator).await?;
    refuse::members(&members, site.defined)?;
    let committed: BTreeMap<Partition, Offset> = site.log.committed().await?;
    let begun = plan::begin(site, &site.log_reader(), &committed).await?;
    failpoint::pass("r1-begun");
    Ok(begun)
}

/// Does `work` while the log is followed.
pub(super) async fn following<W: World, T>(
    site: &Site<'_, W>,
    tail: &Tail,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let feed = site.log.feed().await?;
    match select(pin!(work), pin!(tail.follow(feed))).await {
        Either::Left((done, _)) => done,
        Either::Right((never, _)) => match never {},
    }
}

/// Does `work`, which holds nothing, unless it is asked to stop.
pub(super) async fn unless_interrupted<W: World, T>(
    site: &Site<'_, W>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match select(pin!(work), pin!(site.standing.interrupted())).await {
        Either::Left((done, _)) => done,
        Either::Right((why, _)) => Err(Error::Interrupted(why).into()),
    }
}

/// What the operator should know of an earlier restoration that ended without saying so.
pub(super) async fn interrupted_before<W: World>(
    site: &Site<'_, W>,
) -> Result<Vec<String>, Failure> {
    let holder = restoration::holder(site.coordinator).await?;
    let records = match restoration::records(site.coordinator).await {
        Ok(records) => records,
        // Records are for people: no count hangs on them.
        Err(error @ stitch_protocol::Error::Corrupt { .. }) => return Ok(vec![error.to_string()]),
        Err(error) => return Err(error.into()),
    };
    let others = records
        .iter()
        .filter(|record| record.holder.member != site.coordinator.member());
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
        tail: &Tail,
        range: RangeId,
        verdicts: &Verdicts,
        mut each: impl FnMut(&Cell, Drift) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (judged, unjudged) = judged(tail, range, verdicts);
        self.cells.judged += judged;
        self.cells.unjudged += unjudged;
        // Right cells hold what is expected; wrong ones differ from it.
        for (name, sum) in sums(site, tail, [range]) {
            let total = self.totals.entry(name).or_default();
            total.expected += sum;
            total.before += sum;
        }
        let touched = tail.ledgers().of(range).touched();
        for (cell, drift) in verdicts.wrong_for_sure(&touched) {
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

    fn plan<K: Keeper, Q: Cql, L: EventLog, C: Clock, W: World>(
        &self,
        given: &Given<'_, K, Q, L, C>,
        visit: &Visit<K, Q, C>,
        site: &Site<'_, W>,
        begun: &Begun,
    ) -> Plan {
        Plan {
            namespace: given.config.namespace.clone(),
            made: site.clock.wall(),
            record: visit.agreement.defined.record.clone(),
            log: visit.agreement.found.log.clone(),
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
    tail: &Tail,
    ranges: impl IntoIterator<Item = RangeId>,
) -> BTreeMap<CounterName, i128> {
    let mut sums = BTreeMap::new();
    let ledgers = tail.ledgers();
    let bits = site.definitions().range_bits;
    for range in ranges {
        let ledger = ledgers.of(range);
        for counter in ledger.in_scan_order(bits.interval(range)) {
            let sum: i128 = ledger
                .totals(counter)
                .map(|(_, count)| i128::from(count.0))
                .sum();
            let name = &ledger.place(counter).counter().name;
            *sums.entry(name.clone()).or_default() += sum;
        }
    }
    sums
}
