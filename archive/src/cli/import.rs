//! `import`: makes files of Kafka Connect part of the archive.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::connect_files::with_files;
use crate::import::{self, ImportedPartition};

/// What was imported of every partition that has files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ImportReport {
    partitions: Vec<ImportedPartition>,
}

pub(super) async fn import(config: &Config, url: &str) -> Result<ImportReport, UserError> {
    let segment_bytes = config.archive.segment_bytes;
    let imported = with_files(config, url, async |ports, progress| {
        import::run(ports, segment_bytes, progress).await
    });
    Ok(ImportReport {
        partitions: imported.await?,
    })
}

impl Report for ImportReport {
    fn outcome(&self) -> &'static str {
        "imported"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for imported in &self.partitions {
            let ImportedPartition {
                partition,
                files,
                records,
                segments,
                complete_to,
                log_begin,
            } = imported;
            writeln!(
                out,
                "partition {partition}: {records} records of {files} files are archived in {segments} segments"
            )?;
            match complete_to {
                Some(to) => writeln!(
                    out,
                    "partition {partition} is complete up to {to}; Kafka has it from {log_begin} on"
                )?,
                None => writeln!(out, "partition {partition}: Kafka has all of it")?,
            }
        }
        Ok(())
    }
}
