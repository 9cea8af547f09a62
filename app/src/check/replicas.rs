//! Whether there are as many nodes as the keyspace wants replicas. Cassandra takes any number, and only says so when a
//! request cannot be met.

use std::collections::BTreeMap;

use super::Findings;

/// The option that counts the replicas of `SimpleStrategy`, which knows no data centres.
const ANYWHERE: &str = "replication_factor";

/// How many replicas each data centre is to have and how many nodes it has. `replication` is what
/// `system_schema.keyspaces` tells, `nodes` counts the ring by data centre.
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
        let (within, there) = if place == ANYWHERE {
            ("the cluster".to_owned(), nodes.values().sum())
        } else {
            let there = nodes.get(place.as_str()).copied();
            (format!("data centre \"{place}\""), there.unwrap_or(0))
        };
        if there >= replicas {
            continue;
        }
        let majority = replicas / 2 + 1;
        let told = format!(
            "cassandra: keyspace {keyspace} wants {replicas} replicas in {within}, which has {there} nodes"
        );
        let help = format!(
            "add nodes, or ALTER KEYSPACE {keyspace} to at most {there} replicas there, and repair it"
        );
        if there < majority {
            let message = format!(
                "{told}: a quorum of {majority} cannot be met, so no increment gets through at LOCAL_QUORUM"
            );
            findings.wrong(message, help);
        } else {
            let message = format!("{told}: a restoration reads every replica, and cannot");
            findings.warn(message, help);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(replication: &[(&str, &str)], nodes: &[(&'static str, usize)]) -> Vec<String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let replication = replication.iter().map(owned).collect();
        let findings = check("stitch", &replication, &nodes.iter().copied().collect()).findings;
        let verdict_and_what = |finding: super::super::Finding| {
            assert!(finding.help.is_some_and(|way| way.contains("ALTER")));
            format!("{} {}", finding.verdict.name(), finding.message)
        };
        findings.into_iter().map(verdict_and_what).collect()
    }

    #[test]
    fn enough_nodes_are_no_finding() {
        let three = (
            "class",
            "org.apache.cassandra.locator.NetworkTopologyStrategy",
        );
        assert!(
            told(
                &[three, ("dc1", "3"), ("dc2", "1")],
                &[("dc1", 3), ("dc2", 4)]
            )
            .is_empty()
        );
        assert!(told(&[("replication_factor", "3")], &[("dc1", 1), ("dc2", 2)]).is_empty());
        assert!(told(&[("dc1", "3/1")], &[("dc1", 3)]).is_empty());
    }

    #[test]
    fn too_few_nodes_for_every_replica_are_a_warning_and_too_few_for_a_quorum_are_wrong() {
        let lines = told(&[("dc1", "3"), ("dc2", "3")], &[("dc1", 2), ("dc2", 1)]);
        assert!(lines[0].starts_with("warn ") && lines[0].contains("\"dc1\", which has 2 nodes"));
        assert!(lines[1].starts_with("wrong ") && lines[1].contains("a quorum of 2"));
        let gone = told(&[("dc3", "1")], &[("dc1", 2)]);
        assert!(gone[0].starts_with("wrong "), "{gone:?}");
    }
}
