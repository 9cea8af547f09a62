//! Checks that there are as many nodes as the keyspace wants replicas. Cassandra accepts any number, and fails only the
//! requests that cannot be met.

use std::collections::BTreeMap;

use super::Findings;

/// The option with the replicas of `SimpleStrategy`, which has no data centres.
const ANYWHERE: &str = "replication_factor";

/// Compares the replicas wanted in each data centre with its nodes. `replication` is the value in
/// `system_schema.keyspaces`, `nodes` counts the ring by data centre.
pub(super) fn check(
    keyspace: &str,
    replication: &BTreeMap<String, String>,
    nodes: &BTreeMap<&str, usize>,
) -> Findings {
    let mut findings = Findings::default();
    for (place, factor) in replication {
        // Replicas of which some are transient are written "3/1".
        let total = factor.split('/').next().unwrap_or(factor);
        let Ok(replicas) = total.parse::<usize>() else {
            continue;
        };
        let (within, available) = if place == ANYWHERE {
            ("the cluster".to_owned(), nodes.values().sum())
        } else {
            let available = nodes.get(place.as_str()).copied();
            (format!("data centre \"{place}\""), available.unwrap_or(0))
        };
        if available >= replicas {
            continue;
        }
        let majority = replicas / 2 + 1;
        let shortage = format!(
            "cassandra: keyspace {keyspace} wants {replicas} replicas in {within}, which has {available} nodes"
        );
        let help = format!(
            "add nodes, or ALTER KEYSPACE {keyspace} to at most {available} replicas there, and repair it"
        );
        if available < majority {
            let message = format!(
                "{shortage}: a quorum of {majority} cannot be met, so every increment at LOCAL_QUORUM fails"
            );
            findings.wrong(message, help);
        } else {
            let message = format!("{shortage}: a restoration cannot read every replica");
            findings.warn(message, help);
        }
    }
    findings
}

/// Checks that permissions are known while one node is away. By default `system_auth` has one replica: while that is down,
/// every node refuses every request as unauthorized, as soon as it has forgotten its permissions (2 s by default).
pub(super) fn check_auth(
    replication: &BTreeMap<String, String>,
    nodes: &BTreeMap<&str, usize>,
) -> Findings {
    let mut findings = Findings::default();
    let replicas_in = |place: &str| {
        let factor = replication.get(place);
        factor.and_then(|factor| factor.parse::<usize>().ok())
    };
    let everywhere = replicas_in(ANYWHERE);
    let all: usize = nodes.values().sum();
    let places = nodes.iter().map(|(place, nodes)| match everywhere {
        Some(replicas) => ("the cluster".to_owned(), replicas, all),
        None => {
            let replicas = replicas_in(place).unwrap_or(0);
            (format!("data centre \"{place}\""), replicas, *nodes)
        }
    });
    let places: std::collections::BTreeSet<_> = places.collect();
    for (within, replicas, nodes) in places {
        if replicas >= 2 || nodes < 2 {
            continue;
        }
        let message = format!(
            "cassandra: keyspace system_auth has {replicas} replicas in {within}, which has {nodes} nodes: while one of \
             them is away, increments can be refused as unauthorized"
        );
        let help = "ALTER KEYSPACE system_auth WITH replication = {…} to three replicas or one for each node, then \
                    `nodetool repair system_auth` on every node";
        findings.warn(message, help);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_of(replication: &[(&str, &str)], nodes: &[(&'static str, usize)]) -> Vec<String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let replication = replication.iter().map(owned).collect();
        let findings = check("stitch", &replication, &nodes.iter().copied().collect()).findings;
        let line = |finding: super::super::Finding| {
            assert!(finding.help.is_some_and(|help| help.contains("ALTER")));
            format!("{} {}", finding.verdict.name(), finding.message)
        };
        findings.into_iter().map(line).collect()
    }

    #[test]
    fn enough_nodes_yield_no_finding() {
        let three = (
            "class",
            "org.apache.cassandra.locator.NetworkTopologyStrategy",
        );
        assert!(
            findings_of(
                &[three, ("dc1", "3"), ("dc2", "1")],
                &[("dc1", 3), ("dc2", 4)]
            )
            .is_empty()
        );
        assert!(findings_of(&[("replication_factor", "3")], &[("dc1", 1), ("dc2", 2)]).is_empty());
        assert!(findings_of(&[("dc1", "3/1")], &[("dc1", 3)]).is_empty());
    }

    #[test]
    fn too_few_nodes_for_every_replica_are_a_warning_and_too_few_for_a_quorum_are_wrong() {
        let lines = findings_of(&[("dc1", "3"), ("dc2", "3")], &[("dc1", 2), ("dc2", 1)]);
        assert!(lines[0].starts_with("warn ") && lines[0].contains("\"dc1\", which has 2 nodes"));
        assert!(lines[1].starts_with("wrong ") && lines[1].contains("a quorum of 2"));
        let gone = findings_of(&[("dc3", "1")], &[("dc1", 2)]);
        assert!(gone[0].starts_with("wrong "), "{gone:?}");
    }

    #[test]
    fn permissions_with_one_replica_are_a_warning_where_there_is_more_than_one_node() {
        let lines = |replication: &[(&str, &str)], nodes: &[(&'static str, usize)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let replication = replication.iter().map(owned).collect();
            let findings = check_auth(&replication, &nodes.iter().copied().collect()).findings;
            let line = |finding: super::super::Finding| {
                format!("{} {}", finding.verdict.name(), finding.message)
            };
            findings.into_iter().map(line).collect::<Vec<_>>()
        };
        let default = lines(&[("replication_factor", "1")], &[("dc1", 3), ("dc2", 3)]);
        assert_eq!(default.len(), 1);
        assert!(
            default[0].starts_with("warn ") && default[0].contains("1 replicas in the cluster")
        );
        assert_eq!(
            lines(&[("replication_factor", "1")], &[("dc1", 1)]),
            [""; 0]
        );
        assert_eq!(
            lines(&[("dc1", "3"), ("dc2", "2")], &[("dc1", 3), ("dc2", 3)]),
            [""; 0]
        );
        let missing = lines(&[("dc1", "3")], &[("dc1", 3), ("dc2", 3)]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("\"dc2\""), "{missing:?}");
    }
}
