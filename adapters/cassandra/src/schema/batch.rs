//! The table of batch counts: as the table of counts, with plain values. Pure.

use std::collections::BTreeMap;

use super::{Column, SpeculativeRetry, TableOwner, columns, full_name, literal};

/// The name of the table of batch counts.
pub const BATCH: &str = "batch_counts";

/// Creates the table of batch counts, owned by `owner`.
#[must_use]
pub fn create_batch(keyspace: &str, owner: &TableOwner) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (counter text, key text, granularity text, bucket timestamp, value bigint, \
         PRIMARY KEY ((counter, key), granularity, bucket)) WITH comment = {} AND {}",
        full_name(keyspace, BATCH),
        literal(&owner.comment()),
        SpeculativeRetry::wanted().options()
    )
}

/// The columns that it must have.
#[must_use]
pub fn batch_columns() -> BTreeMap<String, Column> {
    let mut columns = columns();
    if let Some(value) = columns.get_mut("value") {
        "bigint".clone_into(&mut value.cql_type);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::differences;

    #[test]
    fn batch_counts_differ_from_counts_by_the_type_of_their_values() {
        assert_eq!(
            differences(&columns(), &batch_columns()),
            ["column \"value\": wanted bigint regular, in the table counter regular"]
        );
        let owner = TableOwner::of_namespace("plays");
        let create = create_batch("Stitch", &owner);
        assert!(create.starts_with("CREATE TABLE IF NOT EXISTS \"Stitch\".batch_counts ("));
        assert!(
            create.contains("'stitch namespace /stitch/plays'"),
            "{create}"
        );
    }
}
