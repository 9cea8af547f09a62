//! Checks the table of batch counts.

use super::Findings;
use stitch_cassandra::{SchemaError, connect_batch_schema};
use stitch_common::user_error::UserError;
use stitch_config::Config;

/// Nothing where batch is not enabled.
pub(super) async fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    if !config.batch.enabled {
        return findings;
    }
    let keyspace = &config.batch.cassandra.keyspace;
    let checked = async { connect_batch_schema(config).await?.check_batch().await };
    match checked.await {
        Ok(_) => findings.ok(format!(
            "batch: table {keyspace}.batch_counts is the namespace's"
        )),
        Err(error @ (SchemaError::KeyspaceMissing { .. } | SchemaError::BatchMissing(_))) => {
            let failure = UserError::from(error);
            findings.warn(format!("batch: {}", failure.message), failure.help);
        }
        Err(error) => {
            let failure = UserError::from(error);
            findings.wrong(format!("batch: {}", failure.message), failure.help);
        }
    }
    findings
}
