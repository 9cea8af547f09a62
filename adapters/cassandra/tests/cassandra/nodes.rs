//! Querying the nodes.

use std::time::Duration;

use stitch_common::clock::{Clock, SystemClock};
use stitch_common::ports::{Cql, NodeAddress, Nodes, Probe, Store};

use crate::support::{Keyspace, bare_session, member};

const BOUND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_ring_has_every_node_up_and_normal() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let ring = nodes.ring().await.unwrap();
    assert!(!ring.is_empty());
    for state in &ring {
        assert!(state.up && state.normal, "{state:?}");
        assert!(!state.tokens.is_empty() && !state.datacenter.is_empty());
        assert_eq!(nodes.probe(&state.node, BOUND).await, Probe::Answered);
    }
    assert_eq!(nodes.ring().await.unwrap(), ring);
}

#[tokio::test]
async fn settings_that_the_barrier_depends_on_are_read() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    for state in nodes.ring().await.unwrap() {
        let settings = nodes.settings(&state.node, BOUND).await.unwrap();
        assert!(settings.native_transport_timeout > Duration::from_millis(100));
        assert!(settings.counter_write_request_timeout > Duration::from_millis(100));
        assert!(settings.internode_timeout);
        let release = nodes.release(&state.node, BOUND).await.unwrap();
        assert!(release.is_supported(), "{release}");
        let rows_max = nodes.page_rows_max(&state.node, BOUND).await.unwrap();
        assert_eq!(rows_max, None, "the default");
        nodes.may_read(&state.node, BOUND).await.unwrap();
        nodes.may_increment(&state.node, BOUND).await.unwrap();
    }
}

/// The number of connections that all nodes list for this member.
async fn listed(nodes: &impl Nodes, id: &str) -> usize {
    let mut count = 0;
    for state in nodes.ring().await.unwrap() {
        let connections = nodes.connections(&state.node, BOUND).await.unwrap();
        count += connections
            .iter()
            .filter(|connection| connection.client_id.as_deref() == Some(id))
            .count();
    }
    count
}

#[tokio::test]
async fn a_members_connections_are_listed_under_its_id_until_it_closes_them() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let me = member(i64::from(std::process::id()) << 16);
    assert_eq!(listed(&nodes, me.as_str()).await, 0);
    let store = keyspace.cql().connect_store(&me).await.unwrap();
    assert!(listed(&nodes, me.as_str()).await > 0);
    store.close().await;
    let began = SystemClock.now();
    while listed(&nodes, me.as_str()).await > 0 {
        assert!(SystemClock.now().since(began) < BOUND, "still listed");
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_probe_distinguishes_a_closed_port_from_silence() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let node = nodes.ring().await.unwrap().remove(0).node;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let refusing = NodeAddress {
        address: closed,
        ..node
    };
    assert_eq!(nodes.probe(&refusing, BOUND).await, Probe::Refused);
    // Like a frozen process: its kernel accepts, and nothing answers.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = NodeAddress {
        address: frozen.local_addr().unwrap(),
        ..node
    };
    let bound = Duration::from_millis(300);
    let began = SystemClock.now();
    assert_eq!(nodes.probe(&silent, bound).await, Probe::Silent);
    assert!(
        SystemClock.now().since(began) < Duration::from_secs(2),
        "bounded"
    );
    assert!(nodes.connections(&silent, bound).await.is_err());
    assert!(nodes.settings(&silent, bound).await.is_err());
}

#[tokio::test]
async fn a_probe_of_an_address_that_another_node_took_over_says_so() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let mut node = nodes.ring().await.unwrap().remove(0).node;
    node.id = stitch_common::ports::NodeId(uuid::Uuid::new_v4());
    assert_eq!(nodes.probe(&node, BOUND).await, Probe::Replaced);
}

/// The sum of all probes of the keyspace, and how many rows they have.
async fn probes(keyspace: &Keyspace) -> (i64, usize) {
    let query = format!("SELECT value FROM {}_probes.probes", keyspace.name);
    let result = bare_session().await.query_unpaged(query, ()).await.unwrap();
    let rows = result.into_rows_result().unwrap();
    let values: Vec<(scylla::value::Counter,)> =
        rows.rows().unwrap().collect::<Result<_, _>>().unwrap();
    (values.iter().map(|(value,)| value.0).sum(), values.len())
}

#[tokio::test]
async fn a_probe_is_an_increment_of_a_row_that_the_node_alone_has() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let ring = nodes.ring().await.unwrap();
    for round in 1..=3 {
        for state in &ring {
            assert_eq!(nodes.probe(&state.node, BOUND).await, Probe::Answered);
        }
        let all = i64::try_from(ring.len()).unwrap();
        assert_eq!(probes(&keyspace).await, (round * all, ring.len()));
    }
}

#[tokio::test]
async fn a_probe_that_a_node_rejects_says_why() {
    let keyspace = Keyspace::ready().await;
    let nodes = keyspace.cql().connect_nodes().await.unwrap();
    let node = nodes.ring().await.unwrap().remove(0).node;
    let drop = format!("DROP TABLE {}_probes.probes", keyspace.name);
    bare_session().await.query_unpaged(drop, ()).await.unwrap();
    let probe = nodes.probe(&node, BOUND).await;
    assert!(
        matches!(&probe, Probe::Rejected(why) if why.contains("probes")),
        "{probe:?}"
    );
}
