//! Calm (design, section 7): the one barrier wherever this product waits until nothing that was sent before can change
//! the store any more. Time alone bounds nothing, and a ZooKeeper lock cannot fence a Cassandra counter.
//!
//! [`barrier`] decides, [`bound`] says how long the stretch is, [`blocker`] names what is waited for; [`await_quiescence`]
//! only asks and waits. Marks and tombstones that were read *before* it began may be deleted, by name, after it.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, join3, select};

use crate::membership::{Epoch, Members};
use stitch_common::clock::Clock;
use stitch_common::config::Cassandra;
use stitch_common::member::MemberId;
use stitch_common::ports::{NodeAddress, NodeSettings, Nodes, Probe, StoreError};

pub mod bound;
pub mod blocker;
pub mod barrier;
mod watch;

pub use barrier::{DeclaredDead, KnownNodes};
pub use blocker::Blocker;
pub use bound::{QuiescenceBound, Sessions};

use barrier::{Barrier, NodeSample, SampleResult, SampleRound, Verdict};

/// How long after a round the next one begins.
pub const ROUND_INTERVAL: Duration = Duration::from_millis(250);
/// In what time a node must answer a probe.
pub const PROBE_BOUND: Duration = Duration::from_secs(1);

/// Tells which members live, and through which leader ZooKeeper speaks.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait MemberWatch {
    /// Which of these members are dead. One that is not there any more is dead: somebody else's calm was for it.
    ///
    /// # Errors
    /// As told.
    async fn dead(&self, members: &[MemberId]) -> Result<BTreeSet<MemberId>, WatchError>;

    /// The ensemble's epoch, by way of its present leader.
    ///
    /// # Errors
    /// As told.
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
    Over(String),
}

/// What a calm is awaited for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The members that exist as it begins, alive or not, this one among them.
    pub members: Vec<MemberId>,
    /// What of `W` does not depend on the nodes.
    pub sessions: Sessions,
    /// How long it is awaited.
    pub timeout: Duration,
}

impl Request {
    /// A calm that concerns these members, which were listed just now.
    #[must_use]
    pub fn for_members(members: &Members, cassandra: &Cassandra, timeout: Duration) -> Self {
        let of_all = members.members.iter();
        let longest_ms = of_all
            .clone()
            .map(|member| member.record.session_timeout_ms)
            .max();
        Self {
            members: of_all.map(|member| member.id.clone()).collect(),
            sessions: Sessions {
                longest_timeout: Duration::from_millis(longest_ms.unwrap_or_default()),
                keepalive_interval: cassandra.keepalive_interval,
                keepalive_timeout: cassandra.keepalive_timeout,
            },
            timeout,
        }
    }
}

/// There was calm. Only [`await_quiescence`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quiescence {
    bound: QuiescenceBound,
    took: Duration,
}

impl Quiescence {
    /// How long the stretch was at least, term by term.
    #[must_use]
    pub fn bound(&self) -> QuiescenceBound {
        self.bound
    }

    /// How long it was awaited.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// Why there was no calm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuiescenceError {
    /// Not within the time given.
    #[error("no calm within {} s: {}", .waited.as_secs(), listed(.blockers))]
    NotInTime {
        /// How long it was awaited.
        waited: Duration,
        /// What was waited for at last.
        blockers: Vec<Blocker>,
    },
    /// There can be none at these servers.
    #[error("{0}")]
    Refused(String),
    /// This process's own session is over, or ZooKeeper refuses: whoever asked has lost what it held, too.
    #[error("{0}")]
    Over(String),
}

fn listed(blockers: &[Blocker]) -> String {
    let listed: Vec<_> = blockers.iter().map(Blocker::to_string).collect();
    listed.join("; ")
}

/// Waits for a calm that begins now. `tell` hears of every round that was not the last. Cancelled, there was none; it
/// leaves nothing behind.
///
/// # Errors
/// Not in time, or never.
pub async fn await_quiescence<N: Nodes, W: MemberWatch, C: Clock>(
    nodes: &N,
    watch: &W,
    clock: &C,
    known: &mut KnownNodes,
    request: &Request,
    declared_dead: DeclaredDead<'_>,
    mut tell: impl FnMut(&[Blocker]),
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
        declared_dead,
    );
    let mut settings = Settings::default();
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
        let blockers = match barrier.take(&round) {
            Verdict::Quiescence => {
                return Ok(Quiescence {
                    bound: barrier.bound(),
                    took: waited,
                });
            }
            Verdict::Refused(why) => return Err(QuiescenceError::Refused(why)),
            Verdict::Waiting(blockers) => blockers,
        };
        if waited >= request.timeout {
            return Err(QuiescenceError::NotInTime { waited, blockers });
        }
        tell(&blockers);
        clock.sleep(ROUND_INTERVAL).await;
    }
}

/// Settings of nodes that have answered without a break since they were read.
type Settings = std::collections::BTreeMap<NodeAddress, NodeSettings>;

/// Asks, and waits for no answer longer than it may.
struct Observer<'a, N, W, C> {
    nodes: &'a N,
    watch: &'a W,
    clock: &'a C,
}

impl<N: Nodes, W: MemberWatch, C: Clock> Observer<'_, N, W, C> {
    async fn round(
        &self,
        known: &KnownNodes,
        barrier: &Barrier<'_>,
        settings: &mut Settings,
        request: &Request,
    ) -> Result<SampleRound, QuiescenceError> {
        let asked: Vec<_> = known.iter().filter(|node| barrier.concerns(node)).collect();
        let looks = asked
            .iter()
            .map(|node| self.look(node, settings.get(*node).copied()));
        let watched = join(
            self.bounded(self.watch.dead(&request.members)),
            self.bounded(self.watch.epoch()),
        );
        let (ring, (dead, epoch), looks) =
            join3(self.bounded(self.nodes.ring()), watched, join_all(looks)).await;
        settings.clear();
        for look in &looks {
            if let SampleResult::Serves { settings: told, .. } = &look.found {
                settings.insert(look.node.clone(), *told);
            }
        }
        Ok(SampleRound {
            ring: match ring {
                Some(Ok(ring)) => Ok(ring),
                Some(Err(StoreError::Refused(why))) => return Err(QuiescenceError::Refused(why)),
                Some(Err(StoreError::Unavailable(why))) => Err(why),
                None => Err(LATE.to_owned()),
            },
            dead: watched_or_over(dead)?,
            epoch: watched_or_over(epoch)?,
            looks,
        })
    }

    async fn look(&self, node: &NodeAddress, settings: Option<NodeSettings>) -> NodeSample {
        let asked = self.clock.now();
        let found = match self.nodes.probe(node, PROBE_BOUND).await {
            Probe::Answered => self.told(node, settings).await,
            Probe::Refused => SampleResult::Refuses,
            Probe::Silent => SampleResult::Silent,
        };
        NodeSample {
            node: node.clone(),
            asked,
            answered: self.clock.now(),
            found,
        }
    }

    async fn told(&self, node: &NodeAddress, settings: Option<NodeSettings>) -> SampleResult {
        let told = async {
            let settings = match settings {
                Some(settings) => settings,
                None => self.nodes.settings(node, PROBE_BOUND).await?,
            };
            let connections = self.nodes.connections(node, PROBE_BOUND).await?;
            Ok::<_, StoreError>(SampleResult::Serves {
                connections,
                settings,
            })
        };
        told.await
            .unwrap_or_else(|error| SampleResult::Untold(error.to_string()))
    }

    async fn bounded<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        let question = std::pin::pin!(question);
        let bound = std::pin::pin!(self.clock.sleep(PROBE_BOUND));
        match select(question, bound).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(((), _)) => None,
        }
    }
}

const LATE: &str = "no answer in time";

fn watched_or_over<T>(
    answer: Option<Result<T, WatchError>>,
) -> Result<Result<T, String>, QuiescenceError> {
    match answer {
        Some(Ok(told)) => Ok(Ok(told)),
        Some(Err(WatchError::Unanswered(why))) => Ok(Err(why)),
        Some(Err(WatchError::Over(why))) => Err(QuiescenceError::Over(why)),
        None => Ok(Err(LATE.to_owned())),
    }
}

#[cfg(test)]
mod tests;
