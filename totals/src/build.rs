//! Builds totals at a cut: from earlier totals and the records since, or from all records; and verifies totals by
//! building them again.

pub mod base;
mod cells;
mod error;
mod last_records;
mod recount;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use stitch_common::cell::CounterName;
use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{EventLog, Fingerprint, ObjectStore};
use stitch_common::progress::Progress;

use crate::cluster::{ArchivedWork, Cluster, ClusterCells, NoCells, NoCluster};
use crate::contributions::{Contributions, Pass, Tally};
use crate::manifest::{
    Account, FORMAT, LateCounter, Manifest, NamespaceInstance, SourceKind, SourceSpan, Subject,
};
use crate::records::{Reach, RecordBatch, Records};
use crate::sorted::counter_names::CounterNames;
use crate::sorted::merge::Merge;
use crate::sorted::sorter::{LocalCells, Sorter};
use crate::sorted::spill_folder::SpillFolder;
use crate::sorted::tokens::TokenSelection;
use crate::totals_cells::TotalsCells;
use crate::totals_error::TotalsError;
use crate::totals_file::reader::TotalsReader;
use crate::totals_file::writer::TotalsWriter;
use crate::totals_folder::TotalsFolder;
use cells::BuildCells;

pub use base::BaseChoice;
pub use error::BuildError;
pub use recount::{Recount, verify};

/// What to build, and with what.
#[derive(Debug)]
pub struct BuildRequest<'a> {
    pub namespace: &'a str,
    pub instance: &'a NamespaceInstance,
    /// Kafka's id of the cluster.
    pub cluster: &'a str,
    pub topic: &'a str,
    pub definitions: &'a Definitions,
    /// What can be read, and where counting begins.
    pub reach: &'a Reach,
    pub base: BaseChoice,
    /// The cut of the totals; by default the last one that archive and log allow.
    pub cut: Option<Offsets>,
    /// The counters that the base lacks: their past is read.
    pub added: &'a [CounterName],
    /// Bytes of contributions in memory.
    pub memory_bytes_max: usize,
    pub spill: &'a SpillFolder,
}

/// The result of a build.
#[derive(Debug)]
pub struct Built {
    pub manifest: Manifest,
    /// Whether they were written: there were none of this name, or they were made from the beginning in place of what was
    /// there.
    pub is_new: bool,
    pub records: u64,
    /// A time at which every event in the log was below the cut: that of the manifest, or later.
    pub as_of: Option<DateTime<Utc>>,
    pub notes: Vec<String>,
}

/// What is to be read and merged.
struct Work {
    subject: Subject,
    base: Option<Manifest>,
    passes: Vec<Pass>,
    /// Whether totals of the same name are replaced by these.
    replaces: bool,
    as_of: Option<DateTime<Utc>>,
    notes: Vec<String>,
}

/// What was read here.
struct ReadHere {
    cells: Vec<LocalCells>,
    tally: Tally,
    /// The last record of each partition: of those that were read from the log, until it is completed.
    last_records: BTreeMap<Partition, Fingerprint>,
}

/// Builds totals at the cut that is wanted.
///
/// # Errors
/// Nothing was put under the name of the totals that counts: no manifest.
pub async fn build<S: ObjectStore, L: EventLog, C: Clock>(
    folder: &TotalsFolder<S>,
    records: &Records<'_, S, L, C>,
    request: &BuildRequest<'_>,
    clock: &C,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    build_on(
        None::<&NoCluster>,
        folder,
        records,
        request,
        clock,
        progress,
    )
    .await
}

/// As [`build`]; a cluster, if there is one, adds up what is archived. The totals are the same.
///
/// # Errors
/// As [`build`]; and the cluster's.
pub async fn build_on<S: ObjectStore, L: EventLog, C: Clock, G: Cluster>(
    cluster: Option<&G>,
    folder: &TotalsFolder<S>,
    records: &Records<'_, S, L, C>,
    request: &BuildRequest<'_>,
    clock: &C,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let reach = request.reach;
    let mut work = plan(folder, records.log(), request).await?;
    let as_of = work.as_of;
    let id = work.subject.id();
    if work.replaces {
        folder.refuse_newer(&id).await?;
    } else if let Some(manifest) = folder.manifest(&id).await? {
        if base::replaced(records.log(), &manifest).await?.is_none() {
            return Ok(Built {
                as_of: as_of.or(manifest.as_of),
                manifest,
                is_new: false,
                records: 0,
                notes: work.notes,
            });
        }
        work.replaces = true;
    }
    folder.check_store().await?;
    let names = CounterNames::new(request.definitions);
    let (archived, here) = match cluster {
        Some(_) => divide(&work.passes),
        None => (Vec::new(), work.passes.clone()),
    };
    // What is in the log first: Kafka may delete it while a cluster works.
    let mut read = add_up(records, reach, request, &here, progress).await?;
    last_records::complete(&mut read.last_records, records, reach, &work).await?;
    let archived = ArchivedWork {
        id: &id,
        kafka: request.cluster,
        topic: request.topic,
        names: &names,
        reach,
        passes: &archived,
        begun_ms: clock.wall().timestamp_millis(),
    };
    let Some(cluster) = cluster.filter(|_| !archived.passes.is_empty()) else {
        return publish(
            folder,
            request,
            &names,
            work,
            (read, None::<NoCells>),
            clock,
            progress,
        )
        .await;
    };
    progress.begin("adding up the archive on the cluster", "records", None);
    let added = cluster.add_up(&archived).await;
    progress.end();
    let (built, is_resumable) = match added {
        Ok(cells) => {
            let read = (read, Some(cells));
            let built = publish(folder, request, &names, work, read, clock, progress).await;
            let is_resumable = !matches!(built, Ok(_) | Err(BuildError::Cluster(_)));
            (built, is_resumable)
        }
        Err(error) => (Err(BuildError::Cluster(error)), true),
    };
    cluster.clean_up(&archived, is_resumable).await;
    built
}

/// Divides passes into what a cluster adds up, and what is read here.
fn divide(passes: &[Pass]) -> (Vec<Pass>, Vec<Pass>) {
    let part = |of_archive: bool| {
        let passes = passes.iter().cloned().map(|mut pass| {
            pass.spans
                .retain(|span| (span.source == SourceKind::Archive) == of_archive);
            pass
        });
        passes.filter(|pass| !pass.spans.is_empty()).collect()
    };
    (part(true), part(false))
}

/// Merges what was read with the base, writes the files, and puts the manifest if they add up to what was read.
async fn publish<S: ObjectStore, G: ClusterCells>(
    folder: &TotalsFolder<S>,
    request: &BuildRequest<'_>,
    names: &CounterNames,
    work: Work,
    (read, cluster): (ReadHere, Option<G>),
    clock: &impl Clock,
    progress: &dyn Progress,
) -> Result<Built, BuildError> {
    let id = work.subject.id();
    let ReadHere {
        cells: local,
        mut tally,
        last_records,
    } = read;
    let mut streams: Vec<BuildCells<'_, S, G>> = Vec::new();
    if let Some(cells) = cluster {
        tally.add(cells.tally());
        streams.push(BuildCells::Cluster(Box::new(cells)));
    }
    let local = local.into_iter().map(TotalsCells::Local);
    streams.extend(local.map(BuildCells::Totals));
    if let Some(base) = &work.base {
        let base = TotalsReader::new(folder, base, names, TokenSelection::ALL);
        streams.push(BuildCells::Totals(TotalsCells::Base(Box::new(base))));
    }
    let bits = request.definitions.range_bits;
    let mut writer = TotalsWriter::new(folder, &id, names, bits, request.spill);
    let mut merge = Merge::new(streams);
    // How many cells there will be is not known, and where they are in the scan is.
    let ranges = u64::try_from(bits.ranges().count()).ok();
    progress.begin("writing totals", "ranges", ranges);
    let mut written = 0;
    while let Some(cell) = merge.next().await? {
        let range = u64::from(bits.range_of(cell.token).0);
        progress.advance(range.saturating_sub(written));
        written = range.max(written);
        writer.push(&cell).await?;
    }
    progress.advance(ranges.unwrap_or_default().saturating_sub(written));
    progress.end();
    if let Some(BuildCells::Cluster(cells)) = merge.streams().first() {
        cells.check().map_err(BuildError::Cluster)?;
    }
    let written = writer.finish().await?;
    let accounts = accounts(names, &tally, work.base.as_ref());
    check_accounts(names, &accounts, &written.sums)?;
    let based_on = work.base.iter().flat_map(SourceSpan::of_base);
    let read = work.passes.iter().flat_map(|pass| pass.spans.clone());
    let manifest = Manifest {
        format: FORMAT,
        id,
        made_at: clock.wall().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        as_of: work.as_of,
        last_records,
        sources: based_on.chain(read).collect(),
        accounts,
        rows: written.rows(),
        digest: written.digest(),
        files: written.files,
        subject: work.subject,
    };
    if work.replaces {
        folder.replace_manifest(&manifest).await?;
    } else {
        folder.put_manifest(&manifest).await?;
    }
    Ok(Built {
        manifest,
        is_new: true,
        records: tally.records,
        as_of: work.as_of,
        notes: work.notes,
    })
}

fn subject_of(request: &BuildRequest<'_>, cut: Offsets) -> Subject {
    Subject {
        namespace: request.namespace.to_owned(),
        instance: request.instance.clone(),
        cluster: request.cluster.to_owned(),
        topic: request.topic.to_owned(),
        definitions: request.definitions.clone(),
        from: request.reach.origins.clone(),
        later: Vec::new(),
        cut,
    }
}

fn only(definitions: &Definitions, counters: &[CounterName]) -> Definitions {
    let mut definitions = definitions.clone();
    let known = &mut definitions.counters;
    known.retain(|counter| counters.contains(&counter.name));
    definitions
}

async fn plan<S: ObjectStore, L: EventLog>(
    folder: &TotalsFolder<S>,
    log: &L,
    request: &BuildRequest<'_>,
) -> Result<Work, BuildError> {
    let reach = request.reach;
    // A cut that is chosen is not the log's end.
    let as_of = request.cut.is_none().then_some(reach.asked_at);
    let cut = request.cut.clone().unwrap_or_else(|| reach.end());
    let mut subject = subject_of(request, cut);
    let mut notes = Vec::new();
    let base = match request.base {
        BaseChoice::FromBeginning => None,
        BaseChoice::Newest | BaseChoice::Only(_) => {
            let search = base::Search {
                wanted: &subject,
                reach,
                added: request.added,
                is_log_end: request.cut.is_none(),
            };
            search.find(folder, log, &request.base, &mut notes).await?
        }
    };
    let mut from = reach.counted_from(&subject.cut);
    let mut start = from.clone();
    let mut passes = Vec::new();
    if let Some(base) = &base {
        start = reach.start_behind(&base.subject.cut, &subject.cut);
        for (partition, cut) in &base.subject.cut.0 {
            if start.of(*partition) == *cut {
                from.0.insert(*partition, base.subject.from.of(*partition));
            }
        }
        subject.later.clone_from(&base.subject.later);
        if !request.added.is_empty() {
            let (subject, notes) = (&mut subject, &mut notes);
            passes.extend(pass_of_added(reach, request, base, &from, subject, notes));
        }
    }
    subject.from = from;
    passes.push(Pass {
        spans: reach.spans(&start, &subject.cut)?,
        definitions: request.definitions.clone(),
    });
    Ok(Work {
        subject,
        base,
        passes,
        // Who asks for this does not trust what is there.
        replaces: request.base == BaseChoice::FromBeginning,
        as_of,
        notes,
    })
}

/// Reads the past of the added counters, up to the base's cut. If it cannot be read, they are counted from there on.
fn pass_of_added(
    reach: &Reach,
    request: &BuildRequest<'_>,
    base: &Manifest,
    from: &Offsets,
    subject: &mut Subject,
    notes: &mut Vec<String>,
) -> Option<Pass> {
    let cut = &base.subject.cut;
    let past =
        |(partition, cut): (&Partition, &Offset)| (*partition, from.of(*partition).min(*cut));
    let past = Offsets(cut.0.iter().map(past).collect());
    match reach.spans(&past, cut) {
        Ok(spans) => Some(Pass {
            spans,
            definitions: only(request.definitions, request.added),
        }),
        Err(error) => {
            for counter in request.added {
                notes.push(format!(
                    "{} is counted from the cut of the totals {} on: {error}",
                    counter.0, base.id
                ));
                subject.later.push(LateCounter {
                    counter: counter.clone(),
                    from: reach.start_behind(cut, cut),
                });
            }
            None
        }
    }
}

/// Reads the records of these passes and adds up what they contribute.
async fn add_up<S: ObjectStore, L: EventLog, C: Clock>(
    records: &Records<'_, S, L, C>,
    reach: &Reach,
    request: &BuildRequest<'_>,
    passes: &[Pass],
    progress: &dyn Progress,
) -> Result<ReadHere, BuildError> {
    let names = CounterNames::new(request.definitions);
    let sorter = Sorter::new(request.memory_bytes_max, request.spill.clone());
    let mut contributions = Contributions::new(&names, sorter);
    let mut last_records = BTreeMap::new();
    for pass in passes {
        let offsets = pass.spans.iter().map(|span| span.to.0 - span.from.0);
        let total = u64::try_from(offsets.sum::<i64>()).ok();
        progress.begin("reading records", "records", total);
        contributions.begin(&pass.definitions);
        let mut reader = records.read(reach, &pass.spans).await?;
        while let Some(batch) = reader.next().await? {
            if let RecordBatch::Log { partition, records } = &batch
                && let Some(last) = records.last()
            {
                last_records::keep(&mut last_records, *partition, Fingerprint::of(last));
            }
            let before = contributions.records();
            for value in batch.values() {
                contributions.add(value);
                if contributions.is_full() {
                    contributions.spill().await?;
                }
            }
            progress.advance(contributions.records() - before);
        }
        progress.end();
        records.check_again(&pass.spans).await?;
    }
    let (cells, tally) = contributions.finish().await?;
    Ok(ReadHere {
        cells,
        tally,
        last_records,
    })
}

fn accounts(names: &CounterNames, tally: &Tally, base: Option<&Manifest>) -> Vec<Account> {
    let account = |(rank, counter): (usize, &CounterName)| {
        let accounts = base.into_iter().flat_map(|base| &base.accounts);
        let earlier = accounts
            .into_iter()
            .find(|account| account.counter == *counter);
        Account {
            counter: counter.clone(),
            contributions: tally.contributions[rank]
                + earlier.map_or(0, |earlier| earlier.contributions),
            sum: tally.sums[rank].wrapping_add(earlier.map_or(0, |earlier| earlier.sum)),
        }
    };
    names.iter().enumerate().map(account).collect()
}

/// Checks that what was written adds up to what was read, whatever came between.
fn check_accounts(
    names: &CounterNames,
    accounts: &[Account],
    written: &[i64],
) -> Result<(), TotalsError> {
    let mut pairs = names.iter().zip(accounts).zip(written);
    match pairs.find(|((_, account), written)| account.sum != **written) {
        None => Ok(()),
        Some(((counter, account), written)) => Err(TotalsError::Inconsistent(format!(
            "the events of {} add up to {}, and its cells to {written}",
            counter.0, account.sum
        ))),
    }
}

impl SourceSpan {
    /// What totals at a cut stand for, as a source.
    fn of_base(base: &Manifest) -> impl Iterator<Item = Self> {
        base.subject.cut.0.iter().map(|(partition, to)| Self {
            partition: *partition,
            from: base.subject.from.of(*partition),
            to: *to,
            source: SourceKind::Totals(base.id.clone()),
        })
    }
}

#[cfg(test)]
mod tests;
