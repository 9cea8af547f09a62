//! `prune`: deletes old totals.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::servers::folder;
use stitch_totals::manifest::TotalsId;
use stitch_totals::totals_folder::old_totals;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PruneReport {
    deleted: Vec<TotalsId>,
    kept: Vec<TotalsId>,
}

pub(super) async fn prune(
    config: &Config,
    keep: u32,
    incomplete: bool,
) -> Result<PruneReport, UserError> {
    let folder = folder(config)?;
    let list = folder.list().await?;
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    let ids: Vec<_> = list.totals.into_iter().map(|totals| totals.id).collect();
    let (old, kept) = old_totals(ids, keep);
    let mut deleted = old;
    if incomplete {
        deleted.extend(list.incomplete);
    }
    for id in &deleted {
        folder.delete(id).await?;
    }
    Ok(PruneReport { deleted, kept })
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
        writeln!(out, "{} totals are kept", self.kept.len())
    }
}
