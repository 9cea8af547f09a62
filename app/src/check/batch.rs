//! Checks the table of batch counts.

use super::{Findings, speculative_retry};
use stitch_cassandra::{BATCH_TABLE, SchemaError, connect_batch_schema};
use stitch_common::user_error::UserError;
use stitch_config::Config;

/// Nothing where batch is not enabled.
pub(super) async fn check(config: &Config) -> Findings {
    let mut findings = Findings::default();
    if !config.batch.enabled {
        return findings;
    }
    let keyspace = &config.batch.cassandra.keyspace;
    let checked = async {
        let schema = connect_batch_schema(config).await?;
        schema.check_batch().await?;
        Ok(speculative_retry::check(&schema, keyspace, BATCH_TABLE).await?)
    };
    match checked.await {
        Ok(of_reads) => {
            findings.ok(format!(
                "batch: table {keyspace}.batch_counts is the namespace's"
            ));
            findings.append(of_reads);
        }
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
