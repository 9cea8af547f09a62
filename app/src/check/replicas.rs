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
}
