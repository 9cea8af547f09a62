//! `seal`: compares files of Kafka Connect with the log.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use super::connect_files::with_files;
use crate::sealing::{self, SealedPartition};

/// What was sealed of every partition that has files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SealReport {
    partitions: Vec<SealedPartition>,
}

pub(super) async fn seal(config: &Config, url: &str) -> Result<SealReport, UserError> {
    let sealed = with_files(config, url, async |ports, progress| {
        sealing::run(ports, progress).await
    });
    Ok(SealReport {
        partitions: sealed.await?,
    })
}

impl Report for SealReport {
    fn outcome(&self) -> &'static str {
        "sealed"
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for report in &self.partitions {
            let SealedPartition {
                partition,
                sealed,
                too_late,
            } = report;
            writeln!(
                out,
                "partition {partition}: {sealed} files are sealed; of {too_late} Kafka has deleted records"
            )?;
        }
        Ok(())
    }
}
