//! The common settings of every driver session: its identity, timeouts and keepalive.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::client::{PoolSize, SelfIdentity};
use scylla::errors::NewSessionError;
use scylla::policies::load_balancing::{DefaultPolicy, LoadBalancingPolicy};
use scylla::policies::retry::DefaultRetryPolicy;
use scylla::statement::Consistency;

use super::denial;
use stitch_common::ports::StoreError;
use stitch_config::{Cassandra, CassandraTls, Credentials};

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The least timeout of a read: nothing depends on giving it up early, and servers time reads out themselves.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// A session that every node lists under `client_id`.
///
/// # Errors
/// A file of TLS cannot be used.
pub(super) fn builder(
    cassandra: &Cassandra,
    client_id: &str,
    connections_per_node: usize,
) -> Result<SessionBuilder, StoreError> {
    let identity = SelfIdentity::new()
        .with_application_name("stitch")
        .with_application_version(env!("CARGO_PKG_VERSION"))
        .with_client_id(client_id.to_owned());
    let pool = NonZeroUsize::new(connections_per_node).unwrap_or(NonZeroUsize::MIN);
    let mut builder = SessionBuilder::new()
        .known_nodes(cassandra.nodes.iter().map(ToString::to_string))
        .custom_identity(identity)
        .driver_config_reporting(false)
        .pool_size(PoolSize::PerHost(pool))
        .connection_timeout(CONNECT_TIMEOUT)
        // Condition 2 of the quiescence barrier relies on these: a live process closes a connection that is cut off from
        // its node, and the data still in its kernel is discarded with it.
        .keepalive_interval(cassandra.keepalive_interval)
        .keepalive_timeout(cassandra.keepalive_timeout)
        .tcp_zero_linger()
        .tcp_nodelay(true)
        .keyspaces_to_fetch([&cassandra.keyspace])
        .fetch_full_schema_metadata(false)
        .default_execution_profile_handle(reading_profile(cassandra));
    if let Some(Credentials { user, password }) = &cassandra.credentials {
        builder = builder.user(user, password.expose());
    }
    if let Some(CassandraTls { files, verify }) = &cassandra.tls {
        let tls = stitch_tls::client_config(files, *verify).map_err(StoreError::Denied)?;
        builder = builder.tls_context(Some(tls));
    }
    Ok(builder)
}

/// Connects. A retry can help if no node answers, otherwise not.
pub(super) async fn session(
    builder: SessionBuilder,
    cassandra: &Cassandra,
) -> Result<Session, StoreError> {
    builder.build().await.map_err(|error| {
        if let Some(denial) = denial::of_new_session(&error, cassandra) {
            return StoreError::Denied(denial);
        }
        let nodes = &cassandra.nodes;
        match error {
            NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) => {
                StoreError::Refused(error.to_string())
            }
            NewSessionError::FailedToResolveAnyHostname(_)
            | NewSessionError::MetadataError(_)
            | NewSessionError::UseKeyspaceError(_) => StoreError::Unavailable(format!(
                "none of the nodes {nodes} accepts a session: {error}"
            )),
            _ => StoreError::Unavailable(format!(
                "none of the nodes {nodes} accepts a session: {error}"
            )),
        }
    })
}

/// Sends requests to a replica, and never to another data centre than the configured one.
pub(super) fn balancing(cassandra: &Cassandra) -> Arc<dyn LoadBalancingPolicy> {
    let builder = DefaultPolicy::builder()
        .token_aware(true)
        .permit_dc_failover(false);
    match &cassandra.local_datacenter {
        Some(datacenter) => builder.prefer_datacenter(datacenter.clone()).build(),
        None => builder.build(),
    }
}

/// For reads, which may be repeated. Increments override every setting that matters to them.
fn reading_profile(cassandra: &Cassandra) -> ExecutionProfileHandle {
    ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .request_timeout(Some(cassandra.request_timeout.max(READ_TIMEOUT)))
        .retry_policy(Arc::new(DefaultRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(balancing(cassandra))
        .build()
        .into_handle()
}
