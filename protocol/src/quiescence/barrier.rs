//! Decides whether there is calm. Pure: it is fed with rounds of observations and the moments at which they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::blocker::Blocker;
use super::bound::{QuiescenceBound, Sessions};
use crate::membership::Epoch;
use stitch_common::clock::Moment;
use stitch_common::member::MemberId;
use stitch_common::mutation::{Rule, out};
use stitch_common::ports::{Connection, NodeAddress, NodeId, NodeSettings, NodeState};

/// A node may have been frozen, unseen, between two questions: for as long as from the first one's asking to the
/// second one's answer. The longest such time is added to `W`; a longer one than this starts the stretch anew.
pub const UNSEEN_MAX: Duration = Duration::from_millis(2500);

/// The operator's word on what is gone for good: no calm waits for it.
#[derive(Clone, Copy)]
pub struct DeclaredDead<'a> {
    /// Whether this node is gone.
    pub node_gone: &'a dyn Fn(&NodeAddress) -> bool,
    /// Whether this member is gone.
    pub member_gone: &'a dyn Fn(&MemberId) -> bool,
}

impl DeclaredDead<'static> {
    /// Nothing is gone.
    pub const NONE: Self = Self {
        node_gone: &|_| false,
        member_gone: &|_| false,
    };
}

impl std::fmt::Debug for DeclaredDead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Word").finish_non_exhaustive()
    }
}

/// Every node that was seen since this was made; one that has left the ring too, for what was sent to it may still be
/// in its sockets. A restoration has one of these from R1 to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownNodes(BTreeMap<NodeId, NodeAddress>);

impl KnownNodes {
    /// Takes up a ring.
    pub fn learn(&mut self, ring: &[NodeState]) {
        let nodes = ring.iter().map(|state| (state.node.id, state.node.clone()));
        self.0.extend(nodes);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &NodeAddress> {
        self.0.values()
    }
}

/// What was observed in one round.
#[derive(Clone, Debug)]
pub struct SampleRound {
    /// The nodes as the cluster sees them.
    pub ring: Result<Vec<NodeState>, String>,
    /// Which of the members concerned are dead.
    pub dead: Result<BTreeSet<MemberId>, String>,
    /// The ensemble's epoch.
    pub epoch: Result<Epoch, String>,
    /// One look at every node that was known when the round began and is not gone.
    pub looks: Vec<NodeSample>,
}

/// One look at one node.
#[derive(Clone, Debug)]
pub struct NodeSample {
    /// Which node.
    pub node: NodeAddress,
    /// When the question was put.
    pub asked: Moment,
    /// When it was answered, or given up.
    pub answered: Moment,
    /// What came of it.
    pub found: SampleResult,
}

/// What came of a look at a node.
#[derive(Clone, Debug)]
pub enum SampleResult {
    /// It answered in time.
    Serves {
        /// The connections that it lists.
        connections: Vec<Connection>,
        /// Its settings.
        settings: NodeSettings,
    },
    /// Its kernel refused the connection.
    Refuses,
    /// Nothing was heard in time.
    Silent,
    /// It answered, but not what was asked for.
    Untold(String),
}

/// What follows from a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that was sent before the calm began can change the store any more.
    Quiescence,
    /// Not yet.
    Waiting(Vec<Blocker>),
    /// Never, with these settings.
    Refused(String),
}

/// The calm of design, section 7. It concerns the members that it is made with, alive or not.
///
/// The stretch runs from the end of the first round in which nothing hinders, and starts anew behind any round in which
/// something does, behind a new epoch of the ensemble, a node not seen before, and a gap in the observations. There is
/// calm when every node answered a question that was put `W` after the stretch began.
#[derive(Debug)]
pub struct Barrier<'a> {
    members: BTreeSet<MemberId>,
    dead: BTreeSet<MemberId>,
    sessions: Sessions,
    declared_dead: DeclaredDead<'a>,
    nodes: BTreeMap<NodeId, Track>,
    epoch: Option<Epoch>,
    quiet_period: Option<QuietPeriod>,
}

#[derive(Clone, Copy, Debug)]
struct QuietPeriod {
    began: Moment,
    unseen_longest: Duration,
}

#[derive(Debug, Default)]
struct Track {
    asked: Option<Moment>,
    silent_since: Option<Moment>,
    settings: Option<NodeSettings>,
}

impl<'a> Barrier<'a> {
    /// A calm that begins now and concerns these members.
    pub fn new(
        members: impl IntoIterator<Item = MemberId>,
        sessions: Sessions,
        declared_dead: DeclaredDead<'a>,
    ) -> Self {
        Self {
            members: members.into_iter().collect(),
            dead: BTreeSet::new(),
            sessions,
            declared_dead,
            nodes: BTreeMap::new(),
            epoch: None,
            quiet_period: None,
        }
    }

    /// The members concerned.
    pub fn members(&self) -> impl Iterator<Item = &MemberId> {
        self.members.iter()
    }

    /// Whether this node is looked at.
    #[must_use]
    pub fn concerns(&self, node: &NodeAddress) -> bool {
        !(self.declared_dead.node_gone)(node)
    }

    /// Takes up a round.
    pub fn take(&mut self, round: &SampleRound) -> Verdict {
        if let Some(refusal) = round.looks.iter().find_map(refusal) {
            return Verdict::Refused(refusal);
        }
        let died = self.newly_dead(round);
        let mut blockers = Vec::new();
        if let Err(why) = &round.dead {
            // Connections that are listed now may turn out to be a dead member's, when they are gone.
            blockers.push(Blocker::NoKeeper(why.clone()));
        }
        let mut unseen_longest = Duration::ZERO;
        let mut anew = self.has_new_epoch(round);
        for look in &round.looks {
            match self.track(look) {
                Some(unseen) if unseen <= UNSEEN_MAX => {
                    unseen_longest = unseen_longest.max(unseen);
                }
                Some(_) | None => anew = true,
            }
            blockers.extend(self.hindrances_at(look, &round.ring));
        }
        match round.looks.iter().map(|look| look.answered).max() {
            Some(ended) if blockers.is_empty() => self.go_on(ended, anew, unseen_longest),
            Some(_) | None => self.quiet_period = None,
        }
        // Its connections were listed before it was known to be dead: they are looked at once more.
        blockers.extend(died.into_iter().map(Blocker::Died));
        blockers.extend(self.unknown_in(round));
        self.verdict(round, blockers)
    }

    fn newly_dead(&mut self, round: &SampleRound) -> Vec<MemberId> {
        let Ok(dead) = &round.dead else {
            return Vec::new();
        };
        let concerned = dead.intersection(&self.members);
        let died: Vec<_> = concerned
            .filter(|member| !self.dead.contains(*member))
            .cloned()
            .collect();
        self.dead.extend(died.iter().cloned());
        died
    }

    fn has_new_epoch(&mut self, round: &SampleRound) -> bool {
        let Ok(epoch) = round.epoch else { return false };
        let before = self.epoch.replace(epoch);
        before.is_some_and(|before| before != epoch) && !out(Rule::QuiescenceEpoch)
    }

    /// Notes that the node was asked; for how long it may have been frozen unseen, if it was asked before.
    fn track(&mut self, look: &NodeSample) -> Option<Duration> {
        let track = self.nodes.entry(look.node.id).or_default();
        let before = track.asked.replace(look.asked);
        match &look.found {
            SampleResult::Silent => {
                track.silent_since.get_or_insert(look.asked);
            }
            SampleResult::Serves { settings, .. } => {
                track.silent_since = None;
                track.settings = Some(*settings);
            }
            SampleResult::Refuses | SampleResult::Untold(_) => track.silent_since = None,
        }
        before.map(|asked| look.answered.since(asked))
    }

    /// What hinders at this node.
    fn hindrances_at(
        &self,
        look: &NodeSample,
        ring: &Result<Vec<NodeState>, String>,
    ) -> Vec<Blocker> {
        let node = look.node.clone();
        match &look.found {
            SampleResult::Serves { connections, .. } => connections
                .iter()
                .filter_map(|connection| self.connected(&node, connection))
                .collect(),
            SampleResult::Refuses => {
                let heard_of = ring.as_ref().map_or(true, |ring| {
                    let state = ring.iter().find(|state| state.node.id == node.id);
                    state.is_some_and(|state| state.up)
                });
                heard_of
                    .then_some(Blocker::Refuses(node))
                    .into_iter()
                    .collect()
            }
            SampleResult::Silent if out(Rule::QuiescenceSilence) => Vec::new(),
            SampleResult::Silent => {
                let track = self.nodes.get(&node.id);
                let since = track.and_then(|track| track.silent_since);
                let lasting = look.answered.since(since.unwrap_or(look.asked));
                vec![Blocker::Silent { node, lasting }]
            }
            SampleResult::Untold(why) => vec![Blocker::Untold {
                node,
                why: why.clone(),
            }],
        }
    }

    fn connected(&self, node: &NodeAddress, connection: &Connection) -> Option<Blocker> {
        let member = MemberId::from_node_name(connection.client_id.as_deref()?)?;
        if out(Rule::QuiescenceConnections) {
            return None;
        }
        let hinders = self.dead.contains(&member) && !(self.declared_dead.member_gone)(&member);
        hinders.then(|| Blocker::Connected {
            member,
            client: connection.client,
            node: node.clone(),
        })
    }

    /// Nothing hindered in a round that ended at `ended`.
    fn go_on(&mut self, ended: Moment, anew: bool, unseen: Duration) {
        self.quiet_period = match self.quiet_period {
            Some(quiet_period) if !anew => Some(QuietPeriod {
                unseen_longest: quiet_period.unseen_longest.max(unseen),
                ..quiet_period
            }),
            Some(_) | None => Some(QuietPeriod {
                began: ended,
                unseen_longest: Duration::ZERO,
            }),
        };
    }

    /// What this round could not tell, so that it cannot be the last one.
    fn unknown_in(&self, round: &SampleRound) -> Vec<Blocker> {
        let mut unknown = Vec::new();
        match &round.ring {
            Ok(ring) => {
                let new = ring.iter().map(|state| &state.node).filter(|node| {
                    self.concerns(node) && !round.looks.iter().any(|look| look.node.id == node.id)
                });
                unknown.extend(new.map(|node| Blocker::Untold {
                    node: node.clone(),
                    why: "it has just been seen".to_owned(),
                }));
            }
            Err(why) => unknown.push(Blocker::NoRing(why.clone())),
        }
        if let Err(why) = &round.epoch {
            unknown.push(Blocker::NoKeeper(why.clone()));
        }
        unknown
    }

    fn verdict(&self, round: &SampleRound, mut blockers: Vec<Blocker>) -> Verdict {
        let asked = round.looks.iter().map(|look| look.asked).min();
        if let (Some(quiet_period), Some(asked)) = (self.quiet_period, asked) {
            let needed = self.bound().total() + quiet_period.unseen_longest;
            let passed = asked.since(quiet_period.began);
            if passed < needed && !out(Rule::QuiescencePeriod) {
                blockers.push(Blocker::QuietPeriod {
                    left: needed.saturating_sub(passed),
                });
            }
        }
        if blockers.is_empty() && self.quiet_period.is_some() {
            Verdict::Quiescence
        } else {
            Verdict::Waiting(blockers)
        }
    }

    /// `W` as the nodes seen so far have it.
    #[must_use]
    pub fn bound(&self) -> QuiescenceBound {
        let settings = self
            .nodes
            .values()
            .filter_map(|track| track.settings.as_ref());
        QuiescenceBound::new(self.sessions, settings)
    }
}

/// Why there can be no calm at this node, ever.
fn refusal(look: &NodeSample) -> Option<String> {
    match &look.found {
        SampleResult::Serves { settings, .. } if !settings.internode_timeout => Some(format!(
            "the Cassandra node {} has internode_timeout off: its replicas never drop what is too old, so no time              bounds an increment; switch it on (cassandra.yaml: internode_timeout: true)",
            look.node.address
        )),
        SampleResult::Serves { .. }
        | SampleResult::Refuses
        | SampleResult::Silent
        | SampleResult::Untold(_) => None,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
