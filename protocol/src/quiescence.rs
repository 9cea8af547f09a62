//! The quiescence barrier (design, section 7): the one wait, wherever this product needs one, until nothing that was
//! sent before can change the store any more. Time alone bounds nothing, and a ZooKeeper lock cannot fence a Cassandra
//! counter.
//!
//! [`barrier`] decides, [`bound`] adds up how long the quiet period is, [`blocker`] names what holds it up;
//! [`await_quiescence`] only asks and waits. In-doubt markers and dead members that were read *before* it began may be
//! deleted, by name, after it: [`cleanup`](crate::cleanup).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, join3, select};

use stitch_common::clock::Clock;
use stitch_common::member::MemberId;
use stitch_common::ports::{
    KnownNode, NodeAddress, NodeId, NodeSettings, Nodes, Probe, Session, StoreError,
};
use stitch_common::user_error::UserError;
use stitch_config::Cassandra;

use crate::membership::{self, Epoch, Members};
use crate::{NamespaceSession, known_nodes, rule};

pub mod bound;
pub mod blocker;
pub mod declared_dead;
pub mod barrier;
mod node_set;
mod watch;

pub use blocker::Blocker;
pub use bound::{QuiescenceBound, Sessions};
pub use declared_dead::DeclaredDead;
pub use node_set::NodeSet;

use barrier::{Barrier, NodeSample, SampleResult, SampleRound, Verdict};

/// The pause between two rounds.
pub const ROUND_INTERVAL: Duration = Duration::from_millis(250);
/// The time in which a node must answer a probe.
pub const PROBE_BOUND: Duration = Duration::from_secs(1);

/// Watches which members are alive, and the epoch of ZooKeeper's leader.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait MemberWatch {
    /// Those of these members that are dead. One whose node is gone is dead: another barrier was awaited for it.
    ///
    /// # Errors
    /// ZooKeeper does not answer, or will not.
    async fn dead(&self, members: &[MemberId]) -> Result<BTreeSet<MemberId>, WatchError>;

    /// The ensemble's epoch, by way of its present leader.
    ///
    /// # Errors
    /// ZooKeeper does not answer, or will not.
    async fn epoch(&self) -> Result<Epoch, WatchError>;
}

/// Why members cannot be watched; variants by what the caller does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// No answer this time.
    #[error("{0}")]
    Unanswered(String),
    /// There will be none: this process's own session is over, or ZooKeeper refuses.
    #[error("{0}")]
    SessionOver(String),
}

/// What a barrier concerns, and how long it is awaited.
#[derive(Clone, Debug)]
pub struct Request {
    /// The members that exist as it begins, alive or not, this one among them.
    pub members: Vec<MemberId>,
    /// The terms of `W` that do not depend on the nodes.
    pub sessions: Sessions,
    /// The nodes that members have recorded.
    pub known_nodes: Vec<KnownNode>,
    /// The nodes and members that are ignored.
    pub declared_dead: DeclaredDead,
    /// How long it is awaited.
    pub timeout: Duration,
}

impl Request {
    /// A barrier that begins now: it concerns every member, and asks every known node.
    ///
    /// # Errors
    /// ZooKeeper failed.
    pub async fn now<S: Session, C: Clock>(
        session: &NamespaceSession<S, C>,
        cassandra: &Cassandra,
        declared_dead: DeclaredDead,
        timeout: Duration,
    ) -> Result<Self, crate::Error> {
        let members = membership::list(session).await?;
        let known_nodes = known_nodes::list(session).await?;
        Ok(Self {
            known_nodes,
            ..Self::for_members(&members, cassandra, declared_dead, timeout)
        })
    }

    /// A barrier that concerns these members, and asks the nodes of the ring alone.
    #[must_use]
    fn for_members(
        members: &Members,
        cassandra: &Cassandra,
        declared_dead: DeclaredDead,
        timeout: Duration,
    ) -> Self {
        let members = &members.members;
        let mut sessions = Sessions {
            longest_timeout: Duration::ZERO,
            keepalive_interval: cassandra.keepalive_interval,
            keepalive_timeout: cassandra.keepalive_timeout,
        };
        for member in members {
            sessions.cover(&member.record);
        }
        Self {
            members: members.iter().map(|member| member.id.clone()).collect(),
            sessions,
            known_nodes: Vec::new(),
            declared_dead,
            timeout,
        }
    }
}

/// Proof that there was quiescence. Only [`await_quiescence`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quiescence {
    bound: QuiescenceBound,
    took: Duration,
    dead_nodes: BTreeSet<NodeId>,
}

impl Quiescence {
    /// How long the quiet period was at least, term by term.
    #[must_use]
    pub fn bound(&self) -> QuiescenceBound {
        self.bound
    }

    /// The known nodes that no later barrier needs to ask: they have left the ring, and were dead throughout this one.
    #[must_use]
    pub fn dead_nodes(&self) -> &BTreeSet<NodeId> {
        &self.dead_nodes
    }

    /// How long it was awaited.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// Why there was no quiescence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuiescenceError {
    /// Not within the timeout.
    #[error("no quiescence within {} s: {}", .waited.as_secs(), list(.blockers))]
    NotInTime {
        /// How long it was awaited.
        waited: Duration,
        /// What still held it up.
        blockers: Vec<Blocker>,
    },
    /// There can be none with these servers.
    #[error("{0}")]
    Refused(String),
    /// This process's own session is over, or ZooKeeper refuses: the caller has lost its locks, too.
    #[error("{0}")]
    SessionOver(String),
}

fn list(blockers: &[Blocker]) -> String {
    let texts: Vec<_> = blockers.iter().map(Blocker::to_string).collect();
    texts.join("; ")
}

/// Waits for quiescence from now on. `report` is called after every round but the last. Cancelled, there was none; it
/// leaves nothing behind.
///
/// # Errors
/// There was none in time, or never will be.
pub async fn await_quiescence<N: Nodes, W: MemberWatch, C: Clock>(
    nodes: &N,
    watch: &W,
    clock: &C,
    known: &mut NodeSet,
    request: &Request,
    mut report: impl FnMut(&[Blocker]),
) -> Result<Quiescence, QuiescenceError> {
    let began = clock.now();
    let observer = Observer {
        nodes,
        watch,
        clock,
    };
    let mut barrier = Barrier::new(
        request.members.iter().cloned(),
        request.sessions,
        request.declared_dead.clone(),
    );
    let mut settings = Settings::default();
    if rule::known_nodes_are_asked() {
        known.add(&request.known_nodes);
    }
    if let Some(Ok(ring)) = observer.bounded(nodes.ring()).await {
        known.learn(&ring);
    }
    loop {
        let round = observer
            .round(known, &barrier, &mut settings, request)
            .await?;
        if let Ok(ring) = &round.ring {
            known.learn(ring);
        }
        let waited = clock.now().since(began);
        let blockers = match barrier.observe(&round) {
            Verdict::Quiescence => {
                let ring = round.ring.unwrap_or_default();
                return Ok(Quiescence {
                    bound: barrier.bound(),
                    took: waited,
                    dead_nodes: barrier.dead_nodes(&request.known_nodes, &ring),
                });
            }
            Verdict::Refused(why) => return Err(QuiescenceError::Refused(why)),
            Verdict::Waiting(blockers) => blockers,
        };
        if waited >= request.timeout {
            return Err(QuiescenceError::NotInTime { waited, blockers });
        }
        report(&blockers);
        clock.sleep(ROUND_INTERVAL).await;
    }
}

/// Settings of nodes that have answered every probe since they were read.
type Settings = BTreeMap<NodeAddress, NodeSettings>;

/// Takes samples, and waits for no answer longer than its bound.
struct Observer<'a, N, W, C> {
    nodes: &'a N,
    watch: &'a W,
    clock: &'a C,
}

impl<N: Nodes, W: MemberWatch, C: Clock> Observer<'_, N, W, C> {
    async fn round(
        &self,
        known: &NodeSet,
        barrier: &Barrier,
        settings: &mut Settings,
        request: &Request,
    ) -> Result<SampleRound, QuiescenceError> {
        let samples: Vec<_> = known
            .iter()
            .filter(|known| barrier.concerns(&known.node))
            .map(|known| self.sample(known, settings.get(&known.node).copied()))
            .collect();
        let members = join(
            self.bounded(self.watch.dead(&request.members)),
            self.bounded(self.watch.epoch()),
        );
        let (ring, (dead, epoch), samples) =
            join3(self.bounded(self.nodes.ring()), members, join_all(samples)).await;
        settings.clear();
        for sample in &samples {
            if let SampleResult::Serving { settings: read, .. } = &sample.result {
                settings.insert(sample.node.clone(), *read);
            }
        }
        Ok(SampleRound {
            ring: match ring {
                Some(Ok(ring)) => Ok(ring),
                Some(Err(
                    StoreError::Refused(why) | StoreError::Denied(UserError { message: why, .. }),
                )) => {
                    return Err(QuiescenceError::Refused(why));
                }
                Some(Err(StoreError::Unavailable(why))) => Err(why),
                None => Err(LATE.to_owned()),
            },
            dead: unless_over(dead)?,
            epoch: unless_over(epoch)?,
            samples,
        })
    }

    async fn sample(&self, known: &KnownNode, settings: Option<NodeSettings>) -> NodeSample {
        let node = &known.node;
        let sent_at = self.clock.now();
        let probe = if rule::probe_is_an_increment() {
            self.nodes.probe(node, PROBE_BOUND).await
        } else {
            Probe::Answered
        };
        let result = match probe {
            Probe::Answered => self.read(node, settings).await.unwrap_or_else(unread),
            Probe::Stalled => SampleResult::Stalled,
            Probe::Rejected(why) => SampleResult::Unreadable(why),
            Probe::Refused => SampleResult::Refusing,
            Probe::Replaced => SampleResult::Replaced,
            Probe::Silent => SampleResult::Silent,
        };
        NodeSample {
            node: node.clone(),
            own_address: known.own_address,
            sent_at,
            ended_at: self.clock.now(),
            result,
        }
    }

    async fn read(
        &self,
        node: &NodeAddress,
        settings: Option<NodeSettings>,
    ) -> Result<SampleResult, StoreError> {
        let settings = match settings {
            Some(settings) => settings,
            None => self.nodes.settings(node, PROBE_BOUND).await?,
        };
        Ok(SampleResult::Serving {
            connections: self.nodes.connections(node, PROBE_BOUND).await?,
            settings,
        })
    }

    async fn bounded<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let request = std::pin::pin!(request);
        let bound = std::pin::pin!(self.clock.sleep(PROBE_BOUND));
        match select(request, bound).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(((), _)) => None,
        }
    }
}

/// What it means that a node's connections or settings were not read.
fn unread(error: StoreError) -> SampleResult {
    let why = error.to_string();
    match error {
        StoreError::Unavailable(_) => SampleResult::Unread(why),
        StoreError::Refused(_) | StoreError::Denied(_) => SampleResult::Unreadable(why),
    }
}

const LATE: &str = "no answer in time";

/// The answer, or why there is none; an error if there never will be one.
fn unless_over<T>(
    answer: Option<Result<T, WatchError>>,
) -> Result<Result<T, String>, QuiescenceError> {
    match answer {
        Some(Ok(answer)) => Ok(Ok(answer)),
        Some(Err(WatchError::Unanswered(why))) => Ok(Err(why)),
        Some(Err(WatchError::SessionOver(why))) => Err(QuiescenceError::SessionOver(why)),
        None => Ok(Err(LATE.to_owned())),
    }
}

#[cfg(test)]
mod tests;
