mod late;
mod nodes;
mod world;

use super::*;

const SESSION: Duration = Duration::from_secs(3);

/// A barrier with two members and two nodes, a clock, and the next round.
struct Story {
    barrier: Barrier,
    now: Duration,
    step: Duration,
    epoch: i32,
    ring: Result<Vec<NodeState>, String>,
    dead: Result<BTreeSet<MemberId>, String>,
    epoch_known: bool,
    own_address: bool,
    results: BTreeMap<u8, SampleResult>,
    others: Vec<(NodeAddress, SampleResult)>,
}

fn member(number: i64) -> MemberId {
    MemberId::new(number, 0)
}

fn node(number: u8) -> NodeAddress {
    NodeAddress {
        id: NodeId(uuid::Uuid::from_u128(number.into())),
        address: ([127, 0, 0, number], 9042).into(),
    }
}

fn state(number: u8, up: bool) -> NodeState {
    NodeState {
        node: node(number),
        own_address: true,
        datacenter: "dc1".to_owned(),
        tokens: Vec::new(),
        up,
        normal: true,
    }
}

fn settings() -> NodeSettings {
    NodeSettings {
        native_transport_timeout: Duration::from_secs(1),
        counter_write_request_timeout: Duration::from_secs(1),
        native_transport_idle_timeout: None,
        internode_timeout: true,
    }
}

fn serving(connected: &[&MemberId]) -> SampleResult {
    let connection = |member: &&MemberId| Connection {
        client_id: Some(member.to_string()),
        client: ([10, 0, 0, 1], 4000).into(),
    };
    SampleResult::Serving {
        connections: connected.iter().map(connection).collect(),
        settings: settings(),
    }
}

fn sessions() -> Sessions {
    Sessions {
        longest_timeout: SESSION,
        keepalive_interval: Duration::from_secs(1),
        keepalive_timeout: Duration::from_secs(1),
    }
}

fn story() -> Story {
    story_with(DeclaredDead::default())
}

fn story_with(declared_dead: DeclaredDead) -> Story {
    Story {
        barrier: Barrier::new([member(1), member(2)], sessions(), declared_dead),
        now: Duration::from_secs(100),
        step: Duration::from_millis(500),
        epoch: 1,
        ring: Ok(vec![state(1, true), state(2, true)]),
        dead: Ok(BTreeSet::new()),
        epoch_known: true,
        own_address: true,
        results: BTreeMap::from([(1, serving(&[])), (2, serving(&[]))]),
        others: Vec::new(),
    }
}

impl Story {
    fn round(&mut self) -> Verdict {
        self.now += self.step;
        let moment = Moment::new(self.now);
        let numbered = self
            .results
            .iter()
            .map(|(number, result)| (node(*number), result));
        let others = self
            .others
            .iter()
            .map(|(node, result)| (node.clone(), result));
        let samples = numbered.chain(others).map(|(node, result)| NodeSample {
            node,
            own_address: self.own_address,
            sent_at: moment,
            ended_at: moment,
            result: result.clone(),
        });
        let round = SampleRound {
            ring: self.ring.clone(),
            dead: self.dead.clone(),
            epoch: if self.epoch_known {
                Ok(Epoch(self.epoch))
            } else {
                Err("no answer".to_owned())
            },
            samples: samples.collect(),
        };
        self.barrier.observe(&round)
    }

    fn blockers(&mut self) -> Vec<Blocker> {
        match self.round() {
            Verdict::Waiting(blockers) => blockers,
            other @ (Verdict::Quiescence | Verdict::Refused(_)) => panic!("{other:?}"),
        }
    }

    /// How long it is from now until quiescence.
    fn until_quiescence(&mut self) -> Duration {
        let from = self.now;
        for _ in 0..1000 {
            if self.round() == Verdict::Quiescence {
                return self.now - from;
            }
        }
        panic!("no quiescence: {:?}", self.blockers());
    }

    /// How long it is from now until quiescence if the quiet period begins with the next round.
    fn whole(&self) -> Duration {
        let needed = self.barrier.bound().total() + self.step;
        let mut rounds = self.step;
        while rounds < needed {
            rounds += self.step;
        }
        rounds + self.step
    }

    /// The quiet period has lasted for a while.
    fn under_way(&mut self) {
        for _ in 0..4 {
            let blockers = self.blockers();
            assert!(
                matches!(blockers[..], [Blocker::QuietPeriod { .. }]),
                "{blockers:?}"
            );
        }
    }
}

#[test]
fn without_blockers_quiescence_comes_after_the_whole_bound() {
    let mut story = story();
    let took = story.until_quiescence();
    assert_eq!(took, story.whole());
    assert!(took > story.barrier.bound().total());
    // 2 x 3 s sessions, 2 s for ticks, 1 s + 2 x 1 s at the servers, 2 s of keepalive.
    assert!(story.barrier.bound().total() > Duration::from_secs(13));
}

#[test]
fn a_dead_member_that_is_still_listed_is_named_and_the_whole_bound_follows_its_disconnection() {
    let mut story = story();
    story.dead = Ok(BTreeSet::from([member(2)]));
    story.results.insert(2, serving(&[&member(1), &member(2)]));
    story.blockers();
    for _ in 0..100 {
        let blockers = story.blockers();
        assert_eq!(
            blockers,
            [Blocker::Connected {
                member: member(2),
                client: ([10, 0, 0, 1], 4000).into(),
                node: node(2),
            }]
        );
        let text = blockers[0].to_string();
        for part in [
            "10.0.0.1:4000",
            "127.0.0.2:9042",
            &format!("--declare-dead {}", member(2)),
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    story.results.insert(2, serving(&[&member(1)]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_living_member_may_stay_connected() {
    let mut story = story();
    story.results.insert(1, serving(&[&member(1), &member(2)]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_member_that_dies_meanwhile_is_waited_for_too() {
    let mut story = story();
    story.results.insert(1, serving(&[&member(1)]));
    story.under_way();
    story.dead = Ok(BTreeSet::from([member(1)]));
    assert!(
        story
            .blockers()
            .iter()
            .any(|blocker| matches!(blocker, Blocker::Connected { .. }))
    );
    story.results.insert(1, serving(&[]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn the_round_that_finds_a_member_dead_is_never_the_last() {
    let took = story().until_quiescence();
    let mut story = story();
    let last = story.now + took;
    while story.now + story.step < last {
        story.blockers();
    }
    story.dead = Ok(BTreeSet::from([member(1)]));
    assert_eq!(story.blockers(), [Blocker::JustDied(member(1))]);
    assert_eq!(story.round(), Verdict::Quiescence);
}

#[test]
fn a_dead_process_that_is_not_among_the_members_is_not_waited_for() {
    let mut story = story();
    story.dead = Ok(BTreeSet::from([member(3)]));
    story.results.insert(1, serving(&[&member(3)]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_dead_member_that_is_declared_dead_may_stay_listed() {
    let mut story = story_with(DeclaredDead {
        members: BTreeSet::from([member(2)]),
        ..DeclaredDead::default()
    });
    story.dead = Ok(BTreeSet::from([member(2)]));
    story.results.insert(2, serving(&[&member(2)]));
    story.blockers();
    assert_eq!(story.until_quiescence() + story.step, story.whole());
}

#[test]
fn a_silent_node_is_named_and_restarts_the_quiet_period_once_it_is_back() {
    let mut story = story();
    story.under_way();
    let serving = story.results.insert(2, SampleResult::Silent).unwrap();
    for round in 0..100 {
        let blockers = story.blockers();
        assert_eq!(
            blockers[0],
            Blocker::Silent {
                node: node(2),
                lasting: story.step * round,
            }
        );
    }
    story.results.insert(2, serving);
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_that_answers_but_cannot_be_read_or_does_not_apply_is_waited_for_like_a_silent_one() {
    for (result, named) in [
        (
            SampleResult::Unreadable("timed out".to_owned()),
            "timed out",
        ),
        (SampleResult::Stalled, "commit log"),
    ] {
        let mut story = story();
        story.under_way();
        let serving = story.results.insert(2, result).unwrap();
        for _ in 0..100 {
            let blocker = &story.blockers()[0];
            let text = blocker.to_string();
            let id = node(2).id.0.to_string();
            assert!(text.contains(named) && text.contains(&id), "{text}");
        }
        story.results.insert(2, serving);
        assert_eq!(story.until_quiescence(), story.whole());
    }
}

#[test]
fn a_node_that_is_seen_for_the_first_time_restarts_the_quiet_period() {
    let mut story = story();
    story.under_way();
    story.ring = Ok(vec![state(1, true), state(2, true), state(3, true)]);
    let blockers = story.blockers();
    assert!(
        matches!(&blockers[0], Blocker::Unreadable { node: new, .. } if *new == node(3)),
        "{blockers:?}"
    );
    story.results.insert(3, serving(&[]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_new_epoch_restarts_the_quiet_period() {
    let mut story = story();
    story.under_way();
    story.epoch = 2;
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn an_election_during_which_the_epoch_is_unknown_restarts_the_quiet_period_too() {
    let mut story = story();
    story.under_way();
    story.epoch_known = false;
    assert!(
        story
            .blockers()
            .iter()
            .any(|blocker| matches!(blocker, Blocker::MembersUnknown(_)))
    );
    story.epoch_known = true;
    story.epoch = 2;
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn there_is_no_quiescence_while_the_epoch_or_the_ring_is_unknown() {
    for blind in [0, 1] {
        let mut story = story();
        if blind == 0 {
            story.epoch_known = false;
        } else {
            story.ring = Err("no answer".to_owned());
        }
        for _ in 0..200 {
            story.blockers();
        }
        story.epoch_known = true;
        story.ring = Ok(vec![state(1, true), state(2, true)]);
        assert_eq!(
            story.round(),
            Verdict::Quiescence,
            "the nodes did answer meanwhile"
        );
    }
}

#[test]
fn while_the_dead_members_are_unknown_there_is_no_quiet_period() {
    let mut story = story();
    story.dead = Err("no answer".to_owned());
    story.results.insert(1, serving(&[&member(1)]));
    for _ in 0..200 {
        assert_eq!(
            story.blockers(),
            [Blocker::MembersUnknown("no answer".to_owned())]
        );
    }
    // It was dead all along, and its connection has only just gone.
    story.dead = Ok(BTreeSet::from([member(1)]));
    story.results.insert(1, serving(&[]));
    story.blockers();
    assert_eq!(story.until_quiescence() + story.step, story.whole());
}

#[test]
fn a_long_gap_between_samples_restarts_the_quiet_period() {
    let mut story = story();
    story.under_way();
    story.now += UNSEEN_MAX;
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn the_longest_time_between_samples_of_a_node_is_added() {
    let mut story = story();
    story.blockers();
    let from = story.now;
    story.now += Duration::from_secs(1);
    story.until_quiescence();
    let needed = story.barrier.bound().total() + Duration::from_millis(1500);
    assert!(story.now - from >= needed);
    assert!(story.now - from < needed + story.step);
}

#[test]
fn longer_timeouts_of_a_node_that_comes_back_lengthen_the_quiet_period() {
    let mut story = story();
    story.results.insert(2, SampleResult::Silent);
    story.blockers();
    let before = story.barrier.bound().total();
    story.results.insert(
        2,
        SampleResult::Serving {
            connections: Vec::new(),
            settings: NodeSettings {
                native_transport_timeout: Duration::from_secs(7),
                ..settings()
            },
        },
    );
    let took = story.until_quiescence();
    assert_eq!(took, story.whole());
    assert_eq!(
        story.barrier.bound().total(),
        before + Duration::from_secs(6)
    );
}

#[test]
fn a_node_without_internode_timeout_is_refused_at_once() {
    let mut story = story();
    story.results.insert(
        2,
        SampleResult::Serving {
            connections: Vec::new(),
            settings: NodeSettings {
                internode_timeout: false,
                ..settings()
            },
        },
    );
    let verdict = story.round();
    assert!(
        matches!(&verdict, Verdict::Refused(why) if why.contains("127.0.0.2:9042")
            && why.contains("so no time bounds an increment")),
        "{verdict:?}"
    );
}

#[test]
fn with_no_known_node_there_is_no_quiescence() {
    let mut story = story();
    story.results.clear();
    story.ring = Err("no answer".to_owned());
    for _ in 0..100 {
        let blockers = story.blockers();
        assert!(blockers.contains(&Blocker::RingUnknown("no answer".to_owned())));
    }
}
