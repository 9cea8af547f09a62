//! Which totals a build, or a restoration, begins with.

use stitch_common::cell::CounterName;
use stitch_common::ports::ObjectStore;

use super::BuildError;
use crate::manifest::{Manifest, Subject, TotalsId};
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

/// The totals that are chosen and can be the base of `wanted`, which may have the counter `added` besides. `notes` says
/// which were passed over, and why.
///
/// # Errors
/// The store; the chosen totals are missing, or cannot be used; the newest lack a counter.
pub async fn find<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    choice: &BaseChoice,
    wanted: &Subject,
    added: Option<&CounterName>,
    notes: &mut Vec<String>,
) -> Result<Option<Manifest>, BuildError> {
    if let Some(added) = added
        && wanted.definitions.counter(&added.0).is_none()
    {
        let counter = added.clone();
        let why = "the configuration has no such counter";
        return Err(BuildError::NotAdded { counter, why });
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
        let wanted_besides: Vec<_> = added.into_iter().cloned().collect();
        if lacking == wanted_besides {
            return Ok(Some(base));
        }
        if let Some(counter) = added.filter(|_| lacking.is_empty()) {
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
    if let Some(counter) = added {
        let counter = counter.clone();
        let why = "there are no totals to add it to";
        return Err(BuildError::NotAdded { counter, why });
    }
    Ok(None)
}
