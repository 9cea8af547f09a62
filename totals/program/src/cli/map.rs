//! `map`: the part of a job that an executor does.

use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;
use stitch_archive::reader::Archive;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_objects::ObjectFolder;

use crate::job::Receipt;
use crate::job_file::{JobFile, tasks_in};
use crate::map::{self, MapBounds};
use stitch_totals::sorted::spill_folder::SpillFolder;

/// The folder of sorted runs, in the working directory of the executor.
const SPILL: &str = "stitch-spill";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct MapReport {
    receipts: Vec<Receipt>,
}

pub(super) async fn map(job: &Path) -> Result<MapReport, UserError> {
    let file = JobFile::read(job)?;
    let mut text = String::new();
    io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|cause| {
            let what = format!("standard input cannot be read: {cause}");
            UserError::new(what, "pass tasks, a line each, on standard input")
        })?;
    let tasks = tasks_in(&text)?;
    let archived = ObjectFolder::open("archive.url", &file.archive_url)?;
    let archive = Archive::new(archived, &file.job.cluster, &file.job.topic);
    let store = ObjectFolder::open("totals.url", &file.totals_url)?;
    let bounds = MapBounds {
        memory_bytes_max: file.task_memory_bytes_max,
        spill: SpillFolder::open(Path::new(SPILL), file.task_spill_bytes_max)?,
    };
    let mut receipts = Vec::new();
    for task in &tasks {
        receipts.push(map::map(&archive, &store, &file.job, task, &bounds).await?);
    }
    Ok(MapReport { receipts })
}

impl Report for MapReport {
    fn outcome(&self) -> &'static str {
        "mapped"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    /// A receipt a line.
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for receipt in &self.receipts {
            serde_json::to_writer(&mut *out, receipt)?;
            writeln!(out)?;
        }
        Ok(())
    }
}
