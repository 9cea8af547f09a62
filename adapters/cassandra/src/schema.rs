//! What the table is to look like: the statements that make it, how one that exists differs, and who claims it. Pure.

use std::collections::BTreeMap;
use std::fmt;

mod replication;

pub use replication::{Datacenters, Replication, ReplicationError};

/// The name of the table.
pub const TABLE: &str = "counts";

/// Cassandra's name of the partitioner that ranges are made for.
pub const PARTITIONER: &str = "org.apache.cassandra.dht.Murmur3Partitioner";

const CLAIM_PREFIX: &str = "stitch namespace ";

/// An identifier as CQL takes it literally.
#[must_use]
pub fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text as CQL takes it literally.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Makes the table, claimed by `claim`.
#[must_use]
pub fn create_table(keyspace: &str, claim: &Claim) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{TABLE} (counter text, key text, granularity text, bucket timestamp, \
         value counter, PRIMARY KEY ((counter, key), granularity, bucket)) WITH comment = {}",
        quoted(keyspace),
        literal(&claim.comment())
    )
}

/// Claims a table that nobody claims.
#[must_use]
pub fn claim_table(keyspace: &str, claim: &Claim) -> String {
    format!(
        "ALTER TABLE {}.{TABLE} WITH comment = {}",
        quoted(keyspace),
        literal(&claim.comment())
    )
}

/// Which namespace counts in the table: it stands in the table's comment, where operators see it too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    root: String,
}

impl Claim {
    /// The claim of the namespace of this name.
    #[must_use]
    pub fn of_namespace(namespace: &str) -> Self {
        Self {
            root: format!("/stitch/{namespace}"),
        }
    }

    /// The claim that a table's comment makes, if it makes one.
    #[must_use]
    pub fn from_comment(comment: &str) -> Option<Self> {
        comment.strip_prefix(CLAIM_PREFIX).map(|root| Self {
            root: root.trim().to_owned(),
        })
    }

    /// The table's comment.
    #[must_use]
    pub fn comment(&self) -> String {
        format!("{CLAIM_PREFIX}{}", self.root)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)
    }
}

/// A column as `system_schema.columns` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its type.
    pub cql_type: String,
    /// `partition_key`, `clustering`, `regular` or `static`.
    pub kind: String,
    /// Its place among those of its kind; -1 for regular ones.
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

/// The columns that the table is to have.
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

/// How a table differs from what it is to look like: a line for each difference, none if they agree.
#[must_use]
pub fn differences(found: &BTreeMap<String, Column>) -> Vec<String> {
    let wanted = columns();
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let tell = |column: Option<&Column>| match column {
        Some(column) => column.to_string(),
        None => "missing".to_owned(),
    };
    names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .map(|name| {
            format!(
                "column \"{name}\": wanted {}, in the table {}",
                tell(wanted.get(name)),
                tell(found.get(name))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_as_wanted_has_no_differences() {
        assert_eq!(differences(&columns()), Vec::<String>::new());
    }

    #[test]
    fn another_type_another_place_another_order_a_missing_and_an_extra_column_are_each_told() {
        let mut found = columns();
        found.get_mut("bucket").unwrap().cql_type = "date".to_owned();
        found.get_mut("key").unwrap().position = 0;
        found.get_mut("granularity").unwrap().order = "desc".to_owned();
        let value = found.remove("value").unwrap();
        found.insert("total".to_owned(), value);
        assert_eq!(
            differences(&found),
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
    fn a_claim_is_read_back_from_the_comment_and_other_comments_are_no_claims() {
        let claim = Claim::of_namespace("plays");
        assert_eq!(claim.comment(), "stitch namespace /stitch/plays");
        assert_eq!(Claim::from_comment(&claim.comment()), Some(claim));
        assert_eq!(Claim::from_comment(""), None);
        assert_eq!(Claim::from_comment("counts per hour"), None);
    }

    #[test]
    fn names_and_texts_cannot_break_out_of_a_statement() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert!(
            create_table("k", &Claim::of_namespace("o'n"))
                .ends_with("'stitch namespace /stitch/o''n'")
        );
    }
}
