//! Verifies totals: builds them again from all records, and compares.

use stitch_common::clock::Clock;
use stitch_common::digest::Digest;
use stitch_common::ports::{EventLog, ObjectStore};
use stitch_common::progress::Progress;

use super::{BaseChoice, BuildError, BuildRequest, accounts, add_up, only, subject_of};
use crate::contributions::Pass;
use crate::digest::CellSum;
use crate::manifest::{Account, Manifest, Subject, TotalsId};
use crate::records::{Reach, Records, RecordsError};
use crate::sorted::SortedCells as _;
use crate::sorted::counter_names::CounterNames;
use crate::sorted::merge::Merge;
use crate::sorted::tokens::TokenSelection;
use crate::totals_error::TotalsError;
use crate::totals_file::reader::TotalsReader;
use crate::totals_folder::TotalsFolder;

/// The result of a verification.
#[derive(Debug)]
pub struct Recount {
    pub manifest: Manifest,
    /// How the totals differ from the records: a line for each difference, none if they agree.
    pub differences: Vec<String>,
    pub records: u64,
}

/// Builds the totals `id` again from all records, writes nothing, and compares.
///
/// # Errors
/// The records cannot be read any more, or a server does not answer.
pub async fn verify<S: ObjectStore, L: EventLog, C: Clock>(
    folder: &TotalsFolder<S>,
    records: &Records<'_, S, L, C>,
    request: &BuildRequest<'_>,
    id: &TotalsId,
    progress: &dyn Progress,
) -> Result<Recount, BuildError> {
    let manifest = folder.manifest(id).await?;
    let manifest = manifest.ok_or_else(|| BuildError::NoSuchTotals(id.clone()))?;
    let subject = &manifest.subject;
    let name = folder.manifest_name(id);
    let wanted = subject_of(request, subject.cut.clone());
    if let Some(why) = subject.differs_from(&wanted) {
        return Err(TotalsError::Unusable { name, why }.into());
    }
    let passes = passes(request.reach, subject)?;
    let names = CounterNames::new(&subject.definitions);
    let with_theirs = BuildRequest {
        definitions: &subject.definitions,
        base: BaseChoice::FromBeginning,
        cut: None,
        ..*request
    };
    let read = add_up(records, request.reach, &with_theirs, &passes, progress).await?;
    let mut merge = Merge::new(read.cells);
    progress.begin("adding up cells", "cells", Some(manifest.rows));
    let (mut rows, mut sum) = (0, CellSum::default());
    while let Some(cell) = merge.next().await? {
        let counter = names.name(cell.name);
        sum.add(
            counter.0.as_bytes(),
            cell.key,
            cell.slot.unpack(),
            cell.total.0,
        );
        rows += 1;
        progress.advance(1);
    }
    progress.end();
    let recounted = Recounted {
        rows,
        digest: sum.digest(),
        accounts: accounts(&names, &read.tally, None),
    };
    let mut differences = recounted.differences(&manifest);
    match read_all(folder, &manifest, &names, progress).await {
        Ok(()) => {}
        Err(error @ TotalsError::Damaged { .. }) => differences.push(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(Recount {
        manifest,
        differences,
        records: read.tally.records,
    })
}

/// Reads every file, which compares it with the manifest.
async fn read_all<S: ObjectStore>(
    folder: &TotalsFolder<S>,
    manifest: &Manifest,
    names: &CounterNames,
    progress: &dyn Progress,
) -> Result<(), TotalsError> {
    let mut cells = TotalsReader::new(folder, manifest, names, TokenSelection::ALL);
    progress.begin("reading the totals", "cells", Some(manifest.rows));
    while cells.load().await? {
        progress.advance(1);
        while cells.step()? {
            progress.advance(1);
        }
    }
    progress.end();
    Ok(())
}

/// Every record of `subject`; those of each late counter from where it begins.
fn passes(reach: &Reach, subject: &Subject) -> Result<Vec<Pass>, RecordsError> {
    let mut passes = Vec::new();
    let mut on_time = subject.definitions.clone();
    on_time.counters.retain(|counter| {
        subject
            .later
            .iter()
            .all(|late| late.counter != counter.name)
    });
    passes.push(Pass {
        spans: reach.spans(&subject.from, &subject.cut)?,
        definitions: on_time,
    });
    for late in &subject.later {
        // A partition that was added to the topic since then is counted from where it begins.
        let mut from = subject.from.clone();
        from.0.extend(&late.from.0);
        passes.push(Pass {
            spans: reach.spans(&from, &subject.cut)?,
            definitions: only(&subject.definitions, std::slice::from_ref(&late.counter)),
        });
    }
    Ok(passes)
}

/// What the records add up to.
struct Recounted {
    rows: u64,
    digest: Digest,
    accounts: Vec<Account>,
}

impl Recounted {
    /// How `manifest` differs: a line for each difference.
    fn differences(&self, manifest: &Manifest) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare = |what: &str, totals: String, recount: String| {
            if totals != recount {
                differences.push(format!(
                    "{what}: {totals} in the totals, {recount} by the records"
                ));
            }
        };
        compare("cells", manifest.rows.to_string(), self.rows.to_string());
        compare(
            "digest",
            manifest.digest.to_string(),
            self.digest.to_string(),
        );
        for (theirs, ours) in manifest.accounts.iter().zip(&self.accounts) {
            let text = |account: &Account| {
                format!(
                    "{} contributions, sum {}",
                    account.contributions, account.sum
                )
            };
            compare(
                &format!("counter {}", theirs.counter.0),
                text(theirs),
                text(ours),
            );
        }
        differences
    }
}
