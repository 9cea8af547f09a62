//! The objects of the totals of a namespace, by name. The only file that spells them.
//!
//! ```text
//! totals/v1/<namespace>/<id>/manifest.json     what they are; put last
//! totals/v1/<namespace>/<id>/range-<r>.parquet the cells of the ranges from r on, up to the next file
//! totals/v1/<namespace>/_put-if-absent         the check of the store
//! ```

use std::cmp::Reverse;

use stitch_archive::store_check;
use stitch_common::ports::{ObjectError, ObjectName, ObjectStore, Put};
use stitch_common::range::RangeId;

use crate::manifest::{Manifest, TotalsId};
use crate::totals_error::TotalsError;

const MANIFEST: &str = "manifest.json";
const CHECK: &str = "_put-if-absent";

/// The totals of one namespace in an object store.
#[derive(Clone, Debug)]
pub struct TotalsFolder<S> {
    store: S,
    folder: ObjectName,
}

/// What [`TotalsFolder::list`] finds.
#[derive(Clone, Debug, Default)]
pub struct TotalsList {
    /// Those with a manifest, the newest last.
    pub totals: Vec<Manifest>,
    /// Those whose manifest cannot be read, and why.
    pub unreadable: Vec<(TotalsId, TotalsError)>,
    /// Files without a manifest: being written, or left by a process that was killed.
    pub incomplete: Vec<TotalsId>,
}

fn folder_of(namespace: &str) -> ObjectName {
    ObjectName(format!("totals/v1/{namespace}"))
}

/// The object by which the store of the totals of `namespace` is checked.
pub fn check_name(namespace: &str) -> ObjectName {
    folder_of(namespace).join(CHECK)
}

impl<S: ObjectStore> TotalsFolder<S> {
    /// The totals of `namespace` in `store`. Reads nothing.
    pub fn new(store: S, namespace: &str) -> Self {
        Self {
            store,
            folder: folder_of(namespace),
        }
    }

    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The folder of some totals.
    pub fn totals(&self, id: &TotalsId) -> ObjectName {
        self.folder.join(id)
    }

    /// The manifest of some totals.
    pub fn manifest_name(&self, id: &TotalsId) -> ObjectName {
        self.totals(id).join(MANIFEST)
    }

    /// The file of some totals whose first range is `first`.
    pub fn file(&self, id: &TotalsId, first: RangeId) -> ObjectName {
        self.totals(id).join(format_args!("range-{first}.parquet"))
    }

    /// Checks that the store puts an object only if it is absent: of two builds that contradict each other the second would
    /// replace what the first has put.
    ///
    /// # Errors
    /// It overwrites, or cannot be written.
    pub async fn check_store(&self) -> Result<(), TotalsError> {
        let name = self.folder.join(CHECK);
        if store_check::overwrites(&self.store, &name).await? {
            return Err(TotalsError::Overwrites { name });
        }
        Ok(())
    }

    /// Reads a manifest; `None` if there is none.
    ///
    /// # Errors
    /// The store, or it is no manifest of this name.
    pub async fn manifest(&self, id: &TotalsId) -> Result<Option<Manifest>, TotalsError> {
        let name = self.manifest_name(id);
        match self.store.get(&name).await {
            Ok(content) => Manifest::decode(&name, id, &content).map(Some),
            Err(ObjectError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a manifest, whose files are there. If there is one of the same totals, that is as good.
    ///
    /// # Errors
    /// The store, or there is one of other totals.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<(), TotalsError> {
        let name = self.manifest_name(&manifest.id);
        let put = self
            .store
            .put_if_absent(&name, manifest.encode().into())
            .await;
        match put {
            Ok(Put::Created) => return Ok(()),
            // What is there counts.
            Ok(Put::Exists) | Err(ObjectError::Ambiguous { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        match (self.manifest(&manifest.id).await?, put) {
            (Some(there), _) if there.digest == manifest.digest => Ok(()),
            (Some(there), _) => Err(TotalsError::Contradicted {
                name,
                theirs: there.digest.to_string(),
                ours: manifest.digest.to_string(),
            }),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Err(ObjectError::NotFound(name).into()),
        }
    }

    /// Refuses totals of this name that a later version has made: nothing of them may be replaced.
    ///
    /// # Errors
    /// The store, or they are of a later version. Damaged ones are no error.
    pub async fn refuse_newer(&self, id: &TotalsId) -> Result<(), TotalsError> {
        match self.manifest(id).await {
            Ok(_) | Err(TotalsError::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Puts the manifest of totals that were made from every record, and whose files are there, in place of what was there.
    ///
    /// # Errors
    /// The store, or what was there is of a later version.
    pub async fn replace_manifest(&self, manifest: &Manifest) -> Result<(), TotalsError> {
        match self.manifest(&manifest.id).await {
            Ok(Some(there))
                if there.digest == manifest.digest
                    && there.files == manifest.files
                    && there.last_records == manifest.last_records =>
            {
                return Ok(());
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(TotalsError::Damaged { .. }) => {
                self.store.delete(&self.manifest_name(&manifest.id)).await?;
            }
            Err(error) => return Err(error),
        }
        self.put_manifest(manifest).await
    }

    /// Lists the totals. Some that were written a moment ago may be missing.
    ///
    /// # Errors
    /// The store's. A manifest that cannot be read is no error.
    pub async fn list(&self) -> Result<TotalsList, TotalsError> {
        let entries = self.store.list(&self.folder, None).await?;
        let prefix = format!("{}/", self.folder);
        let mut ids: Vec<(TotalsId, bool)> = Vec::new();
        for entry in &entries {
            let inside = entry.name.0.strip_prefix(&prefix);
            let Some((id, file)) = inside.and_then(|path| path.split_once('/')) else {
                continue;
            };
            let id = TotalsId(id.to_owned());
            if ids.last().is_none_or(|(last, _)| *last != id) {
                ids.push((id, false));
            }
            if let (MANIFEST, Some((_, has_manifest))) = (file, ids.last_mut()) {
                *has_manifest = true;
            }
        }
        let mut list = TotalsList::default();
        for (id, has_manifest) in ids {
            if !has_manifest {
                list.incomplete.push(id);
                continue;
            }
            match self.manifest(&id).await {
                Ok(Some(manifest)) => list.totals.push(manifest),
                // Deleted since it was listed.
                Ok(None) => {}
                Err(error @ TotalsError::Store(_)) => return Err(error),
                Err(error) => list.unreadable.push((id, error)),
            }
        }
        list.totals.sort_by(|a, b| age(a).cmp(&age(b)));
        Ok(list)
    }

    /// Deletes totals: the manifest first, so that at no time there is one whose files are missing.
    ///
    /// # Errors
    /// The store's. May be repeated.
    pub async fn delete(&self, id: &TotalsId) -> Result<(), TotalsError> {
        self.store.delete(&self.manifest_name(id)).await?;
        for entry in self.store.list(&self.totals(id), None).await? {
            self.store.delete(&entry.name).await?;
        }
        Ok(())
    }
}

/// The order of totals, the newest last: by what they cover, and at the same cut by what they count of it. A counter that is
/// added while no event comes has the cut of the totals that lack it.
fn age(totals: &Manifest) -> (u64, usize, Reverse<usize>, &TotalsId) {
    let subject = &totals.subject;
    let (counters, later) = (subject.definitions.counters.len(), subject.later.len());
    (subject.span(), counters, Reverse(later), &totals.id)
}

/// Of totals in order, the newest last: those to delete so that the newest `keep` of each namespace that had this name, and
/// of each topic, and those that are needed are left; and those that are left. How much an earlier namespace has counted says
/// nothing about which totals of this one can be used.
pub fn old_totals(
    totals: &[Manifest],
    keep: usize,
    is_needed: impl Fn(&TotalsId) -> bool,
) -> (Vec<TotalsId>, Vec<TotalsId>) {
    let (mut old, mut kept) = (Vec::new(), Vec::new());
    for (at, one) in totals.iter().enumerate() {
        let newer = totals[at + 1..].iter();
        let newer = newer.filter(|other| other.subject.has_log_of(&one.subject));
        let place = if newer.count() < keep || is_needed(&one.id) {
            &mut kept
        } else {
            &mut old
        };
        place.push(one.id.clone());
    }
    (old, kept)
}

#[cfg(test)]
mod tests;
