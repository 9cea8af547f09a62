//! `build`: connects, builds, and reports.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::cell::CounterName;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::{Config, Engine};

use super::BuildArguments;
use crate::engine::ChosenEngine;
use crate::servers::{Servers, folder};
use stitch_totals::build::BaseChoice;
use stitch_totals::manifest::{Account, SourceKind, SourceSpan, TotalsId};

/// The totals that were built, or were there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BuildReport {
    id: TotalsId,
    #[serde(skip)]
    is_new: bool,
    folder: String,
    rows: u64,
    files: usize,
    bytes: u64,
    records_read: u64,
    spilled_runs: u64,
    spilled_bytes_most: u64,
    sources: Vec<SourceSpan>,
    accounts: Vec<Account>,
    notes: Vec<String>,
}

pub(super) async fn build(
    config: &Config,
    arguments: &BuildArguments,
) -> Result<BuildReport, UserError> {
    let folder = folder(config)?;
    let engine = arguments.engine.map_or(config.totals.engine, Engine::from);
    let engine = ChosenEngine::new(config, engine, &folder)?;
    let servers = Servers::connect(config).await?;
    let added = arguments.counters.iter();
    let added: Vec<_> = added
        .map(|name| CounterName(name.as_str().into()))
        .collect();
    let mut request = servers.request(config);
    request.added = &added;
    if arguments.from_beginning {
        request.base = BaseChoice::FromBeginning;
    }
    let built = engine.build(&folder, &servers, &request).await?;
    let manifest = built.manifest;
    Ok(BuildReport {
        folder: folder.totals(&manifest.id).to_string(),
        id: manifest.id,
        is_new: built.is_new,
        rows: manifest.rows,
        files: manifest.files.len(),
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        records_read: built.records,
        spilled_runs: servers.spill.runs(),
        spilled_bytes_most: servers.spill.bytes_most(),
        sources: manifest.sources,
        accounts: manifest.accounts,
        notes: built.notes,
    })
}

impl Report for BuildReport {
    fn outcome(&self) -> &'static str {
        if self.is_new { "built" } else { "exists" }
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let verb = if self.is_new {
            "built"
        } else {
            "exist already"
        };
        writeln!(out, "totals {} {verb}: {}", self.id, self.folder)?;
        writeln!(
            out,
            "{} cells in {} files of {} bytes, from {} records; {} sorted runs were spilled; with the files, at most {} bytes",
            self.rows,
            self.files,
            self.bytes,
            self.records_read,
            self.spilled_runs,
            self.spilled_bytes_most
        )?;
        for span in &self.sources {
            let source = match &span.source {
                SourceKind::Log => "the log".to_owned(),
                SourceKind::Archive => "the archive".to_owned(),
                SourceKind::Totals(id) => format!("the totals {id}"),
            };
            let SourceSpan {
                partition,
                from,
                to,
                ..
            } = span;
            writeln!(out, "partition {partition} from {from} to {to}: {source}")?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        Ok(())
    }
}
