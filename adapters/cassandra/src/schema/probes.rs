//! The table of probes: what the quiescence barrier increments to see that a node still applies increments. Pure.
//!
//! It has a keyspace of its own, with one replica for each row. Cassandra lets a random replica of the coordinator's data
//! centre lead an increment (`ReplicaPlans.findCounterLeaderReplica`), so only where there is no other replica a node that
//! is asked to coordinate also leads: takes the increment through its own counter stage, cell lock and commit log.

use std::collections::BTreeMap;

use stitch_common::token::Token;

use super::{Column, Datacenters, TableOwner, literal, quoted};

/// The name of the table.
pub const PROBES: &str = "probes";

/// The keyspace of the table of probes.
#[must_use]
pub fn probes_keyspace(keyspace: &str) -> String {
    format!("{keyspace}_probes")
}

/// Creates the keyspace. `SimpleStrategy` places a row at the node that owns its token, in whatever data centre, and needs
/// no change when one is added.
#[must_use]
pub fn create_probes_keyspace(keyspace: &str) -> String {
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}",
        quoted(&probes_keyspace(keyspace))
    )
}

/// Creates the table.
#[must_use]
pub fn create_probes(keyspace: &str, owner: &TableOwner) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{PROBES} (node blob PRIMARY KEY, value counter) WITH comment = {}",
        quoted(&probes_keyspace(keyspace)),
        literal(&format!("probes of {}", owner.comment()))
    )
}

/// Increments the row of the node that owns `token`.
#[must_use]
pub fn increment_probe(keyspace: &str, token: Token) -> String {
    let key: String = token
        .key()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "UPDATE {}.{PROBES} SET value = value + 1 WHERE node = 0x{key}",
        quoted(&probes_keyspace(keyspace))
    )
}

/// The columns that the table must have.
#[must_use]
pub fn probes_columns() -> BTreeMap<String, Column> {
    let column = |name: &str, cql_type: &str, kind: &str, position| {
        let column = Column {
            cql_type: cql_type.to_owned(),
            kind: kind.to_owned(),
            position,
            order: "none".to_owned(),
        };
        (name.to_owned(), column)
    };
    BTreeMap::from([
        column("node", "blob", "partition_key", 0),
        column("value", "counter", "regular", -1),
    ])
}

/// Why a keyspace with this replication cannot have the table; `None` if it can. Every node must own the rows of its
/// tokens alone, in its data centre at least.
#[must_use]
pub fn probes_replication_difference(
    actual: &BTreeMap<String, String>,
    datacenters: &Datacenters,
) -> Option<String> {
    let mut factors = actual.clone();
    let class = factors.remove("class").unwrap_or_default();
    let several = factors.iter().find(|(_, factor)| *factor != "1");
    if let Some((name, factor)) = several {
        return Some(format!("replication: wanted {name} 1, it is {factor}"));
    }
    if class.ends_with("SimpleStrategy") {
        return None;
    }
    let missing = datacenters.keys().find(|name| !factors.contains_key(*name));
    missing.map(|name| format!("replication: wanted {name} 1, there is none in that data centre"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replication(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn only_one_replica_of_each_row_makes_the_asked_node_the_leader() {
        let datacenters = Datacenters::from([("a".to_owned(), 3), ("b".to_owned(), 3)]);
        let simple = "org.apache.cassandra.locator.SimpleStrategy";
        let by_datacenter = "org.apache.cassandra.locator.NetworkTopologyStrategy";
        for (class, factors, agrees) in [
            (simple, vec![("replication_factor", "1")], true),
            (simple, vec![("replication_factor", "3")], false),
            (by_datacenter, vec![("a", "1"), ("b", "1")], true),
            (by_datacenter, vec![("a", "1"), ("b", "2")], false),
            (by_datacenter, vec![("a", "1")], false),
        ] {
            let mut actual = replication(&factors);
            actual.insert("class".to_owned(), class.to_owned());
            let difference = probes_replication_difference(&actual, &datacenters);
            assert_eq!(difference.is_none(), agrees, "{actual:?}: {difference:?}");
        }
    }

    #[test]
    fn a_probe_increments_a_row_whose_token_is_the_nodes_own() {
        let cql = increment_probe("stitch", Token(0));
        let key = cql.rsplit_once("0x").expect("a blob").1;
        assert_eq!(key.len(), 32, "{cql}");
        assert!(cql.starts_with("UPDATE \"stitch_probes\".probes SET value = value + 1 "));
    }
}
