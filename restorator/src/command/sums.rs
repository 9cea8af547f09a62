//! `sums`: finds the buckets that their parts do not add up to. Reads the counts and no event; takes no lock.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use stitch_common::cell::{Counter, CounterName};
use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::ports::{Backends, Store};
use stitch_common::range::TokenInterval;
use stitch_common::user_error::UserError;
use stitch_common::wait::{within, yield_now};
use stitch_protocol::doubt::{self, DoubtCause};

use super::CommandContext;
use super::plan::unless_stopped;
use crate::cells::{Waiting, with_retries};
use crate::context::{PATIENCE, RestoreContext};
use crate::error::Error;
use crate::options::{Limits, SumsOptions, TotalsOptions};
use crate::permissions;
use crate::plan::scan::{SCANS_IN_FLIGHT, intervals};
use crate::report::SumsReport;
use crate::report::sums::Findings;
use crate::sums::{Differences, SumRule, Suspects};

/// How often a counter is read again before its sums are called broken.
const READS: usize = 5;
/// The pause before each of these reads: increments that are in flight reach every replica.
const PAUSE: Duration = Duration::from_millis(300);
/// How many counters of an interval wait to be read again together.
const SUSPECTS_MAX: usize = 64;

/// Checks the sums of the scope, and records a doubt of each range in which one is broken.
pub async fn sums<B: Backends>(
    command: &CommandContext<'_, B>,
    options: &SumsOptions,
) -> Result<SumsReport, UserError> {
    let scope = (&options.scope, options.only_doubtful);
    // No event is read, so no totals are either.
    let totals = TotalsOptions::default();
    let mut findings = None;
    let work = async |context: &RestoreContext<'_, B>| {
        if findings.is_none() {
            findings = Some(unless_stopped(context, check(context)).await?);
        }
        let checked = findings.clone().unwrap_or_default();
        record_doubts(context, &checked).await?;
        Ok(SumsReport::new(checked, context.exceptions()))
    };
    let member = command.as_member(scope, &[], Limits::default(), &totals, work);
    let (report, left_behind) = member.await?;
    let mut report = report.unwrap_or_else(SumsReport::nothing_doubtful);
    report.notes.extend(left_behind);
    Ok(report)
}

/// Scans the scope once, and reads the counters with suspect sums again.
async fn check<B: Backends>(context: &RestoreContext<'_, B>) -> Result<Findings, UserError> {
    permissions::to_read(context).await?;
    let bits = context.definitions().range_bits;
    let ranges = context.scope.ranges();
    let ranges: Vec<_> = ranges.map(|range| (range, bits.interval(range))).collect();
    context.progress.begin("scanning the table", "cells", None);
    let scans = intervals(context, &ranges).into_iter();
    let scans = scans.map(|(_, interval)| check_interval(context, interval));
    let mut scans = stream::iter(scans).buffer_unordered(SCANS_IN_FLIGHT);
    let mut all = Findings::new(uncheckable(context));
    while let Some(findings) = scans.try_next().await? {
        all.extend(findings);
    }
    context.progress.end();
    Ok(all)
}

/// The counter definitions in scope that have no sums.
fn uncheckable<B: Backends>(context: &RestoreContext<'_, B>) -> Vec<CounterName> {
    let counters = context.definitions().counters.iter();
    let in_scope = counters.filter(|counter| match &context.scope.counter {
        Some(name) => *name == counter.name,
        None => true,
    });
    let single = in_scope.filter(|counter| SumRule::of(&counter.granularities).is_empty());
    single.map(|counter| counter.name.clone()).collect()
}

/// The counter that a scan is within, and its sums so far.
struct Current {
    counter: Counter,
    rule: SumRule,
    differences: Differences,
}

async fn check_interval<B: Backends>(
    context: &RestoreContext<'_, B>,
    interval: TokenInterval,
) -> Result<Findings, Error> {
    let bits = context.definitions().range_bits;
    let mut findings = Findings::default();
    let mut suspects = Vec::new();
    let mut current: Option<Current> = None;
    let mut after = None;
    loop {
        let read = || context.store.scan(interval, context.level(), after.clone());
        let page = with_retries(context, Waiting::WithoutLock, read).await?;
        context
            .progress
            .advance(u64::try_from(page.cells.len()).unwrap_or(u64::MAX));
        for (name, rows) in page.foreign {
            findings.note_unnamed(&name, rows);
        }
        for (token, counter, slot, count) in page.cells {
            if !context.scope.contains(&counter, bits.range_of(token)) {
                continue;
            }
            if current.as_ref().is_none_or(|now| now.counter != counter) {
                suspects.extend(current.take().and_then(Current::suspects));
                current = begin(context.definitions(), counter.clone(), &mut findings);
            }
            match &mut current {
                Some(now) => {
                    findings.cells += 1;
                    now.differences.add(&now.rule, slot, count);
                }
                None => findings.note_unchecked(&counter.name, context.definitions()),
            }
        }
        after = page.next;
        if after.is_none() {
            suspects.extend(current.take().and_then(Current::suspects));
        }
        if after.is_none() || suspects.len() >= SUSPECTS_MAX {
            judge(context, std::mem::take(&mut suspects), &mut findings).await?;
        }
        if after.is_none() {
            return Ok(findings);
        }
        yield_now().await;
    }
}

/// Begins with a counter; none if it has no sums.
fn begin(definitions: &Definitions, counter: Counter, findings: &mut Findings) -> Option<Current> {
    let definition = definitions.counter(&counter.name.0)?;
    let rule = SumRule::of(&definition.granularities);
    if rule.is_empty() {
        return None;
    }
    findings.counters += 1;
    Some(Current {
        counter,
        rule,
        differences: Differences::default(),
    })
}

impl Current {
    /// The sums that do not agree, once all cells are added.
    fn suspects(self) -> Option<Suspect> {
        let is_any = !self.differences.is_empty();
        is_any.then(|| Suspect {
            counter: self.counter,
            rule: self.rule,
            sums: Suspects::of(self.differences),
        })
    }
}

/// A counter with sums that did not agree.
struct Suspect {
    counter: Counter,
    rule: SumRule,
    sums: Suspects,
}

/// Reads these counters again, several times, and adds what does not agree in any read.
async fn judge<B: Backends>(
    context: &RestoreContext<'_, B>,
    mut suspects: Vec<Suspect>,
    findings: &mut Findings,
) -> Result<(), Error> {
    let in_flight = context.config.restorator.requests_in_flight_max.max(1);
    for _ in 0..READS {
        if suspects.is_empty() {
            return Ok(());
        }
        context.clock.sleep(PAUSE).await;
        let reads = suspects.into_iter().map(|mut suspect| async move {
            let read = differences(context, &suspect).await?;
            suspect.sums.read_again(&read);
            Ok::<_, Error>(suspect)
        });
        let reads: Vec<_> = stream::iter(reads)
            .buffered(in_flight)
            .try_collect()
            .await?;
        suspects = reads;
        suspects.retain(|suspect| !suspect.sums.is_empty());
    }
    for suspect in &suspects {
        for (slot, verdict) in suspect.sums.verdicts() {
            let part = suspect.rule.part_of(slot.granularity);
            let range = context
                .definitions()
                .range_bits
                .range_of(suspect.counter.token());
            findings.add(range, &suspect.counter, (slot, part), verdict);
        }
    }
    Ok(())
}

/// The sums of a counter that do not agree as it is read now.
async fn differences<B: Backends>(
    context: &RestoreContext<'_, B>,
    suspect: &Suspect,
) -> Result<Differences, Error> {
    // In pages: a counter by minute has millions of cells.
    let token = suspect.counter.token();
    let only = TokenInterval {
        first: token,
        last: token,
    };
    let mut differences = Differences::default();
    let mut after = None;
    loop {
        let read = || context.store.scan(only, context.level(), after.clone());
        let page = with_retries(context, Waiting::WithoutLock, read).await?;
        let cells = page.cells.into_iter();
        for (_, _, slot, count) in cells.filter(|(_, counter, ..)| *counter == suspect.counter) {
            differences.add(&suspect.rule, slot, count);
        }
        after = page.next;
        if after.is_none() {
            return Ok(differences);
        }
    }
}

/// Records a doubt of each range with broken sums: readers hear of it until a restoration has verified the range.
async fn record_doubts<B: Backends>(
    context: &RestoreContext<'_, B>,
    findings: &Findings,
) -> Result<(), UserError> {
    for (range, broken) in &findings.ranges {
        let detail = format!("{broken} sums do not agree");
        let record = doubt::record(context.session, *range, DoubtCause::SumsDiffer, &detail);
        let recorded = within(context.clock, PATIENCE, record).await;
        match recorded {
            Some(recorded) => recorded?,
            None => {
                let message = format!(
                    "{} sums do not agree, and ZooKeeper did not take the doubt of range {range} in time",
                    findings.broken
                );
                let help = "see that ZooKeeper answers, and run `stitch-restorator sums` again";
                return Err(UserError::new(message, help));
            }
        }
    }
    Ok(())
}
