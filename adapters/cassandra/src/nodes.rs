//! Looks at the nodes one by one. Each is asked through a session of its own that knows no other node, so that an
//! answer is that node's own; a session that failed is dropped, and the next question makes a new one. None of them
//! ever changes the store, and nodes list them under an id that is no member's.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use scylla::client::session::Session;
use scylla::statement::Statement;
use uuid::Uuid;

use super::{listed, statements, table};
use stitch_common::clock::Clock;
use stitch_common::config::Cassandra;
use stitch_common::ports::{
    Connection, NodeAddress, NodeId, NodeSettings, NodeState, Nodes, Probe, StoreError,
};

mod heard;
mod ring;
mod sessions;
mod settings;

use heard::Heard;
use ring::{Gossip, Told, View};
use sessions::Sessions;

/// Under which id nodes list these sessions.
pub const OBSERVER_ID: &str = "stitch-observer";
/// How long those are waited for who tell of the ring later than others. Below the bound of a calm's round, so that one
/// silent node does not keep the others from being asked in time.
const RING_BOUND: Duration = Duration::from_millis(800);
/// How long one node may take where nothing is urgent, with a connection to make.
const FIRST_BOUND: Duration = Duration::from_secs(5);

/// Looks at the nodes.
#[derive(Debug)]
pub struct ScyllaNodes<C> {
    cassandra: Cassandra,
    clock: C,
    sessions: Sessions,
    heard: Mutex<Heard>,
    known: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl<C: Clock> ScyllaNodes<C> {
    pub(super) async fn connect(cassandra: &Cassandra, clock: C) -> Result<Self, StoreError> {
        let nodes = Self {
            cassandra: cassandra.clone(),
            clock,
            sessions: Sessions::default(),
            heard: Mutex::default(),
            known: Mutex::default(),
        };
        let ring = nodes.ring().await?;
        // A server that a calm cannot be awaited at is refused now, not in the middle of a restoration.
        let mut last = StoreError::Unavailable("no node answers".to_owned());
        for state in &ring {
            match nodes.settings(&state.node, FIRST_BOUND).await {
                Ok(_) => {
                    nodes.connections(&state.node, FIRST_BOUND).await?;
                    return Ok(nodes);
                }
                Err(refused @ StoreError::Refused(_)) => return Err(refused),
                Err(unavailable @ StoreError::Unavailable(_)) => last = unavailable,
            }
        }
        Err(last)
    }

    /// Asks one node, and waits for it no longer than `bound`. If the session fails, the next question makes a new one;
    /// silence is no failure of it, for a node that was frozen goes on where it was.
    async fn ask<T, F>(
        &self,
        address: SocketAddr,
        bound: Duration,
        question: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let asked = std::pin::pin!(async {
            question(self.sessions.with(address, &self.cassandra).await?).await
        });
        let bounded = std::pin::pin!(self.clock.sleep(bound));
        match select(asked, bounded).await {
            Either::Left((answer, _)) => {
                if matches!(answer, Err(StoreError::Unavailable(_))) {
                    self.sessions.forget(address);
                }
                answer
            }
            Either::Right(((), _)) => Err(StoreError::Unavailable(format!(
                "node {address} did not answer within {} ms",
                bound.as_millis()
            ))),
        }
    }

    /// What these nodes tell of the ring: all of them, or those who do in good time, or the first who does.
    async fn views(&self, addresses: &[SocketAddr]) -> Vec<View> {
        let asking = addresses.iter().map(|address| self.view(*address));
        let mut asking: FuturesUnordered<_> = asking.collect();
        let mut good_time = std::pin::pin!(self.clock.sleep(RING_BOUND));
        let mut views = Vec::new();
        while let Either::Left((told, _)) = select(asking.next(), good_time.as_mut()).await {
            match told {
                Some(view) => views.extend(view),
                None => return views,
            }
        }
        while views.is_empty()
            && let Some(view) = asking.next().await
        {
            views.extend(view);
        }
        views
    }

    /// What one node tells of the ring.
    async fn view(&self, address: SocketAddr) -> Option<View> {
        let view = self
            .ask(address, FIRST_BOUND, |session| async move {
                let local: Vec<Told> = table::rows(&session, statements::LOCAL, ()).await?;
                let peers: Vec<Told> = table::rows(&session, statements::PEERS, ()).await?;
                let gossip: Vec<Gossip> = table::rows(&session, statements::GOSSIP, ()).await?;
                View::new(local, peers, gossip)
            })
            .await;
        match view {
            Ok(view) => Some(view),
            Err(error) => {
                tracing::debug!(%address, %error, "a node tells nothing of the ring");
                None
            }
        }
    }

    /// Where the configured nodes and those that were seen before are.
    async fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = locked(&self.known).values().copied().collect();
        if addresses.is_empty() {
            for node in &self.cassandra.nodes {
                match tokio::net::lookup_host(node).await {
                    Ok(found) => addresses.extend(found),
                    Err(error) => tracing::warn!(node, %error, "a configured node has no address"),
                }
            }
        }
        addresses
    }
}

impl<C: Clock> Nodes for ScyllaNodes<C> {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        let mut views = Vec::new();
        let mut asked = Vec::new();
        loop {
            // Those who answer name others, who are asked too: twice at most, as every node knows every node.
            let mut addresses = self.addresses().await;
            addresses.retain(|address| !asked.contains(address));
            if addresses.is_empty() {
                break;
            }
            views.extend(self.views(&addresses).await);
            asked.extend(addresses);
            let mut known = locked(&self.known);
            for view in &views {
                known.extend(view.addresses());
            }
        }
        if views.is_empty() {
            return Err(StoreError::Unavailable(format!(
                "none of the nodes {} answers",
                self.cassandra.nodes.join(", ")
            )));
        }
        let mut heard = locked(&self.heard);
        let now = self.clock.now();
        Ok(ring::merge(&views, |observer, gossip| {
            heard.lately(observer, gossip, now)
        }))
    }

    async fn probe(&self, node: &NodeAddress, bound: Duration) -> Probe {
        let asked = self.clock.now();
        let answer = self
            .ask(node.address, bound, |session| async move {
                table::rows::<(Uuid,)>(&session, statements::PROBE, ()).await
            })
            .await;
        match answer {
            // Another node may have taken the address over; then nothing of this one listens there.
            Ok(rows) if rows.iter().all(|(host,)| *host != node.id.0) => Probe::Refused,
            Ok(_) => Probe::Answered,
            Err(StoreError::Refused(why)) => {
                tracing::warn!(node = %node.address, why, "a node refuses a probe");
                Probe::Silent
            }
            Err(StoreError::Unavailable(_)) => {
                let left = bound.saturating_sub(self.clock.now().since(asked));
                self.knock(node.address, left).await
            }
        }
    }

    async fn connections(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Vec<Connection>, StoreError> {
        self.ask(node.address, bound, |session| async move {
            listed::connections(&session, Statement::new(statements::CLIENTS)).await
        })
        .await
    }

    async fn settings(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<NodeSettings, StoreError> {
        let rows = self
            .ask(node.address, bound, |session| async move {
                table::rows(&session, statements::SETTINGS, ()).await
            })
            .await
            .map_err(|error| settings::without_table(node.address, error))?;
        settings::read(node.address, rows)
    }
}

impl<C: Clock> ScyllaNodes<C> {
    /// Whether the node's kernel refuses connections: nothing listens there any more. A process that is frozen still
    /// has them accepted by its kernel.
    async fn knock(&self, address: SocketAddr, bound: Duration) -> Probe {
        let connecting = std::pin::pin!(tokio::net::TcpStream::connect(address));
        let bounded = std::pin::pin!(self.clock.sleep(bound));
        match select(connecting, bounded).await {
            Either::Left((Err(error), _)) if error.kind() == ErrorKind::ConnectionRefused => {
                Probe::Refused
            }
            Either::Left(_) | Either::Right(_) => Probe::Silent,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
