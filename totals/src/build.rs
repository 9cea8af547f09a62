//! Builds totals at a cut: from earlier totals and the records since, or from all records; and verifies totals by
//! building them again.

mod contributions;
mod recount;

use stitch_common::cell::CounterName;
use stitch_common::clock::Clock;
use stitch_common::definition::Definitions;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{EventLog, ObjectStore};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;

use crate::manifest::{
    Account, FORMAT, LateCounter, Manifest, SourceKind, SourceSpan, Subject, TotalsId,
};
use crate::records::{Reach, Records, RecordsError};
use crate::sorted::counter_names::CounterNames;
use crate::sorted::merge::Merge;
use crate::sorted::sorter::{LocalCells, Sorter};
use crate::sorted::spill_folder::SpillFolder;
use crate::sorted::{CellTotal, SortedCells};
use crate::totals_error::TotalsError;
use crate::totals_file::reader::{ALL_TOKENS, TotalsReader};
use crate::totals_file::writer::TotalsWriter;
use crate::totals_folder::TotalsFolder;
use contributions::{Contributions, Pass, Tally};

pub use recount::{Recount, verify};

/// What to build, and with what.
#[derive(Debug)]
pub struct BuildRequest<'a> {
    pub namespace: &'a str,
    /// Kafka's id of the cluster.
    pub cluster: &'a str,
    pub topic: &'a str,
    pub definitions: &'a Definitions,
    /// Where counting begins, of the partitions of which that is known.
    pub origins: Offsets,
    pub base: BaseChoice,
    /// A counter that the base may lack.
    pub added: Option<&'a CounterName>,
    /// Bytes of contributions in memory.
    pub memory_bytes_max: usize,
    pub spill: &'a SpillFolder,
}

/// Which totals to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BaseChoice {
    /// The newest that can be used.
    Newest,
    /// None: all records are read.
    FromBeginning,
}

/// The result of a build.
#[derive(Debug)]
pub struct Built {
    pub manifest: Manifest,
    /// Whether there were none of this name.
    pub is_new: bool,
    pub records: u64,
    pub notes: Vec<String>,
}

/// Why totals cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Totals(#[from] TotalsError),
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The newest totals lack counters.
    #[error("the newest totals, {id}, lack the counters {}", names(counters))]
    Lacking {
        id: TotalsId,
        counters: Vec<CounterName>,
    },
    /// There is no such counter, or no totals that lack it.
    #[error("--counter {}: {why}", counter.0)]
    NotAdded {
        counter: CounterName,
        why: &'static str,
    },
    /// There are no such totals.
    #[error("there are no totals {0}")]
    NoSuchTotals(TotalsId),
}

fn names(counters: &[CounterName]) -> String {
    let names: Vec<_> = counters.iter().map(|counter| &*counter.0).collect();
    names.join(" and ")
}

impl From<BuildError> for UserError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Totals(error) => error.into(),
            BuildError::Records(error) => error.into(),
            BuildError::Lacking { .. } => Self::new(
                error,
                "count it from the beginning: stitch-totals build --counter NAME, one after the other, or --from-beginning for all",
            ),
            BuildError::NotAdded { .. } => Self::new(
                error,
                "see stitch-totals list, and the counters of the configuration",
            ),
            BuildError::NoSuchTotals(_) => Self::new(error, "see stitch-totals list"),
        }
    }
}

impl From<crate::sorted::spill_folder::SpillError> for BuildError {
    fn from(error: crate::sorted::spill_folder::SpillError) -> Self {
        Self::Totals(error.into())
    }
}

/// What is to be read and merged.
struct Work {
    subject: Subject,
    base: Option<Manifest>,
    passes: Vec<Pass>,
    notes: Vec<String>,
}

/// Builds totals at the cut that archive and log allow now.
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
    let reach = records.reach().await?;
    let work = plan(folder, &reach, request).await?;
    let id = work.subject.id();
    if let Some(manifest) = folder.manifest(&id).await? {
        return Ok(Built {
            manifest,
            is_new: false,
            records: 0,
            notes: work.notes,
        });
    }
    let names = CounterNames::new(request.definitions);
    let (mut contributions, tally) =
        add_up(records, &reach, request, &work.passes, progress).await?;
    let local = std::mem::take(&mut contributions);
    let mut streams: Vec<_> = local.into_iter().map(TotalsCells::Local).collect();
    if let Some(base) = &work.base {
        let base = TotalsReader::new(folder, base, &names, ALL_TOKENS);
        streams.push(TotalsCells::Base(Box::new(base)));
    }
    let bits = request.definitions.range_bits;
    let mut writer = TotalsWriter::new(folder, &id, &names, bits, request.spill);
    let mut merge = Merge::new(streams);
    progress.begin("writing totals", "cells", None);
    while let Some(cell) = merge.next().await? {
        writer.push(&cell).await?;
        progress.advance(1);
    }
    progress.end();
    let written = writer.finish().await?;
    let accounts = accounts(&names, &tally, work.base.as_ref());
    check_accounts(&names, &accounts, &written.sums)?;
    let based_on = work.base.iter().flat_map(SourceSpan::of_base);
    let read = work.passes.iter().flat_map(|pass| pass.spans.clone());
    let manifest = Manifest {
        format: FORMAT,
        id,
        made_at: clock.wall().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        sources: based_on.chain(read).collect(),
        accounts,
        rows: written.rows(),
        digest: written.digest(),
        files: written.files,
        subject: work.subject,
    };
    folder.put_manifest(&manifest).await?;
    Ok(Built {
        manifest,
        is_new: true,
        records: tally.records,
        notes: work.notes,
    })
}

fn subject_of(request: &BuildRequest<'_>, cut: Offsets) -> Subject {
    Subject {
        namespace: request.namespace.to_owned(),
        cluster: request.cluster.to_owned(),
        topic: request.topic.to_owned(),
        definitions: request.definitions.clone(),
        from: request.origins.clone(),
        later: Vec::new(),
        cut,
    }
}

fn only(definitions: &Definitions, counter: &CounterName) -> Definitions {
    let mut definitions = definitions.clone();
    definitions.counters.retain(|known| known.name == *counter);
    definitions
}

async fn plan<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    reach: &Reach,
    request: &BuildRequest<'_>,
) -> Result<Work, BuildError> {
    let mut subject = subject_of(request, reach.end());
    let mut notes = Vec::new();
    let base = match request.base {
        BaseChoice::FromBeginning => None,
        BaseChoice::Newest => newest(folder, &subject, request, &mut notes).await?,
    };
    let begin = |partition: Partition| -> Offset {
        let known = request.origins.0.get(&partition).copied();
        known.unwrap_or_else(|| reach.begin(partition))
    };
    let partitions = subject.cut.0.keys().copied();
    let mut from = Offsets(
        partitions
            .map(|partition| (partition, begin(partition)))
            .collect(),
    );
    let mut start = from.clone();
    let mut passes = Vec::new();
    if let Some(base) = &base {
        for (partition, cut) in &base.subject.cut.0 {
            start.0.insert(*partition, *cut);
            from.0.insert(*partition, base.subject.from.of(*partition));
        }
        subject.later.clone_from(&base.subject.later);
        if let Some(added) = request.added {
            passes.extend(pass_of_added(
                reach,
                request,
                base,
                added,
                &from,
                &mut subject,
                &mut notes,
            ));
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
        notes,
    })
}

/// Reads the past of an added counter, up to the base's cut. If it cannot be read, the counter is counted from there on.
fn pass_of_added(
    reach: &Reach,
    request: &BuildRequest<'_>,
    base: &Manifest,
    added: &CounterName,
    from: &Offsets,
    subject: &mut Subject,
    notes: &mut Vec<String>,
) -> Option<Pass> {
    match reach.spans(from, &base.subject.cut) {
        Ok(spans) => Some(Pass {
            spans,
            definitions: only(request.definitions, added),
        }),
        Err(error) => {
            notes.push(format!(
                "{} is counted from the cut of the totals {} on: {error}",
                added.0, base.id
            ));
            subject.later.push(LateCounter {
                counter: added.clone(),
                from: base.subject.cut.clone(),
            });
            None
        }
    }
}

/// The newest totals that can be the base of `wanted`.
async fn newest<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    wanted: &Subject,
    request: &BuildRequest<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Manifest>, BuildError> {
    let list = folder.list().await?;
    for (id, error) in &list.unreadable {
        notes.push(format!("the totals {id} are passed over: {error}"));
    }
    if let Some(added) = request.added
        && request.definitions.counter(&added.0).is_none()
    {
        let counter = added.clone();
        let why = "the configuration has no such counter";
        return Err(BuildError::NotAdded { counter, why });
    }
    for base in list.totals.into_iter().rev() {
        let lacking = wanted.definitions.only_adds_to(&base.subject.definitions);
        let lacking = lacking.unwrap_or_default();
        let mut as_theirs = wanted.clone();
        if !lacking.is_empty() {
            as_theirs.definitions = base.subject.definitions.clone();
        }
        if let Some(why) = base.subject.differs_as_base_of(&as_theirs) {
            notes.push(format!("the totals {} are passed over: {why}", base.id));
            continue;
        }
        let added: Vec<_> = request.added.into_iter().cloned().collect();
        if lacking == added {
            return Ok(Some(base));
        }
        if let Some(counter) = request.added.filter(|_| lacking.is_empty()) {
            let counter = counter.clone();
            let why = "the newest totals have it already";
            return Err(BuildError::NotAdded { counter, why });
        }
        let id = base.id;
        return Err(BuildError::Lacking {
            id,
            counters: lacking,
        });
    }
    if let Some(counter) = request.added {
        let counter = counter.clone();
        let why = "there are no totals to add it to";
        return Err(BuildError::NotAdded { counter, why });
    }
    Ok(None)
}

/// Reads the records of these passes and adds up what they contribute.
async fn add_up<S: ObjectStore, L: EventLog, C: Clock>(
    records: &Records<'_, S, L, C>,
    reach: &Reach,
    request: &BuildRequest<'_>,
    passes: &[Pass],
    progress: &dyn Progress,
) -> Result<(Vec<LocalCells>, Tally), BuildError> {
    let names = CounterNames::new(request.definitions);
    let sorter = Sorter::new(request.memory_bytes_max, request.spill.clone());
    let mut contributions = Contributions::new(&names, sorter);
    for pass in passes {
        let offsets = pass.spans.iter().map(|span| span.to.0 - span.from.0);
        let total = u64::try_from(offsets.sum::<i64>()).ok();
        progress.begin("reading records", "records", total);
        contributions.begin(&pass.definitions);
        let mut reader = records.read(reach, &pass.spans).await?;
        while let Some(batch) = reader.next().await? {
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
    Ok(contributions.finish().await?)
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

/// Cells of earlier totals, or of this process.
enum TotalsCells<'a, S> {
    Base(Box<TotalsReader<'a, S>>),
    Local(LocalCells),
}

impl<S: ObjectStore> SortedCells for TotalsCells<'_, S> {
    type Error = TotalsError;

    fn current(&self) -> Option<CellTotal<'_>> {
        match self {
            Self::Base(cells) => cells.current(),
            Self::Local(cells) => cells.current(),
        }
    }

    fn step(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Base(cells) => cells.step(),
            Self::Local(cells) => Ok(cells.step()?),
        }
    }

    async fn load(&mut self) -> Result<bool, TotalsError> {
        match self {
            Self::Base(cells) => cells.load().await,
            Self::Local(cells) => Ok(cells.load().await?),
        }
    }
}

#[cfg(test)]
mod tests;
