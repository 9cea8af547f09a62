//! Answers that come too late: one of them lengthens the quiet period by the time that was not seen, and restarts nothing.

use super::*;

/// What a round without an answer to one question looks like.
const LATE: [fn(&mut Story); 5] = [
    |story| drop(story.results.insert(2, SampleResult::Silent)),
    |story| drop(story.results.insert(2, SampleResult::Stalled)),
    |story| drop(story.results.insert(2, unread())),
    |story| story.dead = Err("no answer".to_owned()),
    |story| story.ring = Err("no answer".to_owned()),
];

fn unread() -> SampleResult {
    SampleResult::Unread("no answer in time".to_owned())
}

fn in_time(story: &mut Story) {
    story.results.insert(2, serving(&[]));
    story.dead = Ok(BTreeSet::new());
    story.ring = Ok(vec![state(1, true), state(2, true)]);
}

/// How long it is from the beginning of the quiet period until quiescence, with `late` rounds after the first ones.
fn with_late_rounds(late: fn(&mut Story), count: u32) -> (Story, Duration) {
    let mut story = story();
    story.blockers();
    let began = story.now;
    story.blockers();
    late(&mut story);
    for _ in 0..count {
        story.blockers();
    }
    in_time(&mut story);
    story.until_quiescence();
    let took = story.now - began;
    (story, took)
}

#[test]
fn one_late_answer_lengthens_the_quiet_period_and_does_not_restart_it() {
    for late in LATE {
        let (story, took) = with_late_rounds(late, 1);
        let unseen = story.step * 2;
        let needed = story.barrier.bound().total() + unseen;
        assert!(took <= needed + story.step, "{took:?}");
    }
}

#[test]
fn the_time_without_an_answer_in_time_is_added() {
    for late in &LATE[..4] {
        let (story, took) = with_late_rounds(*late, 3);
        let needed = story.barrier.bound().total() + story.step * 4;
        assert!(took >= needed && took <= needed + story.step, "{took:?}");
    }
}

#[test]
fn answers_that_stay_late_restart_the_quiet_period() {
    for late in &LATE[..4] {
        let mut story = story();
        story.under_way();
        late(&mut story);
        for _ in 0..5 {
            story.blockers();
        }
        in_time(&mut story);
        assert_eq!(story.until_quiescence(), story.whole());
    }
}

#[test]
fn a_round_with_a_late_answer_is_never_the_last() {
    for late in LATE {
        let mut story = story();
        let whole = story.until_quiescence();
        late(&mut story);
        for _ in 0..4 {
            assert!(!story.blockers().is_empty());
        }
        in_time(&mut story);
        assert!(story.until_quiescence() < whole);
    }
}

#[test]
fn a_quiet_period_does_not_begin_with_a_late_answer() {
    for late in &LATE[..4] {
        let mut story = story();
        late(&mut story);
        for _ in 0..100 {
            let blockers = story.blockers();
            assert!(
                !blockers
                    .iter()
                    .any(|blocker| matches!(blocker, Blocker::QuietPeriod { .. }))
            );
        }
        in_time(&mut story);
        assert_eq!(story.until_quiescence(), story.whole());
    }
}

#[test]
fn a_connection_of_a_member_known_to_be_dead_restarts_the_quiet_period_whatever_is_late() {
    let mut story = story();
    story.dead = Ok(BTreeSet::from([member(1)]));
    story.blockers();
    story.under_way();
    story.dead = Err("no answer".to_owned());
    story.results.insert(1, serving(&[&member(1)]));
    story.blockers();
    story.dead = Ok(BTreeSet::from([member(1)]));
    story.results.insert(1, serving(&[]));
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_that_refuses_while_its_peers_answer_late_is_as_it_was() {
    let mut story = story();
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    story.results.insert(2, SampleResult::Refusing);
    story.blockers();
    let began = story.now;
    story.under_way();
    let ring = std::mem::replace(&mut story.ring, Err("no answer".to_owned()));
    assert!(story.blockers().contains(&Blocker::Refusing(node(2))));
    story.ring = ring;
    story.until_quiescence();
    let needed = story.barrier.bound().total() + story.step * 2;
    assert!(story.now - began <= needed + story.step);
}
