//! Checks the table of batch counts, and its cluster if that is another one.

use std::time::Duration;

use super::{Findings, Needs, cassandra, replicas, security, speculative_retry};
use stitch_cassandra::{BATCH_TABLE, Schema, SchemaError, ScyllaCql, connect_batch_schema};
use stitch_common::clock::SystemClock;
use stitch_common::ports::{Cql, NodeState, Nodes, StoreError};
use stitch_common::user_error::UserError;
use stitch_config::Config;

/// The section, which is also what messages call the cluster.
const CLUSTER: &str = "batch.cassandra";

/// How long one node may take to name its release.
const NODE_TIMEOUT: Duration = Duration::from_secs(5);

/// Nothing where batch is not enabled, or the program does not need it.
pub(super) async fn check(config: &Config, needs: Needs) -> Findings {
    let mut findings = Findings::default();
    if !config.batch.enabled || !needs.batch_counts() {
        return findings;
    }
    let is_checked = needs.counts() && config.batch.realtime && !is_another_cluster(config);
    if !is_checked && let Err(error) = cluster(config, &mut findings).await {
        findings.failed_for(CLUSTER, error);
        return findings;
    }
    match table(config, needs, &mut findings).await {
        Ok(()) => {}
        Err(error @ (SchemaError::KeyspaceMissing { .. } | SchemaError::BatchMissing(_))) => {
            let failure = UserError::from(error);
            findings.warn(format!("batch: {}", failure.message), failure.help);
        }
        Err(error) => findings.failed_for("batch", error),
    }
    findings
}

/// Whether the table is in a cluster that the checks of `[cassandra]` do not reach, or in the same one as another role.
fn is_another_cluster(config: &Config) -> bool {
    let (batch, realtime) = (&config.batch.cassandra, &config.cassandra);
    batch.nodes != realtime.nodes
        || batch.credentials != realtime.credentials
        || batch.tls != realtime.tls
        || batch.local_datacenter != realtime.local_datacenter
}

/// Checks what the table's cluster has to be. No barrier waits for it, so its timeouts are its own.
async fn cluster(config: &Config, findings: &mut Findings) -> Result<(), StoreError> {
    let mut of_batch = config.clone();
    of_batch.cassandra = config.batch.cassandra.clone();
    let cql = ScyllaCql::new(&of_batch, SystemClock);
    let nodes = cql.connect_nodes().await?;
    security::cassandra(&of_batch.cassandra, CLUSTER, findings);
    let ring = nodes.ring().await?;
    findings.ok(format!(
        "{CLUSTER}: {} answers; {} nodes",
        of_batch.cassandra.nodes,
        ring.len()
    ));
    cassandra::datacenter(&of_batch.cassandra, CLUSTER, &ring, findings);
    for state in &ring {
        let name = format!(
            "{CLUSTER}: node {} ({})",
            state.node.address, state.node.id.0
        );
        if !state.up || !state.normal {
            let help =
                "see `nodetool status`; until it is up and normal, no load is read back at ALL";
            findings.warn(format!("{name} is not up and normal"), help);
            continue;
        }
        match nodes.release(&state.node, NODE_TIMEOUT).await {
            Ok(release) => cassandra::release(&name, &release, findings),
            Err(error) => findings.warn(
                format!("{name} does not name its release: {error}"),
                "see its log",
            ),
        }
    }
    replication(&cql.connect_schema().await?, config, &ring, findings).await
}

async fn replication(
    schema: &Schema,
    config: &Config,
    ring: &[NodeState],
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let keyspace = &config.batch.cassandra.keyspace;
    let datacenters = cassandra::by_datacenter(ring);
    if let Some(replication) = schema.replication().await? {
        let cassandra = &config.batch.cassandra;
        let of_batch = replicas::Keyspace {
            cluster: CLUSTER,
            name: keyspace,
            local: cassandra.local_datacenter.as_deref(),
            replication: &replication,
        };
        let requests = [
            ("writes of a load", cassandra.write_consistency),
            ("reads", replicas::level_of_reads(config.api.consistency)),
        ];
        findings.append(replicas::check(&of_batch, &requests, &datacenters));
    }
    if config.batch.cassandra.credentials.is_some() {
        let replication = schema.auth_replication().await?.unwrap_or_default();
        findings.append(replicas::check_auth(&replication, &datacenters));
    }
    Ok(())
}

/// Checks the table, and what this role may do there.
async fn table(config: &Config, needs: Needs, findings: &mut Findings) -> Result<(), SchemaError> {
    let keyspace = &config.batch.cassandra.keyspace;
    let schema = connect_batch_schema(config).await?;
    schema.check_batch().await?;
    findings.ok(format!(
        "batch: table {keyspace}.{BATCH_TABLE} is the namespace's"
    ));
    findings.append(speculative_retry::check(&schema, keyspace, BATCH_TABLE).await?);
    let name = (keyspace.as_str(), BATCH_TABLE);
    match needs {
        Needs::Batch => {
            let answer = schema.may_load_batch().await;
            cassandra::role("batch", "SELECT and MODIFY", name, answer, findings);
        }
        Needs::Reading => {
            let answer = schema.may_read_batch().await;
            cassandra::role("batch", "SELECT", name, answer, findings);
        }
        // They only hold its configuration.
        Needs::Counting | Needs::Restoring | Needs::Archiving | Needs::Totals => {}
    }
    Ok(())
}
