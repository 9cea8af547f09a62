//! Checks for each server whether connections are encrypted, as whom it knows this program, and who else may change what
//! the fleet relies on. What this program itself may do is looked at with the rest of each server.

use std::collections::BTreeSet;

use super::{Findings, Needs};
use crate::tree;
use stitch_common::ports::ZkError;
use stitch_config::{Cassandra, Config, Verify};
use stitch_protocol::path::Paths;
use stitch_zookeeper::{Access, ZooKeeperSession};

/// Connections to ZooKeeper, and the identity that the server says it knows.
pub(super) async fn zookeeper(
    config: &Config,
    session: &ZooKeeperSession,
    findings: &mut Findings,
) -> Result<(), ZkError> {
    let zookeeper = &config.zookeeper;
    let known_as = match session.known_as().await? {
        Some(names) if names.is_empty() => "no identity".to_owned(),
        Some(names) => names.join(", "),
        None => zookeeper.identity.as_ref().map_or_else(
            || "no identity".to_owned(),
            |identity| format!("digest:{}", identity.user),
        ),
    };
    match (&zookeeper.tls, &zookeeper.identity) {
        (Some(files), _) => findings.ok(format!(
            "zookeeper: connections are encrypted, by the authority in {}; known as {known_as}",
            files.ca.display()
        )),
        (None, None) => findings.ok(format!(
            "zookeeper: connections are not encrypted; known as {known_as}"
        )),
        (None, Some(identity)) => findings.warn(
            format!(
                "zookeeper: connections are not encrypted, so the password of \"{}\" can be read on its way; known as \
                 {known_as}",
                identity.user
            ),
            "add [zookeeper.tls], and name the servers' ports for TLS by zookeeper.connect",
        ),
    }
    Ok(())
}

/// Who may change the namespace's nodes.
pub(super) async fn access(
    config: &Config,
    session: &ZooKeeperSession,
    needs: Needs,
    findings: &mut Findings,
) -> Result<(), ZkError> {
    let paths = Paths::below(&config.zookeeper.root, &config.namespace);
    let nodes = tree::nodes(session, paths.root()).await?;
    let access = tree::access(session, &nodes).await?;
    who(config, &access, needs, findings);
    Ok(())
}

fn who(config: &Config, nodes: &[(String, Access)], needs: Needs, findings: &mut Findings) {
    let user = config.zookeeper.identity.as_ref().map(|own| &own.user);
    let anyone: Vec<_> = nodes
        .iter()
        .filter(|(_, access)| *access == Access::Anyone)
        .collect();
    let others = nodes.iter().filter_map(|(_, access)| match access {
        Access::Others(names) => Some(names),
        Access::Anyone | Access::Ours => None,
    });
    let names: BTreeSet<&str> = others.flatten().map(String::as_str).collect();
    let others = names.iter().copied().collect::<Vec<_>>().join(", ");
    match (user, anyone.first()) {
        (Some(user), None) if others.is_empty() => findings.ok(format!(
            "zookeeper: only \"{user}\" may change the {} nodes of the namespace",
            nodes.len()
        )),
        (Some(user), Some((first, _))) => findings.warn(
            format!(
                "zookeeper: everyone who reaches the servers may change {} nodes of the namespace, such as {first}, and not \
                 only \"{user}\"",
                anyone.len()
            ),
            "run `stitch-processor init --update`, and restart members that run without zookeeper.auth",
        ),
        (None, Some((first, _))) => findings.ok(format!(
            "zookeeper: everyone who reaches the servers may change the namespace's nodes, such as {first}: with \
             zookeeper.auth, only the fleet may"
        )),
        (_, None) if !needs.changes_nodes() => findings.ok(format!(
            "zookeeper: this program may read the namespace's nodes; only {others} may change them, as commands from the \
             operator's page do"
        )),
        (Some(user), None) if names.contains(format!("digest:{user}").as_str()) => findings.wrong(
            format!("zookeeper: the namespace's nodes are those of \"{user}\" with another password"),
            "correct zookeeper.password_file, or give the nodes to the new password: docs/operations/security.md",
        ),
        (_, None) => findings.wrong(
            format!("zookeeper: only {others} may change the namespace's nodes, and this program is not known as that"),
            "set zookeeper.auth = \"digest\", zookeeper.user and zookeeper.password_file to the identity of the fleet",
        ),
    }
}

/// Connections to a cluster of Cassandra, which messages call `cluster`, and the role of this program there.
pub(super) fn cassandra(cassandra: &Cassandra, cluster: &str, findings: &mut Findings) {
    let user = cassandra.credentials.as_ref().map(|login| &login.user);
    let known_as = user.map_or_else(
        || "without a user".to_owned(),
        |user| format!("as the role \"{user}\""),
    );
    match (&cassandra.tls, user) {
        (Some(tls), _) => {
            let shown = match tls.verify {
                Verify::Full => "certificates must name the nodes' addresses",
                Verify::Chain => "any certificate of that authority passes for any node",
            };
            findings.ok(format!(
                "{cluster}: connections are encrypted, by the authority in {} ({shown}); {known_as}",
                tls.files.ca.display()
            ));
        }
        (None, None) => findings.ok(format!(
            "{cluster}: connections are not encrypted; {known_as}"
        )),
        (None, Some(_)) => findings.warn(
            format!(
                "{cluster}: connections are not encrypted, so the password can be read on its way; {known_as}"
            ),
            format!("add [{cluster}.tls]"),
        ),
    }
}

/// Connections to Kafka, and the user of this program.
pub(super) fn kafka(config: &Config, findings: &mut Findings) {
    let property = |name: &str| config.kafka.client.get(name).map(String::as_str);
    let protocol = property("security.protocol").unwrap_or("plaintext");
    let protocol = protocol.to_ascii_uppercase();
    let known_as = stitch_kafka::known_as(&config.kafka);
    let unverified = property("enable.ssl.certificate.verification").is_some_and(is_off);
    let is_any_host_taken = property("ssl.endpoint.identification.algorithm")
        .is_some_and(|algorithm| algorithm.eq_ignore_ascii_case("none"));
    if protocol.ends_with("SSL") && unverified {
        findings.warn(
            format!(
                "kafka: connections are encrypted ({protocol}), and anyone may pass for a broker; known {known_as}"
            ),
            "remove \"enable.ssl.certificate.verification\" = false from [kafka.client]",
        );
    } else if protocol.ends_with("SSL") && is_any_host_taken {
        findings.warn(
            format!(
                "kafka: connections are encrypted ({protocol}), and any certificate of that authority passes for any broker; \
                 known {known_as}"
            ),
            "remove \"ssl.endpoint.identification.algorithm\" = \"none\" from [kafka.client]",
        );
    } else if protocol.ends_with("SSL") {
        findings.ok(format!(
            "kafka: connections are encrypted ({protocol}); known {known_as}"
        ));
    } else if protocol == "SASL_PLAINTEXT" {
        findings.warn(
            format!("kafka: connections are not encrypted ({protocol}); known {known_as}"),
            "set \"security.protocol\" = \"SASL_SSL\" in [kafka.client], and name the brokers' ports for it",
        );
    } else {
        findings.ok(format!(
            "kafka: connections are not encrypted ({protocol}); known {known_as}"
        ));
    }
}

/// Whether Kafka's client takes the value for false.
fn is_off(value: &str) -> bool {
    value == "0"
        || ["false", "f"]
            .iter()
            .any(|off| value.eq_ignore_ascii_case(off))
}

#[cfg(test)]
mod tests;
