//! Which totals a build, or a restoration, begins with.

use stitch_common::cell::CounterName;
use stitch_common::log_history;
use stitch_common::ports::{EventLog, ObjectStore};

use super::BuildError;
use crate::manifest::{Manifest, Subject, TotalsId};
use crate::records::{Reach, RecordsError};
use crate::totals_error::TotalsError;
use crate::totals_folder::TotalsFolder;

/// Which totals to begin with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BaseChoice {
    /// The newest that can be used.
    #[default]
    Newest,
    /// None: all records are read.
    FromBeginning,
    /// These.
    Only(TotalsId),
}

/// What a base is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// What is to be built.
    pub wanted: &'a Subject,
    /// The records that can be read.
    pub reach: &'a Reach,
    /// Counters of `wanted` that the base need not have.
    pub added: &'a [CounterName],
    /// Whether nobody has chosen the wanted cut: archive and log end there.
    pub is_log_end: bool,
}

impl Search<'_> {
    /// The totals that are chosen and can be the base. `notes` says which were passed over, and why: the newest, too, if records
    /// can be read since older ones and not since them. The cut of the newest need not be the highest in every partition.
    ///
    /// # Errors
    /// The store; the chosen totals are missing, or cannot be used; the newest lack other counters than the added ones, or, at
    /// the log's end, count records above it: the log has lost them, or is another one; or Kafka does not answer.
    pub async fn find<S: ObjectStore, L: EventLog>(
        &self,
        folder: &TotalsFolder<S>,
        log: &L,
        choice: &BaseChoice,
        notes: &mut Vec<String>,
    ) -> Result<Option<Manifest>, BuildError> {
        let definitions = &self.wanted.definitions;
        let is_unknown = |name: &&CounterName| definitions.counter(&name.0).is_none();
        if let Some(unknown) = self.added.iter().find(is_unknown) {
            return Err(not_added(unknown, "the configuration has no such counter"));
        }
        let candidates = match choice {
            BaseChoice::FromBeginning => return Ok(None),
            BaseChoice::Only(id) => {
                let chosen = folder.manifest(id).await?;
                vec![chosen.ok_or_else(|| BuildError::NoSuchTotals(id.clone()))?]
            }
            BaseChoice::Newest => {
                let list = folder.list().await?;
                for (id, error) in &list.unreadable {
                    notes.push(format!("the totals {id} are passed over: {error}"));
                }
                list.totals
            }
        };
        self.choose(folder, log, choice, candidates, notes).await
    }

    /// The newest of `candidates` that can be used.
    async fn choose<S: ObjectStore, L: EventLog>(
        &self,
        folder: &TotalsFolder<S>,
        log: &L,
        choice: &BaseChoice,
        candidates: Vec<Manifest>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Manifest>, BuildError> {
        let (wanted, added) = (self.wanted, self.added);
        let mut in_a_gap = None;
        for base in candidates.into_iter().rev() {
            let lacking = wanted.definitions.only_adds_to(&base.subject.definitions);
            let lacking = lacking.unwrap_or_default();
            let mut as_theirs = wanted.clone();
            if !lacking.is_empty() {
                as_theirs.definitions = base.subject.definitions.clone();
            }
            let why = match base.subject.differs_as_base_of(&as_theirs) {
                None => replaced(log, &base).await?,
                difference => difference,
            };
            if let Some(why) = why {
                if let BaseChoice::Only(id) = choice {
                    let name = folder.totals(id);
                    return Err(TotalsError::Unusable { name, why }.into());
                }
                self.refuse_shorter_log(&base.subject, &as_theirs)?;
                notes.push(format!("the totals {} are passed over: {why}", base.id));
                continue;
            }
            if let Some(known) = added.iter().find(|name| !lacking.contains(name)) {
                return Err(not_added(known, "the newest totals have it already"));
            }
            if lacking.iter().all(|name| added.contains(name)) {
                let from = self.reach.start_behind(&base.subject.cut, &wanted.cut);
                let Err(gap) = self.reach.spans(&from, &wanted.cut) else {
                    return Ok(Some(base));
                };
                notes.push(format!("the totals {} are passed over: {gap}", base.id));
                in_a_gap.get_or_insert(base);
                continue;
            }
            if in_a_gap.is_some() {
                continue;
            }
            let (id, counters) = (base.id, lacking);
            return Err(BuildError::Lacking { id, counters });
        }
        if in_a_gap.is_some() {
            // The gap is reported by who reads the records.
            return Ok(in_a_gap);
        }
        match added.first() {
            Some(counter) => Err(not_added(counter, "there are no totals to add it to")),
            None => Ok(None),
        }
    }

    /// Refuses a log that ends below the cut of totals of itself. Without them it would be counted as if what it has were all
    /// that there ever was.
    fn refuse_shorter_log(&self, base: &Subject, wanted: &Subject) -> Result<(), RecordsError> {
        if !self.is_log_end || base.differs_from(wanted).is_some() {
            return Ok(());
        }
        match base.counts_above(&wanted.cut) {
            None => Ok(()),
            Some((partition, counted)) => Err(RecordsError::Shorter {
                partition,
                end: wanted.cut.of(partition),
                counted,
            }),
        }
    }
}

/// Why these totals count what the log has not any more, in a few words: it has lost its end, and the offsets belong to other
/// records now.
pub(super) async fn replaced<L: EventLog>(
    log: &L,
    totals: &Manifest,
) -> Result<Option<String>, RecordsError> {
    let replaced = log_history::replaced(log, &totals.last_records).await?;
    Ok(replaced.map(|(partition, offset)| {
        format!("the log has lost the record at offset {offset} of partition {partition}, which they count")
    }))
}

fn not_added(counter: &CounterName, why: &'static str) -> BuildError {
    let counter = counter.clone();
    BuildError::NotAdded { counter, why }
}
