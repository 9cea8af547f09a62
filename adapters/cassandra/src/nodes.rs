//! Queries the nodes one by one. Each has a session of its own that knows no other node, so that an answer is that
//! node's own. A session that failed is dropped, and the next query opens a new one. None of them ever changes a count,
//! and nodes list them under an id that is not a member's.

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

use super::{Release, client_registration, own_address, permissions, statements, table};
use stitch_common::clock::Clock;
use stitch_common::ports::{
    Connection, NodeAddress, NodeId, NodeSettings, NodeState, Nodes, Probe, StoreError,
};
use stitch_common::token::Token;
use stitch_config::Cassandra;

mod gossip_liveness;
mod late;
mod probe;
mod ring;
mod sessions;
mod settings;

use gossip_liveness::GossipLiveness;
use ring::{Gossip, PeerRow, View};
use sessions::Sessions;

/// The id under which nodes list these sessions.
pub const OBSERVER_ID: &str = "stitch-observer";
/// How long slower nodes may take to answer with their view of the ring. Below the bound of a barrier's sample round, so
/// that one silent node does not keep the others from being sampled in time.
const RING_BOUND: Duration = Duration::from_millis(800);
/// How long one node may take if a connection has to be opened and nothing is urgent.
const FIRST_BOUND: Duration = Duration::from_secs(5);
/// How long nodes that do not answer in time are asked again, where the caller has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sessions with the nodes, one for each.
#[derive(Debug)]
pub struct ScyllaNodes<C> {
    cassandra: Cassandra,
    clock: C,
    sessions: Sessions,
    liveness: Mutex<GossipLiveness>,
    known: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl<C: Clock> ScyllaNodes<C> {
    pub(super) async fn connect(cassandra: &Cassandra, clock: C) -> Result<Self, StoreError> {
        let nodes = Self {
            cassandra: cassandra.clone(),
            clock,
            sessions: Sessions::default(),
            liveness: Mutex::default(),
            known: Mutex::default(),
        };
        let ring = nodes.ring().await?;
        // A server without the tables that the barrier needs is refused now, not in the middle of a restoration.
        late::ask_again(&nodes.clock, PATIENCE, async || nodes.readable(&ring).await).await?;
        Ok(nodes)
    }

    /// Whether the first of these nodes that answers has the tables that the barrier needs.
    async fn readable(&self, ring: &[NodeState]) -> Result<(), StoreError> {
        let mut last = StoreError::Unavailable("no node answers".to_owned());
        for state in ring {
            let read = async {
                self.settings(&state.node, FIRST_BOUND).await?;
                self.connections(&state.node, FIRST_BOUND).await
            };
            match read.await {
                Ok(_) => return Ok(()),
                Err(StoreError::Refused(why)) => {
                    let release = self.release(&state.node, FIRST_BOUND).await;
                    let release =
                        release.map_or_else(|_| String::new(), |of| format!("; it is {of}"));
                    return Err(StoreError::Refused(format!("{why}{release}")));
                }
                Err(denied @ StoreError::Denied(_)) => return Err(denied),
                Err(unavailable @ StoreError::Unavailable(_)) => last = unavailable,
            }
        }
        Err(last)
    }

    /// The release that the node is of.
    ///
    /// # Errors
    /// It does not answer, or does not say.
    pub async fn release(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Release, StoreError> {
        let rows: Vec<(Option<String>,)> = self
            .query(node.address, bound, |session| async move {
                table::rows(&session, statements::RELEASE, ()).await
            })
            .await?;
        let release = rows.into_iter().find_map(|(release,)| release);
        let unnamed = || StoreError::Refused("it does not say which release it is of".to_owned());
        release.map(Release).ok_or_else(unnamed)
    }

    /// How many rows a page of a read may have at this node (`page_size_fail_threshold`); `None`: any number.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn page_rows_max(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Option<u32>, StoreError> {
        let rows: Vec<(Option<String>,)> = self
            .query(node.address, bound, |session| async move {
                table::rows(&session, statements::PAGE_GUARDRAIL, ()).await
            })
            .await?;
        let value = rows.into_iter().find_map(|(value,)| value);
        Ok(value.and_then(|value| settings::guardrail(&value)))
    }

    /// Queries one node, for at most `bound`. If the session fails, the next query opens a new one; silence is not a
    /// failure, because a frozen node continues where it was.
    async fn query<T, F>(
        &self,
        address: SocketAddr,
        bound: Duration,
        query: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let queried = std::pin::pin!(async {
            query(self.sessions.with(address, &self.cassandra).await?).await
        });
        let bounded = std::pin::pin!(self.clock.sleep(bound));
        match select(queried, bounded).await {
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

    /// These nodes' views of the ring: those that arrive within [`RING_BOUND`], or else the first one.
    async fn views(&self, addresses: &[SocketAddr]) -> Vec<Result<View, StoreError>> {
        let mut pending: FuturesUnordered<_> = addresses
            .iter()
            .map(|address| self.view(*address))
            .collect();
        let mut bound = std::pin::pin!(self.clock.sleep(RING_BOUND));
        let mut views = Vec::new();
        while let Either::Left((answer, _)) = select(pending.next(), bound.as_mut()).await {
            match answer {
                Some(view) => views.push(view),
                None => return views,
            }
        }
        while !views.iter().any(Result::is_ok)
            && let Some(view) = pending.next().await
        {
            views.push(view);
        }
        views
    }

    /// One node's view of the ring.
    async fn view(&self, address: SocketAddr) -> Result<View, StoreError> {
        let view = self
            .query(address, FIRST_BOUND, |session| async move {
                let local: Vec<PeerRow> = table::rows(&session, statements::LOCAL, ()).await?;
                let peers: Vec<PeerRow> = table::rows(&session, statements::PEERS, ()).await?;
                let gossip: Vec<Gossip> = table::rows(&session, statements::GOSSIP, ()).await?;
                let own_addresses = own_address::of(&session, |_| {}).await?;
                View::new(local, &own_addresses, peers, gossip)
            })
            .await;
        view.inspect_err(|error| {
            tracing::debug!(%address, %error, "a node has no view of the ring");
        })
    }

    /// The addresses of known nodes, or else of the configured ones.
    async fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = locked(&self.known).values().copied().collect();
        if addresses.is_empty() {
            for node in self.cassandra.nodes.iter() {
                match tokio::net::lookup_host(node.to_string()).await {
                    Ok(resolved) => addresses.extend(resolved),
                    Err(error) => tracing::warn!(%node, %error, "a configured node has no address"),
                }
            }
        }
        addresses
    }
}

impl<C: Clock> Nodes for ScyllaNodes<C> {
    async fn ring(&self) -> Result<Vec<NodeState>, StoreError> {
        late::ask_again(&self.clock, PATIENCE, async || self.ask_ring().await).await
    }

    async fn probe(&self, node: &NodeAddress, bound: Duration) -> Probe {
        let began = self.clock.now();
        let identity = self
            .query(node.address, bound, |session| async move {
                probe::identity(&session).await
            })
            .await;
        let left = || bound.saturating_sub(self.clock.now().since(began));
        match identity {
            Ok(identity) if identity.host != Some(node.id.0) => Probe::Replaced,
            Ok(identity) => match identity.token {
                Some(token) => self.increment(node.address, token, left()).await,
                // It leads no increment; those that it passes on have their own bound.
                None => Probe::Answered,
            },
            Err(StoreError::Refused(why)) => Probe::Rejected(why),
            Err(StoreError::Denied(denial)) => Probe::Rejected(denial.message),
            Err(StoreError::Unavailable(_)) => self.knock(node.address, left()).await,
        }
    }

    async fn connections(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<Vec<Connection>, StoreError> {
        self.query(node.address, bound, |session| async move {
            client_registration::connections(&session, Statement::new(statements::CLIENTS)).await
        })
        .await
    }

    async fn may_read(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError> {
        let keyspace = &self.cassandra.keyspace;
        self.query(node.address, bound, |session| async move {
            permissions::may_read(&session, keyspace).await
        })
        .await
    }

    async fn may_increment(&self, node: &NodeAddress, bound: Duration) -> Result<(), StoreError> {
        let keyspace = &self.cassandra.keyspace;
        self.query(node.address, bound, |session| async move {
            permissions::may_increment(&session, keyspace).await
        })
        .await
    }

    async fn settings(
        &self,
        node: &NodeAddress,
        bound: Duration,
    ) -> Result<NodeSettings, StoreError> {
        let rows = self
            .query(node.address, bound, |session| async move {
                table::rows(&session, statements::SETTINGS, ()).await
            })
            .await
            .map_err(|error| settings::without_table(node.address, error))?;
        settings::read(node.address, rows)
    }
}

impl<C: Clock> ScyllaNodes<C> {
    /// The ring, as those nodes see it that answer the first time they are asked.
    async fn ask_ring(&self) -> Result<Vec<NodeState>, StoreError> {
        let mut views: Vec<View> = Vec::new();
        let (mut refusal, mut outage) = (None, String::new());
        let mut queried = Vec::new();
        loop {
            // Nodes that answer name others, which are queried too: twice at most, as every node knows every node.
            let mut addresses = self.addresses().await;
            addresses.retain(|address| !queried.contains(address));
            if addresses.is_empty() {
                break;
            }
            for view in self.views(&addresses).await {
                match view {
                    Ok(view) => views.push(view),
                    Err(StoreError::Unavailable(why)) => outage = format!(": {why}"),
                    Err(error @ (StoreError::Refused(_) | StoreError::Denied(_))) => {
                        refusal = Some(error);
                    }
                }
            }
            queried.extend(addresses);
            let mut known = locked(&self.known);
            for view in &views {
                known.extend(view.addresses());
            }
        }
        if views.is_empty() {
            // A right that is missing is no outage.
            return Err(refusal.unwrap_or_else(|| {
                let nodes = &self.cassandra.nodes;
                StoreError::Unavailable(format!("none of the nodes {nodes} answers{outage}"))
            }));
        }
        let mut liveness = locked(&self.liveness);
        let now = self.clock.now();
        Ok(ring::merge(&views, |observer, gossip| {
            liveness.is_recent(observer, gossip, now)
        }))
    }

    /// Whether the node applies an increment within `bound`.
    async fn increment(&self, address: SocketAddr, token: Token, bound: Duration) -> Probe {
        let keyspace = &self.cassandra.keyspace;
        let applied = self
            .query(address, bound, |session| async move {
                probe::increment(&session, keyspace, token).await
            })
            .await;
        match applied {
            Ok(()) => Probe::Answered,
            Err(StoreError::Refused(why)) => Probe::Rejected(why),
            Err(StoreError::Denied(denial)) => Probe::Rejected(denial.message),
            Err(StoreError::Unavailable(_)) => Probe::Stalled,
        }
    }

    /// Whether the node's kernel refuses connections, because nothing listens any more. For a frozen process, the
    /// kernel still accepts them.
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
