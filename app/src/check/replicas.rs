//! Checks that there are as many nodes as the keyspace wants replicas. Cassandra accepts any number, and fails only the
//! requests that cannot be met.

use std::collections::BTreeMap;

use super::Findings;
use stitch_config::{ReadConsistency, WriteConsistency};

/// The option with the replicas of `SimpleStrategy`, which has no data centres.
const ANYWHERE: &str = "replication_factor";

/// A keyspace, as its requests meet it.
pub(super) struct Keyspace<'a> {
    /// What messages call its cluster.
    pub(super) cluster: &'a str,
    pub(super) name: &'a str,
    /// The data centre that requests go to; `None` if they go to any.
    pub(super) local: Option<&'a str>,
    /// The value in `system_schema.keyspaces`.
    pub(super) replication: &'a BTreeMap<String, String>,
}

/// What a program asks for, and at which level.
pub(super) type Requests = (&'static str, WriteConsistency);

/// The level of a read, as one of those that increments have, too.
pub(super) const fn level_of_reads(level: ReadConsistency) -> WriteConsistency {
    match level {
        ReadConsistency::LocalOne => WriteConsistency::LocalOne,
        ReadConsistency::LocalQuorum => WriteConsistency::LocalQuorum,
        ReadConsistency::One => WriteConsistency::One,
        ReadConsistency::Quorum => WriteConsistency::Quorum,
        ReadConsistency::All => WriteConsistency::All,
    }
}

/// The replicas that a place is to have, and its nodes.
struct Place<'a> {
    /// `None` for the whole cluster, where replication knows no data centres.
    datacenter: Option<&'a str>,
    replicas: usize,
    nodes: usize,
}

impl Place<'_> {
    const fn majority(&self) -> usize {
        self.replicas / 2 + 1
    }

    fn available(&self) -> usize {
        self.replicas.min(self.nodes)
    }

    fn has(&self, needed: usize) -> bool {
        self.available() >= needed
    }

    fn name(&self) -> String {
        self.datacenter.map_or_else(
            || "the cluster".to_owned(),
            |name| format!("data centre \"{name}\""),
        )
    }
}

/// Compares the replicas wanted in each data centre with its nodes, which `nodes` counts, and with what `requests` need.
pub(super) fn check(
    keyspace: &Keyspace<'_>,
    requests: &[Requests],
    nodes: &BTreeMap<&str, usize>,
) -> Findings {
    let Keyspace { cluster, name, .. } = keyspace;
    let mut findings = Findings::default();
    let places = places(keyspace.replication, nodes);
    for place in places.iter().filter(|place| !place.has(place.replicas)) {
        let (replicas, available) = (place.replicas, place.nodes);
        findings.warn(
            format!(
                "{cluster}: keyspace {name} wants {replicas} replicas in {}, which has {available} nodes: what reads every \
                 replica cannot",
                place.name()
            ),
            format!(
                "add nodes, or ALTER KEYSPACE {name} to at most {available} replicas there, and repair it"
            ),
        );
    }
    for (what, level) in requests {
        if let Some(why) = unmet(*level, keyspace.local, &places) {
            findings.wrong(
                format!("{cluster}: every one of the {what} at {} fails: keyspace {name} has {why}", level.name()),
                format!(
                    "add nodes, or ALTER KEYSPACE {name} and repair it, or choose another level or local_datacenter in \
                     the configuration"
                ),
            );
        }
    }
    findings
}

fn places<'a>(
    replication: &'a BTreeMap<String, String>,
    nodes: &BTreeMap<&str, usize>,
) -> Vec<Place<'a>> {
    let places = replication.iter().filter_map(|(place, factor)| {
        // Replicas of which some are transient are written "3/1".
        let total = factor.split('/').next().unwrap_or(factor);
        let replicas = total.parse().ok().filter(|replicas| *replicas > 0)?;
        Some(if place == ANYWHERE {
            Place {
                datacenter: None,
                replicas,
                nodes: nodes.values().sum(),
            }
        } else {
            Place {
                datacenter: Some(place.as_str()),
                replicas,
                nodes: nodes.get(place.as_str()).copied().unwrap_or(0),
            }
        })
    });
    places.collect()
}

/// What a keyspace with all of its nodes up lacks for a level; `None` if it lacks nothing.
fn unmet(level: WriteConsistency, local: Option<&str>, places: &[Place<'_>]) -> Option<String> {
    let lacks = |place: &Place<'_>, needed: usize| {
        (!place.has(needed)).then(|| {
            format!(
                "{} replicas in {} for the {needed} that it takes",
                place.available(),
                place.name()
            )
        })
    };
    let is_local = |place: &&Place<'_>| {
        local.is_none() || place.datacenter.is_none() || place.datacenter == local
    };
    let all = |places: &[&Place<'_>], needed: fn(&Place<'_>) -> usize| {
        places.iter().find_map(|place| lacks(place, needed(place)))
    };
    let sum = |needed: usize| {
        let available: usize = places.iter().map(Place::available).sum();
        (available < needed).then(|| format!("{available} replicas for the {needed} that it takes"))
    };
    let nearby: Vec<_> = places.iter().filter(is_local).collect();
    let everywhere: Vec<_> = places.iter().collect();
    let no_replica = || {
        let local = local.filter(|_| nearby.is_empty())?;
        Some(format!("no replica in data centre \"{local}\""))
    };
    match level {
        WriteConsistency::LocalOne => no_replica().or_else(|| all(&nearby, |_| 1)),
        WriteConsistency::LocalQuorum => {
            no_replica().or_else(|| all(&nearby, |place| place.majority()))
        }
        WriteConsistency::EachQuorum => all(&everywhere, |place| place.majority()),
        WriteConsistency::Quorum => {
            sum(places.iter().map(|place| place.replicas).sum::<usize>() / 2 + 1)
        }
        WriteConsistency::One => sum(1),
        WriteConsistency::All => all(&everywhere, |place| place.replicas),
    }
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

    use stitch_config::WriteConsistency::{All, EachQuorum, LocalOne, LocalQuorum, One, Quorum};

    fn findings_of(
        replication: &[(&str, &str)],
        nodes: &[(&'static str, usize)],
        (local, level): (Option<&str>, WriteConsistency),
    ) -> Vec<String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let keyspace = Keyspace {
            cluster: "cassandra",
            name: "stitch",
            local,
            replication: &replication.iter().map(owned).collect(),
        };
        let nodes = nodes.iter().copied().collect();
        let findings = check(&keyspace, &[("increments", level)], &nodes).findings;
        let line = |finding: super::super::Finding| {
            assert!(finding.help.is_some_and(|help| help.contains("ALTER")));
            format!("{} {}", finding.verdict.name(), finding.message)
        };
        findings.into_iter().map(line).collect()
    }

    const ANY: (Option<&str>, WriteConsistency) = (None, LocalQuorum);

    #[test]
    fn enough_nodes_yield_no_finding() {
        let three = (
            "class",
            "org.apache.cassandra.locator.NetworkTopologyStrategy",
        );
        let two_centres = [three, ("dc1", "3"), ("dc2", "1")];
        assert!(findings_of(&two_centres, &[("dc1", 3), ("dc2", 4)], ANY).is_empty());
        let simple = [("replication_factor", "3")];
        assert!(findings_of(&simple, &[("dc1", 1), ("dc2", 2)], ANY).is_empty());
        assert!(findings_of(&[("dc1", "3/1")], &[("dc1", 3)], ANY).is_empty());
    }

    #[test]
    fn too_few_nodes_for_every_replica_are_a_warning_and_too_few_for_a_quorum_are_wrong() {
        let lines = findings_of(
            &[("dc1", "3"), ("dc2", "3")],
            &[("dc1", 2), ("dc2", 1)],
            ANY,
        );
        assert!(lines[0].starts_with("warn ") && lines[0].contains("\"dc1\", which has 2 nodes"));
        assert!(lines[1].starts_with("warn ") && lines[1].contains("\"dc2\", which has 1 nodes"));
        let wrong = &lines[2];
        assert!(
            wrong.starts_with("wrong ") && wrong.contains("at LOCAL_QUORUM fails"),
            "{wrong}"
        );
        assert!(
            wrong.contains("1 replicas in data centre \"dc2\" for the 2"),
            "{wrong}"
        );
        let local = (Some("dc1"), LocalQuorum);
        let lines = findings_of(
            &[("dc1", "3"), ("dc2", "3")],
            &[("dc1", 3), ("dc2", 1)],
            local,
        );
        assert_eq!(lines.len(), 1, "increments of dc1 do not fail: {lines:?}");
    }

    #[test]
    fn a_local_data_centre_without_replicas_is_wrong() {
        let nodes = [("dc1", 3), ("dc2", 3)];
        let none = [("dc1", "3"), ("dc2", "0")];
        for level in [LocalQuorum, LocalOne, EachQuorum] {
            assert!(findings_of(&none, &nodes, (None, level)).is_empty());
        }
        for (replication, level) in [(&none[..1], LocalQuorum), (&none, LocalOne)] {
            let lines = findings_of(replication, &nodes, (Some("dc2"), level));
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].contains("no replica in data centre \"dc2\""),
                "{lines:?}"
            );
        }
        for level in [Quorum, One, All, EachQuorum] {
            let lines = findings_of(&[("dc1", "3")], &nodes, (Some("dc2"), level));
            assert!(lines.is_empty(), "{level:?}: {lines:?}");
        }
    }

    #[test]
    fn each_level_takes_what_it_takes() {
        let is_wrong = |level, nodes| {
            let lines = findings_of(&[("dc1", "3")], &[("dc1", nodes)], (None, level));
            lines.iter().any(|line| line.starts_with("wrong "))
        };
        let needed = |level| (0..=3).find(|nodes| !is_wrong(level, *nodes)).unwrap();
        let needed = [LocalOne, One, LocalQuorum, EachQuorum, Quorum, All].map(needed);
        assert_eq!(needed, [1, 1, 2, 2, 2, 3]);
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
