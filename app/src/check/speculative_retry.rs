//! Checks how long reads of a table wait for a replica that is frozen or cut off, and not yet known as down.

use super::Findings;
use stitch_cassandra::{Schema, SpeculativeRetry, set_speculative_retry};
use stitch_common::ports::StoreError;

/// Nothing to say of a table that does not exist.
pub(super) async fn check(
    schema: &Schema,
    keyspace: &str,
    table: &str,
) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    if let Some(found) = schema.speculation(table).await? {
        judge(keyspace, table, &found, &mut findings);
    }
    Ok(findings)
}

fn judge(keyspace: &str, table: &str, found: &SpeculativeRetry, findings: &mut Findings) {
    if !found.depends_on_earlier_reads() {
        return;
    }
    findings.warn(
        format!(
            "cassandra: table {keyspace}.{table} has speculative_retry = '{}' and additional_write_policy = '{}': while a \
             replica hangs, reads of the API take seconds or fail",
            found.of_reads, found.of_repairs
        ),
        format!("run in cqlsh: {};", set_speculative_retry(keyspace, table)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_table_whose_value_has_a_percentile_is_named_with_the_statement_that_changes_it() {
        let of = |reads: &str| {
            let mut findings = Findings::default();
            let found = SpeculativeRetry {
                of_reads: reads.to_owned(),
                ..SpeculativeRetry::wanted()
            };
            judge("plays", "batch_counts", &found, &mut findings);
            findings.findings
        };
        let [finding] = of("99p").try_into().unwrap();
        assert_eq!(finding.verdict, Verdict::Warn);
        assert!(
            finding
                .message
                .contains("plays.batch_counts has speculative_retry = '99p'")
        );
        let help = finding.help.unwrap();
        assert!(
            help.contains("ALTER TABLE \"plays\".batch_counts WITH speculative_retry = '50ms'"),
            "{help}"
        );
        assert!(of("20ms").is_empty());
    }
}
