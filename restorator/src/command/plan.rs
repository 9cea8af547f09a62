//! `plan`: the audit. Locks nothing and changes nothing in the store.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use stitch_common::answer::Failure;
use stitch_common::cell::{Cell, CounterName};
use stitch_common::clock::Clock;
use stitch_common::coordination::restoration::{self, RestorationState};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{Cql, EventLog, Keeper};
use stitch_common::range::RangeId;

use super::Given;
use crate::error::Error;
use crate::failpoint;
use crate::options::PlanOptions;
use crate::plan::file::Plan;
use crate::plan::judge::{Drift, Verdicts};
use crate::plan::{self, Begun};
use crate::report::plan::Cells;
use crate::report::{PlanReport, Total, Totals, Wrongness};
use crate::restoration::judged;
use crate::site::{Site, World};
use crate::tail::Tail;
use crate::visit::{Visit, enter};

/// Finds what is wrong.
///
/// # Errors
/// It could not be done, or is refused.
pub async fn plan<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    options: &PlanOptions,
) -> Result<PlanReport, Failure> {
    let visit = enter(
        given.servers,
        given.config,
        given.process,
        given.stop.clone(),
    )
    .await?;
    let made = visit.during(make(given, &visit, options)).await;
    let left_behind = visit.leave(&given.servers.cql).await;
    let mut report = made?;
    report.notes.extend(left_behind);
    Ok(report)
}

async fn make<K: Keeper, Q: Cql, L: EventLog, C: Clock>(
    given: &Given<'_, K, Q, L, C>,
    visit: &Visit<K, Q, C>,
    options: &PlanOptions,
) -> Result<PlanReport, Failure> {
    let site = given.site(visit, &options.scope, &options.gone);
    let audit = async {
        let begun = begin(&site).await?;
        let verdicts = following(&site, &begun.tail, plan::audit(&site, &begun)).await?;
        Ok::<_, Failure>((begun, verdicts))
    };
    let (begun, verdicts) = unless_interrupted(&site, audit).await?;
    given.still_agrees(visit).await?;
    failpoint::pass("r1-planned");
    let audit = Audit::new(&site, &begun.tail, &verdicts);
    let plan_file = options.plan_file.as_ref();
    if let Some(path) = plan_file {
        audit.plan(given, visit, &site, &begun).save(path)?;
    }
    Ok(PlanReport {
        cells: audit.cells,
        wrong: Wrongness::of(audit.wrong.iter().map(|(cell, drift)| (cell, *drift))),
        totals: audit.totals,
        unnamed_counters: audit.unnamed,
        plan_file: plan_file.map(|path| path.display().to_string()),
        notes: interrupted_before(&site).await?,
    })
}

/// Reads base cut and log, after what the group has committed: progress read later can only be ahead of it.
pub(super) async fn begin<W: World>(site: &Site<'_, W>) -> Result<Begun, Failure> {
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
    let records = restoration::records(site.coordinator).await?;
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
    pub(super) wrong: BTreeMap<Cell, Drift>,
    pub(super) totals: Totals,
    pub(super) unnamed: BTreeMap<CounterName, u64>,
}

impl Audit {
    pub(super) fn new<W: World>(
        site: &Site<'_, W>,
        tail: &Tail,
        verdicts: &BTreeMap<RangeId, Verdicts>,
    ) -> Self {
        let mut audit = Self {
            cells: Cells::default(),
            wrong: BTreeMap::new(),
            totals: expected_totals(site, tail),
            unnamed: BTreeMap::new(),
        };
        for (&range, verdicts) in verdicts {
            let (judged, unjudged) = judged(tail, range, verdicts);
            audit.cells.judged += judged;
            audit.cells.unjudged += unjudged;
            let touched = tail.ledgers().of(range).touched();
            let wrong = verdicts.wrong_for_sure(&touched);
            audit
                .wrong
                .extend(wrong.map(|(cell, drift)| (cell.clone(), drift)));
            for (name, cells) in verdicts.unnamed_counters() {
                *audit.unnamed.entry(name.clone()).or_default() += cells;
            }
        }
        for (cell, drift) in &audit.wrong {
            let total = audit.totals.entry(cell.counter.name.clone()).or_default();
            total.before += i128::from(drift.current.0) - i128::from(drift.expected.0);
        }
        audit.cells.wrong = u64::try_from(audit.wrong.len()).unwrap_or(u64::MAX);
        audit
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
            wrong: self
                .wrong
                .iter()
                .map(|(cell, drift)| (cell.clone(), *drift))
                .collect(),
        }
    }
}

/// What the log adds up to, by counter; `before` is what right cells hold, to which the wrong ones are added.
fn expected_totals<W: World>(site: &Site<'_, W>, tail: &Tail) -> Totals {
    let mut totals = Totals::new();
    for counter in &site.definitions().counters {
        if site
            .scope
            .counter
            .as_ref()
            .is_none_or(|name| *name == counter.name)
        {
            totals.insert(counter.name.clone(), Total::default());
        }
    }
    for (name, sum) in sums(site, tail, site.scope.ranges()) {
        let total = totals.entry(name).or_default();
        total.expected += sum;
        total.before += sum;
    }
    totals
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
