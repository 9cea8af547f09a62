//! `verify`: recounts totals from the records.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

use crate::servers::{Servers, folder};
use stitch_totals::build;
use stitch_totals::manifest::TotalsId;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct VerifyReport {
    id: TotalsId,
    rows: u64,
    records_read: u64,
    /// A line for each.
    differences: Vec<String>,
}

pub(super) async fn verify(config: &Config, id: String) -> Result<VerifyReport, UserError> {
    let folder = folder(config)?;
    let servers = Servers::connect(config).await?;
    let request = servers.request(config);
    let (records, id) = (servers.records(), TotalsId(id));
    let recount = build::verify(&folder, &records, &request, &id, &*servers.progress).await?;
    Ok(VerifyReport {
        id,
        rows: recount.manifest.rows,
        records_read: recount.records,
        differences: recount.differences,
    })
}

impl Report for VerifyReport {
    fn outcome(&self) -> &'static str {
        if self.differences.is_empty() {
            "verified"
        } else {
            "differs"
        }
    }

    fn exit(&self) -> Exit {
        if self.differences.is_empty() {
            Exit::Success
        } else {
            Exit::DriftFound
        }
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let VerifyReport {
            id,
            rows,
            records_read,
            ..
        } = self;
        if self.differences.is_empty() {
            writeln!(
                out,
                "totals {id} are right: {rows} cells, recounted from {records_read} records"
            )?;
        }
        for difference in &self.differences {
            writeln!(out, "differs: {difference}")?;
        }
        Ok(())
    }
}
