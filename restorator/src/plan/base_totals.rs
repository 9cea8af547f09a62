//! What an audit starts from: totals at an earlier cut, or none, and what was counted since, up to the base cut. So an audit
//! costs what has happened since the last one, and the log need not reach back further than the base, or the archive.
//!
//! An audit of everything leaves totals at its own base cut behind, and starts from them. Where the totals that it has taken
//! are almost as new, it does not: writing all cells again would cost more than reading a few records once more.

use std::cell::RefCell;

use stitch_archive::identity;
use stitch_archive::reader::Archive;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{Backends, Stores};
use stitch_common::scope::Scope;
use stitch_common::user_error::UserError;
use stitch_expected::base_totals::BaseTotals;
use stitch_expected::expected_error::ExpectedError;
use stitch_expected::parts::add_records;
use stitch_expected::totals_by_range::TotalsByRange;
use stitch_protocol::origin_node;
use stitch_totals::build::{self, BaseChoice, BuildRequest, base};
use stitch_totals::manifest::{Manifest, NamespaceInstance, Subject};
use stitch_totals::records::{Reach, Records};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::totals_folder::TotalsFolder;

use crate::context::{PATIENCE, RestoreContext};
use crate::error::Error;
use crate::plan::base_cut::BaseCut;
use crate::rule;

/// What the events below a base cut add up to, beside the base of the audit.
pub(crate) struct AddedUp {
    pub(crate) totals: RefCell<TotalsByRange>,
    /// Every event below it is in the base or in the totals, and no other.
    pub(crate) from: Offsets,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

/// The totals that an audit takes or leaves.
struct Work<'a, 'c, B: Backends> {
    context: &'a RestoreContext<'c, B>,
    reach: Reach,
    spill: SpillFolder,
    /// The cut to which all is added up.
    to: Offsets,
    notes: Vec<String>,
}

/// Totals that are left are worth their writing if at least this part of their cells is new.
const NEW_PART: u64 = 20;
/// Totals of fewer cells are always written.
const FEW_CELLS: u64 = 1_000_000;

/// Takes the base that is wanted, and adds up the records between it and `cut`.
///
/// # Errors
/// Records between both cannot be read any more, the wanted base cannot be used, or a server does not answer. Nothing was
/// locked or changed.
pub(crate) async fn add_up<B: Backends>(
    context: &RestoreContext<'_, B>,
    cut: &BaseCut,
) -> Result<AddedUp, Error> {
    let Stores { archive, totals } = context.stores;
    let cluster = &context.validated.observed.log.cluster;
    let topic = &context.config.kafka.topic;
    let archive = archive.as_ref();
    let archive = archive.map(|store| Archive::new(store.clone(), cluster, topic));
    let records = Records::new(archive.as_ref(), context.log, context.clock, PATIENCE);
    // After the cut: every partition with a checkpoint has an origin by now, and what was counted of it is missed in the log
    // if that has lost it.
    let origins = async || Ok::<_, Error>(Offsets(origin_node::read_all(context.session).await?));
    let reach = records.reach(origins).await?;
    if let Some(archive) = &archive {
        let chains: Vec<_> = reach.chains.values().cloned().collect();
        let checked = identity::check(archive, context.log, &chains).await;
        checked.map_err(|failure| Error::Refused(failure.into()))?;
    }
    let config = &context.config.totals;
    let bytes_max = u64::try_from(config.spill_bytes_max).unwrap_or(u64::MAX);
    let spill = SpillFolder::open(&config.spill, bytes_max).map_err(ExpectedError::from)?;
    let to = work_until(context.scope, cut, &reach);
    let mut work = Work {
        context,
        reach,
        spill,
        to,
        notes: Vec::new(),
    };
    let folder = totals.as_ref();
    let folder = folder.map(|store| TotalsFolder::new(store.clone(), &context.config.namespace));
    let mut from = work.reach.counted_from(&work.to);
    let mut base = None;
    if let Some(folder) = &folder
        && let Some(found) = work.base(folder, &records).await?
    {
        from = work.reach.start_behind(&found.subject.cut, &work.to);
        base = Some(BaseTotals::new(
            folder.clone(),
            found,
            context.definitions(),
        ));
    }
    let in_memory = TotalsByRange::new(
        context.definitions(),
        context.scope,
        context.memory,
        work.spill.clone(),
        |range| cut.of(range),
    );
    let added = RefCell::new(in_memory);
    let spans = work.reach.spans(&from, &work.to);
    let spans = spans.map_err(ExpectedError::from)?;
    add_records(&records, &work.reach, &spans, &added, context.progress).await?;
    let runs = work.spill.runs();
    if runs > 0 {
        work.notes.push(format!(
            "{runs} sorted runs were spilled: memory was not enough"
        ));
    }
    // Only now: what was added up before, as a member whose session was lost, had a base of its own.
    context.base.set(base);
    Ok(AddedUp {
        totals: added,
        from: work.to,
        notes: work.notes,
    })
}

/// The lowest checkpoint of each partition; where nothing was counted, where its counting begins.
fn work_until(scope: &Scope, cut: &BaseCut, reach: &Reach) -> Offsets {
    let lowest = cut.lowest(scope);
    let begins = reach.counted_from(&lowest).0.into_iter();
    let to = begins.map(|(partition, begin)| (partition, lowest.of(partition).max(begin)));
    Offsets(to.collect())
}

impl<B: Backends> Work<'_, '_, B> {
    /// The base: the totals that were chosen, or new ones made of them.
    async fn base(
        &mut self,
        folder: &TotalsFolder<B::Objects>,
        records: &Records<'_, B::Objects, B::Log, B::Clock>,
    ) -> Result<Option<Manifest>, Error> {
        let context = self.context;
        let options = context.totals;
        let record = &context.validated.definition.record;
        let wanted = Subject {
            namespace: context.config.namespace.clone(),
            instance: NamespaceInstance::new(record.generation, &record.table, &record.log),
            cluster: context.validated.observed.log.cluster.clone(),
            topic: context.config.kafka.topic.clone(),
            definitions: context.definitions().clone(),
            from: self.reach.origins.clone(),
            later: Vec::new(),
            cut: self.to.clone(),
        };
        let search = base::Search {
            wanted: &wanted,
            reach: &self.reach,
            added: &[],
            is_log_end: false,
        };
        let found = search.find(folder, context.log, &options.base, &mut self.notes);
        let found = found.await;
        let found = found.map_err(ExpectedError::from)?;
        if let Some(base) = &found {
            self.refuse_late_counters(base)?;
        }
        self.notes.push(match &found {
            Some(base) => format!("based on the totals {} of {}", base.id, base.made_at),
            None => "based on no totals: every record was read".to_owned(),
        });
        if !self.leaves_totals(found.as_ref()) {
            return Ok(found);
        }
        let base = match &found {
            Some(base) => BaseChoice::Only(base.id.clone()),
            None => BaseChoice::FromBeginning,
        };
        let request = BuildRequest {
            namespace: &wanted.namespace,
            instance: &wanted.instance,
            cluster: &wanted.cluster,
            topic: &wanted.topic,
            definitions: &wanted.definitions,
            reach: &self.reach,
            base,
            cut: Some(self.to.clone()),
            added: &[],
            memory_bytes_max: context.memory.available() / 2,
            spill: &self.spill,
        };
        let built = build::build(folder, records, &request, context.clock, context.progress).await;
        let built = built.map_err(ExpectedError::from)?;
        if built.is_new {
            let id = &built.manifest.id;
            self.notes
                .push(format!("left the totals {id} at its base cut"));
        }
        Ok(Some(built.manifest))
    }

    /// Refuses a base that counts a counter in scope from later on than the processors may have: what they counted before
    /// would be taken away as drift.
    fn refuse_late_counters(&self, base: &Manifest) -> Result<(), Error> {
        let Subject { from, later, .. } = &base.subject;
        let scope = self.context.scope;
        let in_scope = later
            .iter()
            .filter(|late| scope.has_definition(&late.counter));
        let lacking = in_scope.flat_map(|late| {
            let lacks =
                |(partition, offset): &(&Partition, &Offset)| **offset > from.of(**partition);
            let lacking = late.from.0.iter().filter(lacks);
            lacking.map(|(partition, offset)| (&late.counter, *partition, *offset))
        });
        let first = { lacking }.next();
        let Some((counter, partition, offset)) =
            first.filter(|_| rule::late_counters_are_refused())
        else {
            return Ok(());
        };
        let message = format!(
            "the totals {} count {} only from offset {offset} of partition {partition} on: what was counted of it before \
             would be taken away as drift",
            base.id, counter.0
        );
        let help = "restore the other counters, each with --counter NAME; or bring the earlier records into an archive, and \
                    count all of them: stitch-totals build --from-beginning";
        Err(Error::Refused(UserError::new(message, help)))
    }

    /// Whether totals at the base cut are worth their writing, and were not declined.
    fn leaves_totals(&self, base: Option<&Manifest>) -> bool {
        let scope = self.context.scope;
        let bits = self.context.definitions().range_bits;
        let is_everything =
            scope.covers_ranges() && bits.ranges().all(|range| scope.has_range(range));
        if !self.context.totals.leave || !is_everything {
            return false;
        }
        let Some(base) = base.filter(|base| base.rows > FEW_CELLS) else {
            return true;
        };
        let new = self.to.0.iter();
        let new = new.map(|(partition, to)| to.0 - base.subject.cut.of(*partition).0);
        u64::try_from(new.sum::<i64>()).unwrap_or(0) >= base.rows / NEW_PART
    }
}
