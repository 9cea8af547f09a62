//! How long a coordinator waits for a replica before it asks another one as well.

use super::{TABLE, literal, quoted};

/// Cassandra's own default: the latency that one read in a hundred exceeds, whatever that is. After some slow reads it may
/// be seconds; of a table that was not read yet it is half of `read_request_timeout`.
const CASSANDRA_DEFAULT: &str = "99p";

/// Half of what the API waits before it asks another coordinator: two coordinators may choose the same silent replica.
const WANTED: &str = "MIN(99p,50ms)";

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

    /// Whether somebody chose these values: then they stay.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        let default = |value: &str| value.eq_ignore_ascii_case(CASSANDRA_DEFAULT);
        !default(&self.of_reads) && !default(&self.of_repairs)
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
pub fn set_speculative_retry(keyspace: &str) -> String {
    format!(
        "ALTER TABLE {}.{TABLE} WITH {}",
        quoted(keyspace),
        SpeculativeRetry::wanted().options()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cassandras_defaults_are_nobodys_choice_and_every_other_value_is() {
        let of = |reads: &str, repairs: &str| SpeculativeRetry {
            of_reads: reads.to_owned(),
            of_repairs: repairs.to_owned(),
        };
        assert!(!of("99p", "99p").is_chosen());
        assert!(!of("99P", "20ms").is_chosen());
        assert!(!of("20ms", "99p").is_chosen());
        assert!(of("NEVER", "95p").is_chosen());
        assert!(SpeculativeRetry::wanted().is_chosen());
    }

    #[test]
    fn the_statement_that_sets_them_names_the_table_and_both_options() {
        assert_eq!(
            set_speculative_retry("plays"),
            "ALTER TABLE \"plays\".counts WITH speculative_retry = 'MIN(99p,50ms)' AND additional_write_policy = \
             'MIN(99p,50ms)'"
        );
    }
}
