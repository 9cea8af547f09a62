//! `init`: the table of batch counts.

use std::io::{self, Write};

use serde::Serialize;
use stitch_app::server_away::while_away;
use stitch_cassandra::{EnsureOutcome, Replication, connect_batch_schema};
use stitch_common::clock::SystemClock;
use stitch_common::output::{Exit, Report};
use stitch_common::user_error::UserError;
use stitch_config::Config;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct InitReport {
    table: String,
    #[serde(skip)]
    is_new: bool,
}

pub(super) async fn init(
    config: &Config,
    replication: Option<&Replication>,
) -> Result<InitReport, UserError> {
    let mut is_new = false;
    while_away(&SystemClock, async || {
        let schema = connect_batch_schema(config).await?;
        let (outcome, _) = schema.ensure_batch(replication).await?;
        is_new |= outcome == EnsureOutcome::Created;
        Ok(())
    })
    .await?;
    Ok(InitReport {
        table: format!("{}.batch_counts", config.batch.cassandra.keyspace),
        is_new,
    })
}

impl Report for InitReport {
    fn outcome(&self) -> &'static str {
        if self.is_new { "created" } else { "agrees" }
    }

    fn exit(&self) -> Exit {
        Exit::Success
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let state = if self.is_new {
            "was created"
        } else {
            "is as wanted"
        };
        writeln!(out, "the table {} {state}", self.table)
    }
}
