//! `prune`: deletes old totals, and none that batch counts need, nor while a restoration runs, which may read any.

use std::io::{self, Write};

use serde::Serialize;
use stitch_batch::batch_node;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_protocol::restoration;

use crate::job::JobObjects;
use crate::servers::{folder, session};
use stitch_totals::manifest::TotalsId;
use stitch_totals::totals_folder::old_totals;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PruneReport {
    deleted: Vec<TotalsId>,
    kept: Vec<TotalsId>,
    /// Of those that are kept: what batch counts are, are becoming, or may still become by writes that arrive late.
    needed_by_batch: Vec<TotalsId>,
    /// Objects of builds on a cluster that did not end.
    partials_deleted: u64,
}

pub(super) async fn prune(
    config: &Config,
    keep: u32,
    incomplete: bool,
) -> Result<PruneReport, UserError> {
    let folder = folder(config)?;
    refuse_beside_a_restoration(config).await?;
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
    let mut partials_deleted = 0;
    if incomplete {
        let objects = JobObjects::new(&config.namespace);
        partials_deleted = objects.delete(folder.store()).await?;
    }
    let mut needed_by_batch = kept.clone();
    needed_by_batch.retain(|id| needed.contains(id));
    Ok(PruneReport {
        deleted,
        kept,
        needed_by_batch,
        partials_deleted,
    })
}

/// The base of a restoration need not be among the newest, and its files are read as long as it runs.
async fn refuse_beside_a_restoration(config: &Config) -> Result<(), UserError> {
    let session = session(config).await?;
    let holder = restoration::holder(&session).await;
    session.close().await;
    let Some(holder) = holder? else {
        return Ok(());
    };
    let what = format!(
        "a restoration runs, which may read these totals: {} on {}, process {}",
        holder.member, holder.host, holder.process_id
    );
    Err(UserError::new(
        what,
        "nothing was deleted: run it again when that has ended",
    ))
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
        if self.partials_deleted > 0 {
            writeln!(
                out,
                "deleted {} partial sums of builds on a cluster",
                self.partials_deleted
            )?;
        }
        writeln!(out, "{} totals are kept", self.kept.len())
    }
}
