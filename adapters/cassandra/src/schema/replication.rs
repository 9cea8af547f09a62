//! The keyspace's replication.
//!
//! A keyspace is always created with `NetworkTopologyStrategy`, even for a plain number: `SimpleStrategy` ignores racks
//! and data centres, its `LOCAL_QUORUM` is meaningless once a second data centre joins, and changing it then means moving
//! every row. A number therefore refers to the only data centre, or to the configured local one.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{literal, quoted};

/// The data centres of the cluster, and how many nodes each has.
pub type Datacenters = BTreeMap<String, usize>;

/// The value of `--replication`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Replicas in the only data centre, or in the configured local one.
    Factor(u32),
    /// Replicas in each of these data centres.
    ByDatacenter(BTreeMap<String, u32>),
}

/// An invalid replication.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// It cannot be read.
    #[error("replication \"{0}\" is neither a number, as in `3`, nor a list, as in `dc1=3,dc2=2`")]
    Unreadable(String),
    /// The cluster has several data centres, and a number does not say which.
    #[error(
        "the cluster has the data centres {0}: say how many replicas each has, as in `dc1=3,dc2=2`"
    )]
    WhichDatacenter(String),
    /// The cluster has no such data centre.
    #[error("the cluster has no data centre \"{name}\"; it has {existing}")]
    NoSuchDatacenter {
        name: String,
        /// The data centres that exist.
        existing: String,
    },
}

impl FromStr for Replication {
    type Err = ReplicationError;

    fn from_str(text: &str) -> Result<Self, ReplicationError> {
        let unreadable = || ReplicationError::Unreadable(text.to_owned());
        let factor = |number: &str| match number.trim().parse::<u32>() {
            Ok(factor) if factor > 0 => Ok(factor),
            Ok(_) | Err(_) => Err(unreadable()),
        };
        if !text.contains('=') {
            return factor(text).map(Self::Factor);
        }
        let mut datacenters = BTreeMap::new();
        for part in text.split(',') {
            let (name, number) = part.split_once('=').ok_or_else(unreadable)?;
            let name = name.trim();
            let twice = datacenters
                .insert(name.to_owned(), factor(number)?)
                .is_some();
            if name.is_empty() || twice {
                return Err(unreadable());
            }
        }
        Ok(Self::ByDatacenter(datacenters))
    }
}

impl Replication {
    /// The proposal without `--replication`: three replicas, or as many as there are nodes.
    #[must_use]
    pub fn proposed(datacenters: &Datacenters) -> Self {
        let factor = |nodes: &usize| u32::try_from(*nodes).unwrap_or(u32::MAX).clamp(1, 3);
        Self::ByDatacenter(
            datacenters
                .iter()
                .map(|(name, nodes)| (name.clone(), factor(nodes)))
                .collect(),
        )
    }

    /// The statement that creates the keyspace.
    ///
    /// # Errors
    /// It does not fit the cluster's data centres.
    pub fn statement(
        &self,
        keyspace: &str,
        datacenters: &Datacenters,
        local: Option<&str>,
    ) -> Result<String, ReplicationError> {
        let by_datacenter = self.resolved(datacenters, local)?;
        let mut options = "'class': 'NetworkTopologyStrategy'".to_owned();
        for (name, factor) in &by_datacenter {
            options.push_str(&format!(", {}: {factor}", literal(name)));
        }
        Ok(format!(
            "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {{{options}}}",
            quoted(keyspace)
        ))
    }

    fn resolved(
        &self,
        datacenters: &Datacenters,
        local: Option<&str>,
    ) -> Result<BTreeMap<String, u32>, ReplicationError> {
        let existing = || datacenters.keys().cloned().collect::<Vec<_>>().join(", ");
        let wanted = match self {
            Self::ByDatacenter(wanted) => wanted.clone(),
            Self::Factor(factor) => {
                let only = || {
                    let mut names = datacenters.keys();
                    names.next().filter(|_| names.next().is_none())
                };
                let name = match local {
                    Some(local) => local,
                    None => only().ok_or_else(|| ReplicationError::WhichDatacenter(existing()))?,
                };
                BTreeMap::from([(name.to_owned(), *factor)])
            }
        };
        match wanted.keys().find(|name| !datacenters.contains_key(*name)) {
            Some(name) => Err(ReplicationError::NoSuchDatacenter {
                name: name.clone(),
                existing: existing(),
            }),
            None => Ok(wanted),
        }
    }

    /// How an existing keyspace's replication differs from this one, if it does. An existing keyspace with
    /// `SimpleStrategy` agrees with a plain number.
    #[must_use]
    pub fn difference(&self, actual: &BTreeMap<String, String>) -> Option<String> {
        let mut factors = actual.clone();
        let simple = factors
            .remove("class")
            .is_some_and(|class| class.ends_with("SimpleStrategy"));
        let agrees = match self {
            Self::Factor(factor) => {
                !factors.is_empty() && factors.values().all(|actual| *actual == factor.to_string())
            }
            Self::ByDatacenter(wanted) => {
                !simple
                    && wanted.len() == factors.len()
                    && wanted
                        .iter()
                        .all(|(name, factor)| factors.get(name) == Some(&factor.to_string()))
            }
        };
        (!agrees).then(|| {
            let wanted = match self {
                Self::Factor(factor) => factor.to_string(),
                Self::ByDatacenter(wanted) => joined(wanted),
            };
            format!(
                "replication: wanted {wanted}, in the keyspace {}",
                joined(actual)
            )
        })
    }
}

fn joined<V: std::fmt::Display>(map: &BTreeMap<String, V>) -> String {
    let parts: Vec<_> = map
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datacenters(names: &[(&str, usize)]) -> Datacenters {
        names
            .iter()
            .map(|(name, nodes)| ((*name).to_owned(), *nodes))
            .collect()
    }

    fn statement(
        text: &str,
        names: &[(&str, usize)],
        local: Option<&str>,
    ) -> Result<String, ReplicationError> {
        text.parse::<Replication>()?
            .statement("k", &datacenters(names), local)
    }

    #[test]
    fn a_number_means_the_one_data_centre_or_the_local_one() {
        let expected = "CREATE KEYSPACE IF NOT EXISTS \"k\" WITH replication = \
                    {'class': 'NetworkTopologyStrategy', 'dc1': 3}";
        assert_eq!(statement("3", &[("dc1", 3)], None).unwrap(), expected);
        assert_eq!(
            statement("3", &[("dc1", 3), ("dc2", 3)], Some("dc1")).unwrap(),
            expected
        );
        assert_eq!(
            statement("3", &[("dc1", 3), ("dc2", 3)], None),
            Err(ReplicationError::WhichDatacenter("dc1, dc2".to_owned()))
        );
    }

    #[test]
    fn a_list_names_data_centres_that_exist() {
        assert!(
            statement("dc1=3, dc2=2", &[("dc1", 3), ("dc2", 3)], None)
                .unwrap()
                .ends_with("{'class': 'NetworkTopologyStrategy', 'dc1': 3, 'dc2': 2}")
        );
        assert!(matches!(
            statement("dc1=3,dc9=2", &[("dc1", 3)], None),
            Err(ReplicationError::NoSuchDatacenter { name, .. }) if name == "dc9"
        ));
    }

    #[test]
    fn other_replications_are_unreadable() {
        for text in [
            "",
            "0",
            "-1",
            "three",
            "dc1=",
            "=3",
            "dc1=3,dc1=2",
            "dc1=0",
            "dc1=3,",
        ] {
            assert!(
                matches!(
                    text.parse::<Replication>(),
                    Err(ReplicationError::Unreadable(_))
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn an_existing_keyspace_agrees_or_the_difference_is_listed() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let simple = map(&[
            ("class", "org.apache.cassandra.locator.SimpleStrategy"),
            ("replication_factor", "3"),
        ]);
        let topology = map(&[
            (
                "class",
                "org.apache.cassandra.locator.NetworkTopologyStrategy",
            ),
            ("dc1", "3"),
        ]);
        let three: Replication = "3".parse().unwrap();
        let named: Replication = "dc1=3".parse().unwrap();
        assert_eq!(three.difference(&simple), None);
        assert_eq!(three.difference(&topology), None);
        assert_eq!(named.difference(&topology), None);
        assert!(named.difference(&simple).is_some());
        let two: Replication = "2".parse().unwrap();
        assert!(
            two.difference(&topology)
                .unwrap()
                .starts_with("replication: wanted 2, in the keyspace")
        );
    }

    #[test]
    fn three_replicas_are_proposed_or_as_many_as_there_are_nodes() {
        let proposed = Replication::proposed(&datacenters(&[("a", 1), ("b", 5)]));
        assert_eq!(proposed, "a=1,b=3".parse().unwrap());
    }
}
