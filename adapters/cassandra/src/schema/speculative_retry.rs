//! How long a coordinator waits for a replica before it asks another one as well.

use super::{full_name, literal};

/// Half of what the API waits before it asks another coordinator: two coordinators may choose the same silent replica.
/// A time and no percentile, not even `MIN(99p,50ms)`: see [`SpeculativeRetry::depends_on_earlier_reads`].
const WANTED: &str = "50ms";

/// The table's options that decide how long a read hangs on a replica that is frozen or cut off, and not yet known as down.
/// A session's speculative execution does not help there: the other coordinator may wait for the same replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeculativeRetry {
    /// `speculative_retry`, as Cassandra lists it: for reads.
    pub of_reads: String,
    /// `additional_write_policy`, as Cassandra lists it: for the writes with which a read repairs a replica.
    pub of_repairs: String,
}

impl SpeculativeRetry {
    /// What `init` gives the table.
    #[must_use]
    pub fn wanted() -> Self {
        Self {
            of_reads: WANTED.to_owned(),
            of_repairs: WANTED.to_owned(),
        }
    }

    /// Whether one of them has a percentile, as Cassandra's default does (`99p`): of the reads that a coordinator did
    /// itself lately. After some slow ones it may be seconds; and a coordinator that has read nothing of the table since
    /// its start waits for half of `read_request_timeout`, also with `MIN(99p,50ms)`.
    #[must_use]
    pub fn depends_on_earlier_reads(&self) -> bool {
        // `99p`, `99PERCENTILE`; the other values are a time in `ms`, ALWAYS, NEVER and NONE.
        let percentile = |value: &str| value.to_ascii_lowercase().contains('p');
        percentile(&self.of_reads) || percentile(&self.of_repairs)
    }

    /// As options of a table in CQL.
    #[must_use]
    pub fn options(&self) -> String {
        format!(
            "speculative_retry = {} AND additional_write_policy = {}",
            literal(&self.of_reads),
            literal(&self.of_repairs)
        )
    }
}

/// Gives a table that was created without them the options of [`SpeculativeRetry::wanted`].
#[must_use]
pub fn set_speculative_retry(keyspace: &str, table: &str) -> String {
    format!(
        "ALTER TABLE {} WITH {}",
        full_name(keyspace, table),
        SpeculativeRetry::wanted().options()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_in_one_of_them_depends_on_earlier_reads_and_nothing_else_does() {
        let of = |reads: &str, repairs: &str| SpeculativeRetry {
            of_reads: reads.to_owned(),
            of_repairs: repairs.to_owned(),
        };
        for of_reads in ["99p", "99.5PERCENTILE", "MIN(99p,50ms)", "max(95p,20ms)"] {
            assert!(
                of(of_reads, "50ms").depends_on_earlier_reads(),
                "{of_reads}"
            );
            assert!(
                of("50ms", of_reads).depends_on_earlier_reads(),
                "{of_reads}"
            );
        }
        for of_reads in ["20ms", "50.0MS", "ALWAYS", "NEVER", "none"] {
            assert!(
                !of(of_reads, "50ms").depends_on_earlier_reads(),
                "{of_reads}"
            );
        }
        assert!(!SpeculativeRetry::wanted().depends_on_earlier_reads());
    }

    #[test]
    fn the_statement_that_sets_them_names_the_table_and_both_options() {
        assert_eq!(
            set_speculative_retry("plays", "counts"),
            "ALTER TABLE \"plays\".counts WITH speculative_retry = '50ms' AND additional_write_policy = '50ms'"
        );
    }
}
