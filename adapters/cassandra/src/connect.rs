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

/// As often as for one node more, the driver may wait for that long once a node has accepted it: for the ring and the
/// schema, and for the pools.
const FURTHER_WAITS: u32 = 2;

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
    within(session_timeout(cassandra), builder, cassandra).await
}

async fn within(
    bound: Duration,
    builder: SessionBuilder,
    cassandra: &Cassandra,
) -> Result<Session, StoreError> {
    match tokio::time::timeout(bound, builder.build()).await {
        Ok(Ok(session)) => Ok(session),
        Ok(Err(error)) => Err(failure(error, cassandra).await),
        Err(_) => {
            let why = format!("none was opened within {bound:?}");
            Err(unexplained(&why, cassandra).await)
        }
    }
}

/// The driver bounds how long a node takes to accept a connection, and not what it waits for then: a node that had refused
/// a certificate once left it waiting for good.
fn session_timeout(cassandra: &Cassandra) -> Duration {
    let nodes = u32::try_from(cassandra.nodes.iter().count()).unwrap_or(u32::MAX);
    CONNECT_TIMEOUT.saturating_mul(nodes.saturating_add(FURTHER_WAITS))
}

/// Why no session was opened.
async fn failure(error: NewSessionError, cassandra: &Cassandra) -> StoreError {
    if let Some(denial) = denial::of_new_session(&error, cassandra) {
        return StoreError::Denied(denial);
    }
    if let NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) = error {
        return StoreError::Refused(error.to_string());
    }
    unexplained(&error.to_string(), cassandra).await
}

/// A refusal that the driver did not tell, or an outage.
async fn unexplained(why: &str, cassandra: &Cassandra) -> StoreError {
    match denial::asked(cassandra).await {
        Some(denial) => StoreError::Denied(denial),
        None => StoreError::Unavailable(format!(
            "none of the nodes {} accepts a session: {why}",
            cassandra.nodes
        )),
    }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use stitch_config::{Config, Environment};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::crypto::aws_lc_rs;
    use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
    use tokio_rustls::rustls::server::WebPkiClientVerifier;
    use tokio_rustls::rustls::{RootCertStore, ServerConfig};

    use super::*;

    /// A server that lets no client in without a certificate of `ca`.
    fn acceptor(ca: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap();
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = own.signed_by(&key, ca).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key);
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }

    fn cassandra(node: SocketAddr, more: &str) -> Cassandra {
        let text = format!(
            r#"
            namespace = "plays"
            zookeeper.connect = "127.0.0.1:2181"
            kafka.topic = "events"
            kafka.client = {{"bootstrap.servers" = "127.0.0.1:9092", "group.id" = "stitch"}}
            cassandra = {{nodes = ["{node}"], keyspace = "stitch"{more}}}
            counter = [{{name = "plays", on = ["play"], key = "track"}}]
            "#
        );
        let config = Config::parse("stitch.toml", &text, &Environment::default());
        config.unwrap().cassandra
    }

    #[tokio::test]
    async fn a_node_that_answers_nothing_is_not_waited_for_for_good() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cassandra = cassandra(listener.local_addr().unwrap(), "");
        let silent = async {
            let mut open = Vec::new();
            loop {
                open.push(listener.accept().await.unwrap());
            }
        };
        let builder = builder(&cassandra, "client", 1).unwrap();
        let bound = Duration::from_millis(200);
        let error = tokio::select! {
            opened = within(bound, builder, &cassandra) => opened.map(drop).unwrap_err(),
            () = silent => unreachable!("it ends with the session"),
            () = tokio::time::sleep(CONNECT_TIMEOUT - bound) => panic!("it is still waited for"),
        };
        assert!(
            matches!(&error, StoreError::Unavailable(why) if why.ends_with("within 200ms")),
            "{error}"
        );
        assert_eq!(session_timeout(&cassandra), CONNECT_TIMEOUT * 3);
    }

    #[tokio::test]
    async fn a_refusal_that_the_driver_did_not_hear_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, ca.pem()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cassandra = cassandra(address, &format!(", tls.ca = {ca_file:?}"));
        let acceptor = acceptor(&ca);
        let server = async {
            // As a driver sees it that has written before it reads why.
            drop(listener.accept().await);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                acceptor.accept(stream).await.unwrap_err();
            }
        };
        let builder = builder(&cassandra, "client", 1).unwrap();
        let error = tokio::select! {
            opened = session(builder, &cassandra) => opened.map(drop).unwrap_err(),
            () = server => unreachable!("it ends with the session"),
        };
        let StoreError::Denied(denial) = error else {
            panic!("{error}");
        };
        assert!(
            denial
                .message
                .contains("refuses a client without a certificate"),
            "{denial}"
        );
    }
}
