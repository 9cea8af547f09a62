//! Decides whether there is quiescence. Pure: its input is rounds of samples and the moments at which they were taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::blocker::Blocker;
use super::bound::{QuiescenceBound, Sessions};
use super::declared_dead::DeclaredDead;
use crate::membership::Epoch;
use crate::rule;
use stitch_common::clock::Moment;
use stitch_common::member::MemberId;
use stitch_common::ports::{Connection, KnownNode, NodeAddress, NodeId, NodeSettings, NodeState};

/// A node may have been frozen, unseen, between two samples: from the first one's request to the second one's answer.
/// The longest such time is added to `W`; a longer one than this restarts the quiet period.
pub const UNSEEN_MAX: Duration = Duration::from_millis(2500);

/// The observations of one round.
#[derive(Clone, Debug)]
pub struct SampleRound {
    /// The nodes as the cluster sees them.
    pub ring: Result<Vec<NodeState>, String>,
    /// Those of the members concerned that are dead.
    pub dead: Result<BTreeSet<MemberId>, String>,
    /// The ensemble's epoch.
    pub epoch: Result<Epoch, String>,
    /// One sample of every node that was known when the round began and is not declared dead.
    pub samples: Vec<NodeSample>,
}

/// One sample of one node.
#[derive(Clone, Debug)]
pub struct NodeSample {
    /// The node.
    pub node: NodeAddress,
    /// Whether the node is known to listen on its address itself.
    pub own_address: bool,
    /// When the probe was sent.
    pub sent_at: Moment,
    /// When it was answered, or given up.
    pub ended_at: Moment,
    /// The result of the probe.
    pub result: SampleResult,
}

/// The result of probing a node.
#[derive(Clone, Debug)]
pub enum SampleResult {
    /// It applied an increment in time.
    Serving {
        /// The connections that it lists.
        connections: Vec<Connection>,
        /// Its settings.
        settings: NodeSettings,
    },
    /// The connection was refused.
    Refusing,
    /// Another node answers at its address.
    Replaced,
    /// It did not answer in time.
    Silent,
    /// It answers reads, but did not apply an increment in time.
    Stalled,
    /// It applied an increment, but its connections or settings were not read in time.
    Unread(String),
    /// It rejected the probe, or its connections or settings cannot be read.
    Unreadable(String),
}

impl SampleResult {
    /// Whether the node answered, whatever it answered.
    const fn is_answer(&self) -> bool {
        match self {
            Self::Serving { .. } | Self::Stalled | Self::Unread(_) | Self::Unreadable(_) => true,
            Self::Refusing | Self::Replaced | Self::Silent => false,
        }
    }
}

/// The conclusion from a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing that was sent before the barrier began can change the store any more.
    Quiescence,
    /// Not yet.
    Waiting(Vec<Blocker>),
    /// Never, with these settings.
    Refused(String),
}

/// The barrier of design, section 7. It concerns the members that it is made with, alive or not.
///
/// The quiet period runs from the end of the first round without a blocker. It restarts after any round with one, and
/// after a new epoch of the ensemble, a node not seen before, or a gap in the samples. An answer that comes too late is a
/// sample that was not taken: it only lengthens the gap between those before and after it. There is quiescence when
/// every node has answered a probe that was sent `W` after the quiet period began.
#[derive(Debug)]
pub struct Barrier {
    members: BTreeSet<MemberId>,
    dead: BTreeSet<MemberId>,
    sessions: Sessions,
    declared_dead: DeclaredDead,
    nodes: BTreeMap<NodeId, NodeTrack>,
    epoch: Option<Epoch>,
    quiet_period: Option<QuietPeriod>,
}

#[derive(Clone, Copy, Debug)]
struct QuietPeriod {
    began: Moment,
    unseen_longest: Duration,
}

/// What the samples so far show of a node.
#[derive(Debug, Default)]
struct NodeTrack {
    /// When the last probe was sent whose answer shows something.
    last_sent: Option<Moment>,
    silent_since: Option<Moment>,
    settings: Option<NodeSettings>,
    /// It may have been alive: it was not dead in every sample.
    lived: bool,
    /// It answered in some sample.
    answered: bool,
}

impl Barrier {
    /// A barrier that begins now and concerns these members.
    pub fn new(
        members: impl IntoIterator<Item = MemberId>,
        sessions: Sessions,
        declared_dead: DeclaredDead,
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

    /// Whether this node is to be sampled: unless it is declared dead by its host id.
    #[must_use]
    pub fn concerns(&self, node: &NodeAddress) -> bool {
        !self.declared_dead.has_id(node.id)
    }

    /// Those of these nodes, none of them in the ring any more, that were dead throughout this barrier or are declared
    /// dead: no later barrier needs to ask them.
    pub fn dead_nodes<'a>(
        &self,
        known: impl IntoIterator<Item = &'a KnownNode>,
        ring: &[NodeState],
    ) -> BTreeSet<NodeId> {
        let nodes = known.into_iter().map(|known| known.node.id);
        nodes
            .filter(|id| ring.iter().all(|state| state.node.id != *id))
            .filter(|id| {
                let track = self.nodes.get(id);
                self.declared_dead.has_id(*id) || track.is_some_and(|track| !track.lived)
            })
            .collect()
    }

    /// Takes a round into account.
    pub fn observe(&mut self, round: &SampleRound) -> Verdict {
        if let Some(refusal) = round.samples.iter().find_map(refusal) {
            return Verdict::Refused(refusal);
        }
        let newly_dead = self.newly_dead(round);
        let (mut blockers, mut late) = (Vec::new(), Vec::new());
        if let Err(why) = &round.dead {
            late.push(Blocker::MembersUnknown(why.clone()));
        }
        let mut unseen_longest = Duration::ZERO;
        let mut restarts = self.has_new_epoch(round);
        for sample in &round.samples {
            let is_exempt = self.is_exempt(sample, &round.samples);
            let is_late = !is_exempt && is_late(sample, round);
            let is_lost = is_late || is_unjudged(sample, round);
            match self.track(sample, is_exempt, is_lost) {
                Some(unseen) if unseen <= UNSEEN_MAX => {
                    unseen_longest = unseen_longest.max(unseen);
                }
                Some(_) | None => restarts = true,
            }
            if !is_exempt {
                let found = if is_late { &mut late } else { &mut blockers };
                found.extend(self.blockers_at(sample, &round.ring));
            }
        }
        self.quiet_period = match round.samples.iter().map(|sample| sample.ended_at).max() {
            Some(ended) if blockers.is_empty() => {
                let ended = late.is_empty().then_some(ended);
                self.extended_quiet_period(ended, restarts, unseen_longest)
            }
            Some(_) | None => None,
        };
        blockers.append(&mut late);
        // Its connections were listed before it was known to be dead: they are read once more.
        blockers.extend(newly_dead.into_iter().map(Blocker::JustDied));
        blockers.extend(self.unknowns_of(round));
        self.verdict(round, blockers)
    }

    fn newly_dead(&mut self, round: &SampleRound) -> Vec<MemberId> {
        let Ok(dead) = &round.dead else {
            return Vec::new();
        };
        let newly_dead: Vec<_> = dead
            .intersection(&self.members)
            .filter(|member| !self.dead.contains(*member))
            .cloned()
            .collect();
        self.dead.extend(newly_dead.iter().cloned());
        newly_dead
    }

    fn has_new_epoch(&mut self, round: &SampleRound) -> bool {
        let Ok(epoch) = round.epoch else { return false };
        let before = self.epoch.replace(epoch);
        before.is_some_and(|before| before != epoch) && rule::new_epoch_restarts()
    }

    /// Whether this node's address is declared dead, and names it beyond doubt: no other node has had the address, and
    /// nothing has answered there.
    fn is_exempt(&self, sample: &NodeSample, samples: &[NodeSample]) -> bool {
        let same = |other: &&NodeSample| other.node.address.ip() == sample.node.address.ip();
        let answered = self
            .nodes
            .get(&sample.node.id)
            .is_some_and(|track| track.answered);
        self.declared_dead.has_address(&sample.node)
            && samples.iter().filter(same).count() == 1
            && !answered
            && !sample.result.is_answer()
    }

    /// Notes the sample, and returns how long the node may have been frozen unseen, if it was sampled before.
    fn track(&mut self, sample: &NodeSample, is_exempt: bool, is_lost: bool) -> Option<Duration> {
        let track = self.nodes.entry(sample.node.id).or_default();
        let before = track.last_sent;
        if !is_lost {
            track.last_sent = Some(sample.sent_at);
        }
        track.lived |= !is_exempt && !matches!(sample.result, SampleResult::Refusing);
        track.answered |= sample.result.is_answer();
        match &sample.result {
            SampleResult::Silent | SampleResult::Stalled => {
                track.silent_since.get_or_insert(sample.sent_at);
            }
            SampleResult::Serving { settings, .. } => {
                track.silent_since = None;
                track.settings = Some(*settings);
            }
            SampleResult::Refusing
            | SampleResult::Replaced
            | SampleResult::Unread(_)
            | SampleResult::Unreadable(_) => track.silent_since = None,
        }
        before.map(|sent_at| sample.ended_at.since(sent_at))
    }

    fn blockers_at(
        &self,
        sample: &NodeSample,
        ring: &Result<Vec<NodeState>, String>,
    ) -> Vec<Blocker> {
        let node = sample.node.clone();
        match &sample.result {
            SampleResult::Serving { connections, .. } => connections
                .iter()
                .filter_map(|connection| self.connected(&node, connection))
                .collect(),
            SampleResult::Refusing => {
                let may_be_up = ring.as_ref().map_or(true, |ring| {
                    let state = ring.iter().find(|state| state.node.id == node.id);
                    state.is_some_and(|state| state.up)
                });
                if may_be_up {
                    vec![Blocker::Refusing(node)]
                } else if sample.own_address {
                    Vec::new()
                } else {
                    vec![Blocker::ForeignAddress(node)]
                }
            }
            SampleResult::Replaced => vec![Blocker::Replaced(node)],
            SampleResult::Silent if !rule::silence_blocks() => Vec::new(),
            SampleResult::Silent => {
                let lasting = self.silence(sample);
                vec![Blocker::Silent { node, lasting }]
            }
            SampleResult::Stalled => {
                let lasting = self.silence(sample);
                vec![Blocker::Stalled { node, lasting }]
            }
            SampleResult::Unread(why) | SampleResult::Unreadable(why) => {
                vec![Blocker::Unreadable {
                    node,
                    why: why.clone(),
                }]
            }
        }
    }

    /// How long the node has applied no increment.
    fn silence(&self, sample: &NodeSample) -> Duration {
        let track = self.nodes.get(&sample.node.id);
        let since = track.and_then(|track| track.silent_since);
        sample.ended_at.since(since.unwrap_or(sample.sent_at))
    }

    fn connected(&self, node: &NodeAddress, connection: &Connection) -> Option<Blocker> {
        let member = MemberId::from_node_name(connection.client_id.as_deref()?)?;
        let blocks = rule::connection_blocks()
            && self.dead.contains(&member)
            && !self.declared_dead.members.contains(&member);
        blocks.then(|| Blocker::Connected {
            member,
            client: connection.client,
            node: node.clone(),
        })
    }

    /// The quiet period after a round without a blocker; it begins with one that ended, with nothing late, at `ended`.
    fn extended_quiet_period(
        &self,
        ended: Option<Moment>,
        restarts: bool,
        unseen: Duration,
    ) -> Option<QuietPeriod> {
        if let Some(quiet_period) = self.quiet_period
            && !restarts
        {
            return Some(QuietPeriod {
                unseen_longest: quiet_period.unseen_longest.max(unseen),
                ..quiet_period
            });
        }
        ended.map(|began| QuietPeriod {
            began,
            unseen_longest: Duration::ZERO,
        })
    }

    /// What this round does not show, so that it cannot be the last one.
    fn unknowns_of(&self, round: &SampleRound) -> Vec<Blocker> {
        let mut unknowns = Vec::new();
        match &round.ring {
            Ok(ring) => {
                let new = ring.iter().map(|state| &state.node).filter(|node| {
                    let mut samples = round.samples.iter();
                    self.concerns(node) && !samples.any(|sample| sample.node.id == node.id)
                });
                unknowns.extend(new.map(|node| Blocker::Unreadable {
                    node: node.clone(),
                    why: "it has just been seen".to_owned(),
                }));
            }
            Err(why) => unknowns.push(Blocker::RingUnknown(why.clone())),
        }
        if let Err(why) = &round.epoch {
            unknowns.push(Blocker::MembersUnknown(why.clone()));
        }
        unknowns
    }

    fn verdict(&self, round: &SampleRound, mut blockers: Vec<Blocker>) -> Verdict {
        let first_sent = round.samples.iter().map(|sample| sample.sent_at).min();
        if let (Some(quiet_period), Some(first_sent)) = (self.quiet_period, first_sent) {
            let needed = self.bound().total() + quiet_period.unseen_longest;
            let passed = first_sent.since(quiet_period.began);
            if !rule::is_quiet_for_long_enough(passed, needed) {
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

    /// `W` by the settings of the nodes sampled so far.
    #[must_use]
    pub fn bound(&self) -> QuiescenceBound {
        let settings = self
            .nodes
            .values()
            .filter_map(|track| track.settings.as_ref());
        QuiescenceBound::new(self.sessions, settings)
    }
}

/// Whether the sample's answer, or that of the peers by which it is judged, came too late to show anything.
fn is_late(sample: &NodeSample, round: &SampleRound) -> bool {
    match &sample.result {
        SampleResult::Silent => rule::silence_blocks(),
        SampleResult::Stalled | SampleResult::Unread(_) => true,
        SampleResult::Refusing => round.ring.is_err(),
        SampleResult::Serving { .. } | SampleResult::Replaced | SampleResult::Unreadable(_) => {
            false
        }
    }
}

/// Whether a connection that the node lists may turn out to be a dead member's.
fn is_unjudged(sample: &NodeSample, round: &SampleRound) -> bool {
    round.dead.is_err() && matches!(sample.result, SampleResult::Serving { .. })
}

/// Why this node rules out quiescence.
fn refusal(sample: &NodeSample) -> Option<String> {
    match &sample.result {
        SampleResult::Serving { settings, .. } if !settings.internode_timeout => Some(format!(
            "the Cassandra node {} has internode_timeout off: its replicas never drop what is too old, so no time \
             bounds an increment; switch it on (cassandra.yaml: internode_timeout: true)",
            sample.node.address
        )),
        SampleResult::Serving { .. }
        | SampleResult::Refusing
        | SampleResult::Replaced
        | SampleResult::Silent
        | SampleResult::Stalled
        | SampleResult::Unread(_)
        | SampleResult::Unreadable(_) => None,
    }
}

#[cfg(test)]
mod tests;
