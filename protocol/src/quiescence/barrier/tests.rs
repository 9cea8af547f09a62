use super::*;

const SESSION: Duration = Duration::from_secs(3);

/// A machine with two members and two nodes, a clock, and what the next round is going to show.
struct Story<'a> {
    barrier: Barrier<'a>,
    now: Duration,
    step: Duration,
    epoch: i32,
    ring: Result<Vec<NodeState>, String>,
    dead: Result<BTreeSet<MemberId>, String>,
    epoch_told: bool,
    found: BTreeMap<u8, SampleResult>,
}

fn member(number: i64) -> MemberId {
    MemberId::of_session(number)
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

fn serves(connected: &[&MemberId]) -> SampleResult {
    let connection = |member: &&MemberId| Connection {
        client_id: Some(member.to_string()),
        client: ([10, 0, 0, 1], 4000).into(),
    };
    SampleResult::Serves {
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

fn story(declared_dead: DeclaredDead<'_>) -> Story<'_> {
    Story {
        barrier: Barrier::new([member(1), member(2)], sessions(), declared_dead),
        now: Duration::from_secs(100),
        step: Duration::from_millis(500),
        epoch: 1,
        ring: Ok(vec![state(1, true), state(2, true)]),
        dead: Ok(BTreeSet::new()),
        epoch_told: true,
        found: BTreeMap::from([(1, serves(&[])), (2, serves(&[]))]),
    }
}

impl Story<'_> {
    fn round(&mut self) -> Verdict {
        self.now += self.step;
        let moment = Moment::new(self.now);
        let looks = self.found.iter().map(|(number, found)| NodeSample {
            node: node(*number),
            asked: moment,
            answered: moment,
            found: found.clone(),
        });
        let round = SampleRound {
            ring: self.ring.clone(),
            dead: self.dead.clone(),
            epoch: if self.epoch_told {
                Ok(Epoch(self.epoch))
            } else {
                Err("no answer".to_owned())
            },
            looks: looks.collect(),
        };
        self.barrier.take(&round)
    }

    fn blockers(&mut self) -> Vec<Blocker> {
        match self.round() {
            Verdict::Waiting(blockers) => blockers,
            other @ (Verdict::Quiescence | Verdict::Refused(_)) => panic!("{other:?}"),
        }
    }

    /// How long it is from now until calm.
    fn until_calm(&mut self) -> Duration {
        let from = self.now;
        for _ in 0..1000 {
            if self.round() == Verdict::Quiescence {
                return self.now - from;
            }
        }
        panic!("no calm: {:?}", self.blockers());
    }

    /// How long it is from now until calm if the stretch begins with the next round.
    fn whole(&self) -> Duration {
        let needed = self.barrier.bound().total() + self.step;
        let mut rounds = self.step;
        while rounds < needed {
            rounds += self.step;
        }
        rounds + self.step
    }

    /// The stretch has gone on for a while.
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
fn with_nothing_in_the_way_calm_comes_after_the_whole_bound() {
    let mut story = story(DeclaredDead::NONE);
    let took = story.until_calm();
    assert_eq!(took, story.whole());
    assert!(took > story.barrier.bound().total());
    // 2 x 3 s sessions, 2 s for ticks, 1 s + 2 x 1 s at the servers, 2 s of keepalive.
    assert!(story.barrier.bound().total() > Duration::from_secs(13));
}

#[test]
fn a_dead_member_that_is_still_listed_is_waited_for_by_name_and_the_whole_bound_follows() {
    let mut story = story(DeclaredDead::NONE);
    story.dead = Ok(BTreeSet::from([member(2)]));
    story.found.insert(2, serves(&[&member(1), &member(2)]));
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
        let told = blockers[0].to_string();
        for part in [
            "10.0.0.1:4000",
            "127.0.0.2:9042",
            &format!("--declare-dead {}", member(2)),
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
    story.found.insert(2, serves(&[&member(1)]));
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_live_member_may_stay_connected() {
    let mut story = story(DeclaredDead::NONE);
    story.found.insert(1, serves(&[&member(1), &member(2)]));
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_member_that_dies_meanwhile_is_held_to_the_same() {
    let mut story = story(DeclaredDead::NONE);
    story.found.insert(1, serves(&[&member(1)]));
    story.under_way();
    story.dead = Ok(BTreeSet::from([member(1)]));
    assert!(
        story
            .blockers()
            .iter()
            .any(|blocker| matches!(blocker, Blocker::Connected { .. }))
    );
    story.found.insert(1, serves(&[]));
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn the_round_that_finds_a_member_dead_is_never_the_last() {
    let took = story(DeclaredDead::NONE).until_calm();
    let mut story = story(DeclaredDead::NONE);
    let last = story.now + took;
    while story.now + story.step < last {
        story.blockers();
    }
    story.dead = Ok(BTreeSet::from([member(1)]));
    assert_eq!(story.blockers(), [Blocker::Died(member(1))]);
    assert_eq!(story.round(), Verdict::Quiescence);
}

#[test]
fn a_dead_process_that_is_no_member_concerned_is_not_waited_for() {
    let mut story = story(DeclaredDead::NONE);
    story.dead = Ok(BTreeSet::from([member(3)]));
    story.found.insert(1, serves(&[&member(3)]));
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_dead_member_that_the_operator_says_is_gone_may_stay_listed() {
    let gone = |id: &MemberId| *id == member(2);
    let mut story = story(DeclaredDead {
        member_gone: &gone,
        ..DeclaredDead::NONE
    });
    story.dead = Ok(BTreeSet::from([member(2)]));
    story.found.insert(2, serves(&[&member(2)]));
    story.blockers();
    assert_eq!(story.until_calm() + story.step, story.whole());
}

#[test]
fn a_silent_node_is_waited_for_by_name_and_starts_the_stretch_anew_once_it_is_back() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    let serving = story.found.insert(2, SampleResult::Silent).unwrap();
    for round in 0..100 {
        let blockers = story.blockers();
        assert_eq!(
            blockers,
            [Blocker::Silent {
                node: node(2),
                lasting: story.step * round,
            }]
        );
    }
    story.found.insert(2, serving);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_node_that_answers_but_does_not_tell_is_waited_for_like_a_silent_one() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    let serving = story
        .found
        .insert(2, SampleResult::Untold("timed out".to_owned()))
        .unwrap();
    assert!(matches!(story.blockers()[..], [Blocker::Untold { .. }]));
    story.found.insert(2, serving);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_node_that_refuses_and_that_nobody_hears_of_counts_as_answering() {
    let mut story = story(DeclaredDead::NONE);
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    story.found.insert(2, SampleResult::Refuses);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_node_that_refuses_while_others_hear_of_it_is_waited_for() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    story.found.insert(2, SampleResult::Refuses);
    for _ in 0..100 {
        assert_eq!(story.blockers(), [Blocker::Refuses(node(2))]);
    }
    story.ring = Err("nobody tells".to_owned());
    let blockers = story.blockers();
    assert!(
        blockers.contains(&Blocker::Refuses(node(2))),
        "nor is it known that they do not"
    );
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_node_that_left_the_ring_is_waited_for_as_long_as_it_is_silent() {
    let mut story = story(DeclaredDead::NONE);
    story.ring = Ok(vec![state(1, true)]);
    story.found.insert(2, SampleResult::Silent);
    assert!(matches!(story.blockers()[..], [Blocker::Silent { .. }]));
    story.found.insert(2, SampleResult::Refuses);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn known_nodes_keep_one_that_leaves_the_ring() {
    let mut known = KnownNodes::default();
    known.learn(&[state(1, true), state(2, true)]);
    known.learn(&[state(1, true), state(3, true)]);
    assert_eq!(
        known.iter().collect::<Vec<_>>(),
        [&node(1), &node(2), &node(3)]
    );
}

#[test]
fn a_node_that_is_seen_for_the_first_time_starts_the_stretch_anew() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    story.ring = Ok(vec![state(1, true), state(2, true), state(3, true)]);
    let blockers = story.blockers();
    assert!(
        matches!(&blockers[0], Blocker::Untold { node: new, .. } if *new == node(3)),
        "{blockers:?}"
    );
    story.found.insert(3, serves(&[]));
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_node_that_the_operator_says_is_gone_is_not_looked_at_nor_waited_for() {
    let gone = |gone: &NodeAddress| *gone == node(2);
    let mut story = story(DeclaredDead {
        node_gone: &gone,
        ..DeclaredDead::NONE
    });
    assert!(!story.barrier.concerns(&node(2)) && story.barrier.concerns(&node(1)));
    story.found.remove(&2);
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn a_new_epoch_starts_the_stretch_anew() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    story.epoch = 2;
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn an_election_that_was_not_heard_of_while_it_lasted_starts_the_stretch_anew_too() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    story.epoch_told = false;
    assert!(
        story
            .blockers()
            .iter()
            .any(|blocker| matches!(blocker, Blocker::NoKeeper(_)))
    );
    story.epoch_told = true;
    story.epoch = 2;
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn there_is_no_calm_while_the_epoch_or_the_ring_is_unknown() {
    for blind in [0, 1] {
        let mut story = story(DeclaredDead::NONE);
        if blind == 0 {
            story.epoch_told = false;
        } else {
            story.ring = Err("nobody tells".to_owned());
        }
        for _ in 0..200 {
            story.blockers();
        }
        story.epoch_told = true;
        story.ring = Ok(vec![state(1, true), state(2, true)]);
        assert_eq!(
            story.round(),
            Verdict::Quiescence,
            "the nodes did answer meanwhile"
        );
    }
}

#[test]
fn while_nobody_tells_who_is_dead_there_is_no_stretch() {
    let mut story = story(DeclaredDead::NONE);
    story.dead = Err("no answer".to_owned());
    story.found.insert(1, serves(&[&member(1)]));
    for _ in 0..200 {
        assert_eq!(
            story.blockers(),
            [Blocker::NoKeeper("no answer".to_owned())]
        );
    }
    // It was dead all along, and its connection has only just gone.
    story.dead = Ok(BTreeSet::from([member(1)]));
    story.found.insert(1, serves(&[]));
    story.blockers();
    assert_eq!(story.until_calm() + story.step, story.whole());
}

#[test]
fn an_observer_that_did_not_look_for_long_starts_the_stretch_anew() {
    let mut story = story(DeclaredDead::NONE);
    story.under_way();
    story.now += UNSEEN_MAX;
    assert_eq!(story.until_calm(), story.whole());
}

#[test]
fn the_longest_time_in_which_a_node_was_not_seen_is_added() {
    let mut story = story(DeclaredDead::NONE);
    story.blockers();
    let from = story.now;
    story.now += Duration::from_secs(1);
    story.until_calm();
    let needed = story.barrier.bound().total() + Duration::from_millis(1500);
    assert!(story.now - from >= needed);
    assert!(story.now - from < needed + story.step);
}

#[test]
fn longer_timeouts_of_a_node_that_comes_back_make_the_stretch_longer() {
    let mut story = story(DeclaredDead::NONE);
    story.found.insert(2, SampleResult::Silent);
    story.blockers();
    let before = story.barrier.bound().total();
    story.found.insert(
        2,
        SampleResult::Serves {
            connections: Vec::new(),
            settings: NodeSettings {
                native_transport_timeout: Duration::from_secs(7),
                ..settings()
            },
        },
    );
    let took = story.until_calm();
    assert_eq!(took, story.whole());
    assert_eq!(
        story.barrier.bound().total(),
        before + Duration::from_secs(6)
    );
}

#[test]
fn a_node_without_internode_timeout_is_refused_at_once() {
    let mut story = story(DeclaredDead::NONE);
    story.found.insert(
        2,
        SampleResult::Serves {
            connections: Vec::new(),
            settings: NodeSettings {
                internode_timeout: false,
                ..settings()
            },
        },
    );
    let verdict = story.round();
    assert!(
        matches!(&verdict, Verdict::Refused(why) if why.contains("127.0.0.2:9042")),
        "{verdict:?}"
    );
}

#[test]
fn with_no_node_known_there_is_no_calm() {
    let mut story = story(DeclaredDead::NONE);
    story.found.clear();
    story.ring = Err("nobody tells".to_owned());
    for _ in 0..100 {
        let blockers = story.blockers();
        assert!(blockers.contains(&Blocker::NoRing("nobody tells".to_owned())));
    }
}
