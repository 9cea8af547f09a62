//! Which totals a build, or a restoration, begins with.

use stitch_common::cell::CounterName;
use stitch_common::ports::ObjectStore;

use super::BuildError;
use crate::manifest::{Manifest, Subject, TotalsId};
use crate::records::Reach;
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

/// The totals that are chosen and can be the base of `wanted`, which has the counters `added` besides. `notes` says which
/// were passed over, and why: the newest, too, if `reach` has the records since older ones and not since them. The cut of the
/// newest need not be the highest in every partition.
///
/// # Errors
/// The store; the chosen totals are missing, or cannot be used; the newest lack other counters than `added`.
pub async fn find<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    choice: &BaseChoice,
    wanted: &Subject,
    reach: &Reach,
    added: &[CounterName],
    notes: &mut Vec<String>,
) -> Result<Option<Manifest>, BuildError> {
    let refused = |counter: &CounterName, why| {
        let counter = counter.clone();
        Err(BuildError::NotAdded { counter, why })
    };
    let is_unknown = |name: &&CounterName| wanted.definitions.counter(&name.0).is_none();
    if let Some(unknown) = added.iter().find(is_unknown) {
        return refused(unknown, "the configuration has no such counter");
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
    let mut in_a_gap = None;
    for base in candidates.into_iter().rev() {
        let lacking = wanted.definitions.only_adds_to(&base.subject.definitions);
        let lacking = lacking.unwrap_or_default();
        let mut as_theirs = wanted.clone();
        if !lacking.is_empty() {
            as_theirs.definitions = base.subject.definitions.clone();
        }
        if let Some(why) = base.subject.differs_as_base_of(&as_theirs) {
            if let BaseChoice::Only(id) = choice {
                let name = folder.totals(id);
                return Err(TotalsError::Unusable { name, why }.into());
            }
            notes.push(format!("the totals {} are passed over: {why}", base.id));
            continue;
        }
        if let Some(known) = added.iter().find(|name| !lacking.contains(name)) {
            return refused(known, "the newest totals have it already");
        }
        if lacking.iter().all(|name| added.contains(name)) {
            let mut from = reach.counted_from(&wanted.cut);
            from.0.extend(&base.subject.cut.0);
            let Err(gap) = reach.spans(&from, &wanted.cut) else {
                return Ok(Some(base));
            };
            notes.push(format!("the totals {} are passed over: {gap}", base.id));
            in_a_gap.get_or_insert(base);
            continue;
        }
        if in_a_gap.is_some() {
            continue;
        }
        let id = base.id;
        return Err(BuildError::Lacking {
            id,
            counters: lacking,
        });
    }
    if in_a_gap.is_some() {
        // The gap is reported by who reads the records.
        return Ok(in_a_gap);
    }
    match added.first() {
        Some(counter) => refused(counter, "there are no totals to add it to"),
        None => Ok(None),
    }
}
