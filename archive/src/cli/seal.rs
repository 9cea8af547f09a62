//! `seal`: compares files of Kafka Connect with the log.

use std::io::{self, Write};

use serde::Serialize;
use stitch_app::progress_bar;
use stitch_common::clock::SystemClock;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_objects::ObjectFolder;

use crate::import::Ports;
use crate::sealing::{self, SealedPartition};

/// What was sealed of every partition that has files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SealReport {
    partitions: Vec<SealedPartition>,
}

pub(super) async fn seal(config: &Config, url: &str) -> Result<SealReport, UserError> {
    let files = ObjectFolder::open("URL", url)?;
    let (log, archive) = super::open(config).await?;
    let ports = Ports {
        log: &log,
        archive: &archive,
        files: &files,
        clock: &SystemClock,
    };
    let progress = progress_bar::on_stderr();
    let partitions = sealing::run(&ports, &*progress).await?;
    Ok(SealReport { partitions })
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
