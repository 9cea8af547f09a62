//! `prune`: deletes old totals, and none that batch counts need.

use std::io::{self, Write};

use serde::Serialize;
use stitch_batch::batch_node;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::servers::{folder, session};
use stitch_totals::manifest::TotalsId;
use stitch_totals::totals_folder::old_totals;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PruneReport {
    deleted: Vec<TotalsId>,
    kept: Vec<TotalsId>,
    /// Of those that are kept: what batch counts are, are becoming, or may still become by writes that arrive late.
    needed_by_batch: Vec<TotalsId>,
}

pub(super) async fn prune(
    config: &Config,
    keep: u32,
    incomplete: bool,
) -> Result<PruneReport, UserError> {
    let folder = folder(config)?;
    // Before the list: what is built and loaded after that is among the newest.
    let needed = needed_by_batch(config).await?;
    let list = folder.list().await?;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let (old, kept) = old_totals(&list.totals, keep, |id| needed.contains(id));
    let mut deleted = old;
    if incomplete {
        deleted.extend(list.incomplete);
    }
    for id in &deleted {
        folder.delete(id).await?;
    }
    let mut needed_by_batch = kept.clone();
    needed_by_batch.retain(|id| needed.contains(id));
    Ok(PruneReport {
        deleted,
        kept,
        needed_by_batch,
    })
}

/// What the record of batch counts names; nothing where there are none.
async fn needed_by_batch(config: &Config) -> Result<Vec<TotalsId>, UserError> {
    if !config.batch.enabled {
        return Ok(Vec::new());
    }
    let session = session(config).await?;
    let record = batch_node::read(&session).await;
    session.close().await;
    let ids = record?.map(|record| {
        let ids = record.needed_totals().map(|id| TotalsId(id.to_owned()));
        ids.collect()
    });
    Ok(ids.unwrap_or_default())
}

impl Report for PruneReport {
    fn outcome(&self) -> &'static str {
        "pruned"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for id in &self.deleted {
            writeln!(out, "deleted {id}")?;
        }
        for id in &self.needed_by_batch {
            writeln!(out, "kept {id}: batch counts need it")?;
        }
        writeln!(out, "{} totals are kept", self.kept.len())
    }
}
