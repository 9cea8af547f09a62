//! The schema of the table: the statements that create it, its differences from an existing one, and its owner. Pure.

use std::collections::BTreeMap;
use std::fmt;

mod batch;
mod probes;
mod replication;
mod speculative_retry;

pub use batch::{BATCH, batch_columns, create_batch};
pub use probes::{
    PROBES, create_probes, create_probes_keyspace, increment_probe, probes_columns,
    probes_keyspace, probes_replication_difference,
};
pub use replication::{Datacenters, Replication, ReplicationError};
pub use speculative_retry::{SpeculativeRetry, set_speculative_retry};

/// The name of the table.
pub const TABLE: &str = "counts";

/// The partitioner whose tokens are divided into ranges.
pub const PARTITIONER: &str = "org.apache.cassandra.dht.Murmur3Partitioner";

const OWNER_PREFIX: &str = "stitch namespace ";

/// Quotes an identifier for CQL.
#[must_use]
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The full name of a table, quoted.
#[must_use]
pub fn full_name(keyspace: &str, table: &str) -> String {
    format!("{}.{table}", quoted(keyspace))
}

/// Quotes a text for CQL.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Creates the table, owned by `owner`.
#[must_use]
pub fn create_table(keyspace: &str, owner: &TableOwner) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{TABLE} (counter text, key text, granularity text, bucket timestamp, \
         value counter, PRIMARY KEY ((counter, key), granularity, bucket)) WITH comment = {} AND {}",
        quoted(keyspace),
        literal(&owner.comment()),
        SpeculativeRetry::wanted().options()
    )
}

/// Gives a table an owner.
#[must_use]
pub fn set_owner(keyspace: &str, owner: &TableOwner) -> String {
    format!(
        "ALTER TABLE {}.{TABLE} WITH comment = {}",
        quoted(keyspace),
        literal(&owner.comment())
    )
}

/// The namespace that counts in the table. Recorded in the table's comment, where operators see it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOwner {
    root: String,
}

impl TableOwner {
    /// The namespace of this name.
    #[must_use]
    pub fn of_namespace(namespace: &str) -> Self {
        Self {
            root: format!("/stitch/{namespace}"),
        }
    }

    /// The owner that a table's comment names, if it names one.
    #[must_use]
    pub fn from_comment(comment: &str) -> Option<Self> {
        comment.strip_prefix(OWNER_PREFIX).map(|root| Self {
            root: root.trim().to_owned(),
        })
    }

    /// The table's comment.
    #[must_use]
    pub fn comment(&self) -> String {
        format!("{OWNER_PREFIX}{}", self.root)
    }
}

impl fmt::Display for TableOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}

/// A column as `system_schema.columns` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub cql_type: String,
    /// `partition_key`, `clustering`, `regular` or `static`.
    pub kind: String,
    /// Its position among those of its kind; -1 for regular columns.
    pub position: i32,
    /// `asc` or `desc` for clustering columns, else `none`.
    pub order: String,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cql_type, self.kind)?;
        if self.position >= 0 {
            write!(f, " {}", self.position)?;
        }
        if self.order != "none" {
            write!(f, " {}", self.order)?;
        }
        Ok(())
    }
}

/// The columns that the table must have.
#[must_use]
pub fn columns() -> BTreeMap<String, Column> {
    let column = |name: &str, cql_type: &str, kind: &str, position, order: &str| {
        let column = Column {
            cql_type: cql_type.to_owned(),
            kind: kind.to_owned(),
            position,
            order: order.to_owned(),
        };
        (name.to_owned(), column)
    };
    BTreeMap::from([
        column("counter", "text", "partition_key", 0, "none"),
        column("key", "text", "partition_key", 1, "none"),
        column("granularity", "text", "clustering", 0, "asc"),
        column("bucket", "timestamp", "clustering", 1, "asc"),
        column("value", "counter", "regular", -1, "none"),
    ])
}

/// How a table's columns differ from those `wanted`: a line for each difference, none if they agree.
#[must_use]
pub fn differences(
    actual: &BTreeMap<String, Column>,
    wanted: &BTreeMap<String, Column>,
) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(actual.keys()).collect();
    let describe = |column: Option<&Column>| match column {
        Some(column) => column.to_string(),
        None => "missing".to_owned(),
    };
    names
        .into_iter()
        .filter(|name| wanted.get(*name) != actual.get(*name))
        .map(|name| {
            format!(
                "column \"{name}\": wanted {}, in the table {}",
                describe(wanted.get(name)),
                describe(actual.get(name))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_as_wanted_has_no_differences() {
        assert_eq!(differences(&columns(), &columns()), Vec::<String>::new());
    }

    #[test]
    fn differences_of_type_position_order_and_missing_or_extra_columns_are_each_listed() {
        let mut actual = columns();
        actual.get_mut("bucket").unwrap().cql_type = "date".to_owned();
        actual.get_mut("key").unwrap().position = 0;
        actual.get_mut("granularity").unwrap().order = "desc".to_owned();
        let value = actual.remove("value").unwrap();
        actual.insert("total".to_owned(), value);
        assert_eq!(
            differences(&actual, &columns()),
            [
                "column \"bucket\": wanted timestamp clustering 1 asc, in the table date clustering 1 asc",
                "column \"granularity\": wanted text clustering 0 asc, in the table text clustering 0 desc",
                "column \"key\": wanted text partition_key 1, in the table text partition_key 0",
                "column \"total\": wanted missing, in the table counter regular",
                "column \"value\": wanted counter regular, in the table missing",
            ]
        );
    }

    #[test]
    fn an_owner_is_read_back_from_the_comment_and_other_comments_name_none() {
        let owner = TableOwner::of_namespace("plays");
        assert_eq!(owner.comment(), "stitch namespace /stitch/plays");
        assert_eq!(TableOwner::from_comment(&owner.comment()), Some(owner));
        assert_eq!(TableOwner::from_comment(""), None);
        assert_eq!(TableOwner::from_comment("counts per hour"), None);
    }

    #[test]
    fn names_and_texts_cannot_break_out_of_a_statement() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert!(
            create_table("k", &TableOwner::of_namespace("o'n"))
                .contains(" WITH comment = 'stitch namespace /stitch/o''n' AND ")
        );
    }
}
