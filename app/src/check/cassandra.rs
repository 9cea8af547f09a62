//! Checks Cassandra: reachability, the table, and the settings of each node that the quiescence barrier depends on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, Needs, replicas, security, speculative_retry};
use stitch_cassandra::{
    COUNTS_TABLE, REQUIRED_SERVER, ROWS_MAX, ROWS_MIN, Release, SchemaError, ScyllaCql, ScyllaNodes,
};
use stitch_common::clock::SystemClock;
use stitch_common::ports::{Cql, NodeSettings, NodeState, Nodes, Probe, StoreError};
use stitch_common::user_error::UserError;
use stitch_config::{Cassandra, Config};
use stitch_protocol::quiescence::{QuiescenceBound, Sessions};

/// How long one node may take to list its settings.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn check(
    config: &Config,
    cql: &ScyllaCql<SystemClock>,
    needs: Needs,
) -> (Findings, Option<Vec<NodeSettings>>) {
    let mut findings = Findings::default();
    match query(config, cql, needs, &mut findings).await {
        Ok(settings) => (findings, Some(settings)),
        Err(error) => {
            failed(error, &mut findings);
            (findings, None)
        }
    }
}

async fn query(
    config: &Config,
    cql: &ScyllaCql<SystemClock>,
    needs: Needs,
    findings: &mut Findings,
) -> Result<Vec<NodeSettings>, StoreError> {
    let nodes = cql.connect_nodes().await?;
    security::cassandra(&config.cassandra, "cassandra", findings);
    let ring = nodes.ring().await?;
    let settings = settings(config, &nodes, &ring, findings).await;
    // The barrier can be checked without the table.
    if let Err(error) = table(config, cql, (&nodes, &ring), needs, findings).await {
        failed(error, findings);
    }
    Ok(settings)
}

fn failed(error: StoreError, findings: &mut Findings) {
    let failure = UserError::from(error);
    findings.wrong(format!("cassandra: {}", failure.message), failure.help);
}

async fn settings(
    config: &Config,
    nodes: &ScyllaNodes<SystemClock>,
    ring: &[NodeState],
    findings: &mut Findings,
) -> Vec<NodeSettings> {
    findings.ok(format!(
        "cassandra: {} answers; {} nodes",
        config.cassandra.nodes,
        ring.len()
    ));
    datacenter(&config.cassandra, "cassandra", ring, findings);
    let mut every = Vec::new();
    for state in ring {
        let name = format!(
            "cassandra: node {} ({})",
            state.node.address, state.node.id.0
        );
        if !state.up || !state.normal {
            let condition = if state.up {
                "is joining, leaving or moving"
            } else {
                "is down"
            };
            let help = "see `nodetool status`; until it is up and normal, a restoration verifies nothing, unless \
                           --read-consistency QUORUM and --declare-dead say otherwise";
            findings.warn(format!("{name} {condition}"), help);
            continue;
        }
        match nodes.release(&state.node, NODE_TIMEOUT).await {
            Ok(of) => release(&name, &of, findings),
            Err(error) => findings.warn(
                format!("{name} does not name its release: {error}"),
                "see its log",
            ),
        }
        match nodes.page_rows_max(&state.node, NODE_TIMEOUT).await {
            Ok(rows_max) => pages(&name, rows_max, findings),
            Err(error) => findings.warn(
                format!("{name} does not list page_size_fail_threshold: {error}"),
                "see its log",
            ),
        }
        match nodes.settings(&state.node, NODE_TIMEOUT).await {
            Ok(settings) => {
                every.push(settings);
                node(config, &name, &settings, findings);
            }
            Err(error) => findings.wrong(
                format!("{name} does not list its settings: {error}"),
                format!(
                    "Stitch needs {REQUIRED_SERVER}, with system_views.settings and system_views.clients; see whether \
                     the node answers at all"
                ),
            ),
        }
    }
    every
}

pub(super) fn release(name: &str, release: &Release, findings: &mut Findings) {
    if release.is_supported() {
        findings.ok(format!(
            "{name}: release {release}; required: {REQUIRED_SERVER}"
        ));
    } else {
        findings.wrong(
            format!("{name}: release {release}, and Stitch needs {REQUIRED_SERVER}"),
            "upgrade the node; until then no restoration verifies anything",
        );
    }
}

/// Whether pages of a scan can have so many rows as the node's guardrail allows.
fn pages(name: &str, rows_max: Option<u32>, findings: &mut Findings) {
    let Some(rows_max) = rows_max.and_then(|rows| i32::try_from(rows).ok()) else {
        return;
    };
    let message = format!("{name}: page_size_fail_threshold is {rows_max}");
    let help =
        format!("set it to {ROWS_MAX} or more: `nodetool setguardrailsconfig`, or cassandra.yaml");
    if rows_max < ROWS_MIN {
        findings.wrong(
            format!("{message}, and no page that is read has fewer than {ROWS_MIN} rows"),
            help,
        );
    } else if rows_max < ROWS_MAX {
        findings.warn(
            format!(
                "{message}, so pages of an audit are halved from {ROWS_MAX} rows until they fit: it takes longer, and \
                 each process logs refused reads at first"
            ),
            help,
        );
    }
}

/// Of a cluster that messages call `cluster`.
pub(super) fn datacenter(
    cassandra: &Cassandra,
    cluster: &str,
    ring: &[NodeState],
    findings: &mut Findings,
) {
    let Some(local) = &cassandra.local_datacenter else {
        return;
    };
    let known = by_datacenter(ring);
    if known.contains_key(local.as_str()) {
        findings.ok(format!(
            "{cluster}: writes go to the data centre \"{local}\""
        ));
    } else {
        let message = format!("{cluster}: there is no data centre \"{local}\"");
        let help = format!(
            "set {cluster}.local_datacenter to one of {}",
            known.into_keys().collect::<Vec<_>>().join(", ")
        );
        findings.wrong(message, help);
    }
}

pub(super) fn by_datacenter(ring: &[NodeState]) -> BTreeMap<&str, usize> {
    let mut nodes = BTreeMap::new();
    for state in ring {
        *nodes.entry(state.datacenter.as_str()).or_default() += 1;
    }
    nodes
}

fn node(config: &Config, name: &str, settings: &NodeSettings, findings: &mut Findings) {
    let keepalive = config.cassandra.keepalive_interval;
    if !settings.internode_timeout {
        findings.wrong(
            format!(
                "{name}: internode_timeout is off, so old increments never expire between nodes"
            ),
            "set internode_timeout: true in its cassandra.yaml, and restart it",
        );
        return;
    }
    let keepalive_ms = keepalive.as_millis();
    match settings.native_transport_idle_timeout {
        None => findings.warn(
            format!("{name}: native_transport_idle_timeout is off, so the connections of a lost host stay listed"),
            format!("set it above cassandra.keepalive_interval_ms = {keepalive_ms}, for example to 60s"),
        ),
        Some(idle) if idle <= keepalive => findings.wrong(
            format!(
                "{name}: native_transport_idle_timeout of {} ms is not above cassandra.keepalive_interval_ms = \
                 {keepalive_ms}, so the node closes connections that are in use",
                idle.as_millis()
            ),
            "lengthen the first or shorten the second",
        ),
        Some(idle) => findings.ok(format!(
            "{name}: internode_timeout is on, native_transport_idle_timeout is {} ms",
            idle.as_millis()
        )),
    }
}

async fn table(
    config: &Config,
    cql: &ScyllaCql<SystemClock>,
    (nodes, ring): (&impl Nodes, &[NodeState]),
    needs: Needs,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let schema = cql.connect_schema().await?;
    let keyspace = &config.cassandra.keyspace;
    match schema.check().await {
        Ok(_) => {
            let replication = schema.replication().await?.unwrap_or_default();
            let factors = replication.iter().filter(|(name, _)| *name != "class");
            let factors: Vec<_> = factors
                .map(|(name, factor)| format!("{name} {factor}"))
                .collect();
            findings.ok(format!(
                "cassandra: table {keyspace}.counts is the namespace's; replicas: {}",
                factors.join(", ")
            ));
            let datacenters = by_datacenter(ring);
            let requests = if needs.increments() {
                ("increments", config.cassandra.write_consistency)
            } else {
                ("reads", replicas::level_of_reads(config.api.consistency))
            };
            let of_counts = replicas::Keyspace {
                cluster: "cassandra",
                name: keyspace,
                local: config.cassandra.local_datacenter.as_deref(),
                replication: &replication,
            };
            findings.append(replicas::check(&of_counts, &[requests], &datacenters));
            if config.cassandra.credentials.is_some() {
                let replication = schema.auth_replication().await?.unwrap_or_default();
                findings.append(replicas::check_auth(&replication, &datacenters));
            }
            findings.append(speculative_retry::check(&schema, keyspace, COUNTS_TABLE).await?);
            counts(keyspace, (nodes, ring), needs, findings).await;
            if needs.increments() {
                probes(keyspace, nodes, ring, findings).await;
            }
        }
        Err(SchemaError::Store(error)) => return Err(error),
        Err(
            error @ (SchemaError::KeyspaceMissing { .. }
            | SchemaError::TableMissing(_)
            | SchemaError::BatchMissing(_)
            | SchemaError::ProbesMissing(_)
            | SchemaError::Unclaimed(_)),
        ) => {
            let failure = UserError::from(error);
            findings.warn(format!("cassandra: {}", failure.message), failure.help);
        }
        Err(
            error @ (SchemaError::Differs { .. }
            | SchemaError::Claimed { .. }
            | SchemaError::Replication(_)),
        ) => {
            let failure = UserError::from(error);
            findings.wrong(format!("cassandra: {}", failure.message), failure.help);
        }
    }
    Ok(())
}

/// Whether this role may do what the program does: read, and increment if it counts.
async fn counts(
    keyspace: &str,
    (nodes, ring): (&impl Nodes, &[NodeState]),
    needs: Needs,
    findings: &mut Findings,
) {
    let Some(state) = ring.iter().find(|state| state.up) else {
        return;
    };
    let read = nodes.may_read(&state.node, NODE_TIMEOUT).await;
    let mut rights = vec![("SELECT", read)];
    if needs.increments() {
        let incremented = nodes.may_increment(&state.node, NODE_TIMEOUT).await;
        rights.push(("MODIFY", incremented));
    }
    for (rights, answer) in rights {
        role(
            "cassandra",
            rights,
            (keyspace, COUNTS_TABLE),
            answer,
            findings,
        );
    }
}

/// Whether this role has rights on a table of a cluster that messages call `cluster`.
pub(super) fn role(
    cluster: &str,
    rights: &str,
    (keyspace, table): (&str, &str),
    answer: Result<(), StoreError>,
    findings: &mut Findings,
) {
    match answer {
        Ok(()) => findings.ok(format!(
            "{cluster}: this role has {rights} on {keyspace}.{table}"
        )),
        Err(StoreError::Refused(why)) => findings.wrong(
            format!("{cluster}: this role has no {rights} on {keyspace}.{table}: {why}"),
            format!("grant the role {rights} on the keyspace {keyspace}"),
        ),
        Err(StoreError::Denied(denial)) => findings.failed(denial),
        Err(StoreError::Unavailable(why)) => findings.warn(
            format!(
                "{cluster}: whether this role has {rights} on {keyspace}.{table} is unknown: {why}"
            ),
            "see the log of the node",
        ),
    }
}

/// Whether each node that is up applies the increment by which the quiescence barrier probes it.
async fn probes(keyspace: &str, nodes: &impl Nodes, ring: &[NodeState], findings: &mut Findings) {
    let up: Vec<_> = ring.iter().filter(|state| state.up).collect();
    let mut applied = 0;
    for state in &up {
        let name = format!(
            "cassandra: node {} ({})",
            state.node.address, state.node.id.0
        );
        match nodes.probe(&state.node, NODE_TIMEOUT).await {
            Probe::Answered => applied += 1,
            Probe::Rejected(why) => findings.wrong(
                format!("{name} rejects increments in {keyspace}_probes.probes: {why}"),
                format!("grant the role MODIFY on the keyspace {keyspace}_probes"),
            ),
            Probe::Stalled => findings.warn(
                format!("{name} answers, but applies no increment: no quiescence barrier holds"),
                "see its log, and the disk of its commit log",
            ),
            Probe::Refused | Probe::Replaced | Probe::Silent => findings.warn(
                format!("{name} does not answer a probe: no quiescence barrier holds"),
                "see its log",
            ),
        }
    }
    if applied == up.len() {
        findings.ok(format!(
            "cassandra: {applied} nodes apply increments in {keyspace}_probes.probes"
        ));
    }
}

/// The bound of a quiescence barrier, with these nodes and the longest session of any member.
pub(super) fn quiescence(
    config: &Config,
    longest_timeout: Duration,
    nodes: &[NodeSettings],
) -> Findings {
    let mut findings = Findings::default();
    let sessions = Sessions {
        longest_timeout,
        keepalive_interval: config.cassandra.keepalive_interval,
        keepalive_timeout: config.cassandra.keepalive_timeout,
    };
    let bound = QuiescenceBound::new(sessions, nodes);
    let (total, limit) = (bound.total(), config.restorator.quiescence_timeout);
    let message = format!(
        "quiescence: after a fault, a restoration waits at least W = {:.1} s (sessions {:.1}, their ticks {:.1}, queues {:.1}, \
         counter writes {:.1}, keepalive {:.1}, clocks and margin {:.1})",
        total.as_secs_f64(),
        bound.sessions.as_secs_f64(),
        bound.session_ticks.as_secs_f64(),
        bound.native_transport.as_secs_f64(),
        bound.counter_writes.as_secs_f64(),
        bound.keepalive.as_secs_f64(),
        (bound.clock_drift + bound.margin).as_secs_f64()
    );
    if total < limit {
        findings.ok(message);
    } else {
        let limit_ms = limit.as_millis();
        let help = format!(
            "lengthen restorator.quiescence_timeout_ms = {limit_ms}, or shorten the timeouts"
        );
        findings.wrong(message, help);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    fn verdict_of(rows_max: Option<u32>) -> Option<Verdict> {
        let mut findings = Findings::default();
        pages("cassandra: node 10.0.0.1:9042", rows_max, &mut findings);
        let finding = findings.findings.pop()?;
        assert!(finding.message.contains("page_size_fail_threshold"));
        Some(finding.verdict)
    }

    #[test]
    fn a_guardrail_below_the_pages_of_scans_is_named() {
        for (rows_max, verdict) in [
            (None, None),
            (Some(5000), None),
            (Some(4999), Some(Verdict::Warn)),
            (Some(50), Some(Verdict::Warn)),
            (Some(49), Some(Verdict::Wrong)),
        ] {
            assert_eq!(verdict_of(rows_max), verdict, "{rows_max:?}");
        }
    }
}
