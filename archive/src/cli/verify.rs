//! `verify`: reads the whole archive.

use std::io::{self, Write};

use serde::Serialize;
use stitch_app::progress_bar;
use stitch_common::output::{Exit, Report};
use stitch_common::ports::EventLog;
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::verify::{self, PartitionReport};

/// What the archive of every partition has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct VerifyReport {
    cluster: String,
    topic: String,
    partitions: Vec<PartitionReport>,
}

pub(super) async fn verify(config: &Config) -> Result<VerifyReport, UserError> {
    let (log, archive, _) = super::open(config).await?;
    let progress = progress_bar::on_stderr();
    let known = log.partitions().await?;
    let total = verify::records(&archive, &known).await;
    progress.begin("verifying the archive", "records", total);
    let mut partitions = Vec::new();
    for partition in known {
        partitions.push(verify::verify(&archive, partition, &*progress).await?);
    }
    progress.end();
    Ok(VerifyReport {
        cluster: archive.folder().cluster().to_owned(),
        topic: archive.folder().topic().to_owned(),
        partitions,
    })
}

impl Report for VerifyReport {
    fn outcome(&self) -> &'static str {
        if self.exit() == Exit::Success {
            "whole"
        } else {
            "damaged"
        }
    }

    fn exit(&self) -> Exit {
        if self
            .partitions
            .iter()
            .all(|report| report.problems.is_empty())
        {
            Exit::Success
        } else {
            Exit::ActionNeeded
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for report in &self.partitions {
            let PartitionReport {
                partition,
                segments,
                records,
                bytes,
                ..
            } = report;
            match report.complete_to {
                None => writeln!(out, "partition {partition}: nothing is archived")?,
                Some(to) => writeln!(
                    out,
                    "partition {partition}: whole up to {to}: {records} records in {segments} segments of {bytes} bytes"
                )?,
            }
            for problem in &report.problems {
                writeln!(out, "  {}: {}", problem.object, problem.message)?;
            }
        }
        Ok(())
    }
}
