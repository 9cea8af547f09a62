//! `list`: the totals that there are.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::offset::Offsets;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::servers::folder;
use stitch_totals::manifest::TotalsId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ListReport {
    /// The newest last.
    totals: Vec<TotalsLine>,
    unreadable: Vec<UnreadableLine>,
    /// Files without a manifest.
    incomplete: Vec<TotalsId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TotalsLine {
    id: TotalsId,
    made_at: String,
    rows: u64,
    bytes: u64,
    cut: Offsets,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct UnreadableLine {
    id: TotalsId,
    why: String,
}

pub(super) async fn list(config: &Config) -> Result<ListReport, UserError> {
    let list = folder(config)?.list().await?;
    let line = |manifest: stitch_totals::manifest::Manifest| TotalsLine {
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        id: manifest.id,
        made_at: manifest.made_at,
        rows: manifest.rows,
        cut: manifest.subject.cut,
    };
    let unreadable = list
        .unreadable
        .into_iter()
        .map(|(id, error)| UnreadableLine {
            id,
            why: error.to_string(),
        });
    Ok(ListReport {
        totals: list.totals.into_iter().map(line).collect(),
        unreadable: unreadable.collect(),
        incomplete: list.incomplete,
    })
}

impl Report for ListReport {
    fn outcome(&self) -> &'static str {
        "listed"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.totals.is_empty() {
            writeln!(out, "there are no totals")?;
        }
        for totals in &self.totals {
            let cut = totals.cut.0.iter();
            let cut: Vec<_> = cut
                .map(|(partition, offset)| format!("{partition}:{offset}"))
                .collect();
            let TotalsLine {
                id,
                made_at,
                rows,
                bytes,
                ..
            } = totals;
            writeln!(
                out,
                "{id}  {made_at}  {rows} cells  {bytes} bytes  cut {}",
                cut.join(" ")
            )?;
        }
        for UnreadableLine { id, why } in &self.unreadable {
            writeln!(out, "{id}  cannot be read: {why}")?;
        }
        for id in &self.incomplete {
            writeln!(
                out,
                "{id}  has no manifest: it is being built, or its build was killed"
            )?;
        }
        Ok(())
    }
}
