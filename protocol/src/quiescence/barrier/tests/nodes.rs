//! Nodes that are down, replaced, declared dead, or have left the ring.

use super::*;
use crate::quiescence::NodeSet;

fn known(number: u8) -> KnownNode {
    KnownNode {
        node: node(number),
        own_address: true,
    }
}

#[test]
fn the_node_set_keeps_a_node_that_leaves_the_ring_and_one_that_a_member_recorded() {
    let mut nodes = NodeSet::default();
    nodes.add(&[known(4)]);
    nodes.learn(&[state(1, true), state(2, true)]);
    nodes.learn(&[state(1, true), state(3, true)]);
    let numbers: Vec<_> = nodes.iter().map(|known| known.node.clone()).collect();
    assert_eq!(numbers, [node(1), node(2), node(3), node(4)]);
}

#[test]
fn an_address_stays_a_nodes_own_until_the_node_has_another() {
    let mut nodes = NodeSet::default();
    nodes.add(&[known(1)]);
    let mut silent = state(1, false);
    silent.own_address = false;
    nodes.learn(std::slice::from_ref(&silent));
    assert!(nodes.iter().all(|known| known.own_address));
    silent.node.address = ([127, 0, 0, 9], 9042).into();
    nodes.learn(&[silent]);
    assert!(nodes.iter().all(|known| !known.own_address));
}

#[test]
fn a_node_that_refuses_and_is_down_for_its_peers_counts_as_answering() {
    let mut story = story();
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    story.results.insert(2, SampleResult::Refusing);
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_that_refuses_while_its_peers_report_it_up_is_waited_for() {
    let mut story = story();
    story.under_way();
    story.results.insert(2, SampleResult::Refusing);
    for _ in 0..100 {
        assert_eq!(story.blockers(), [Blocker::Refusing(node(2))]);
    }
    story.ring = Err("no answer".to_owned());
    let blockers = story.blockers();
    assert!(
        blockers.contains(&Blocker::Refusing(node(2))),
        "its peers cannot be asked"
    );
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn an_address_that_refuses_and_may_not_be_the_nodes_own_is_waited_for() {
    let mut story = story();
    story.own_address = false;
    story.ring = Ok(vec![state(1, true), state(2, false)]);
    story.results.insert(2, SampleResult::Refusing);
    for _ in 0..100 {
        let blockers = story.blockers();
        assert_eq!(blockers, [Blocker::ForeignAddress(node(2))]);
        let hint = format!("--declare-dead {}", node(2).id.0);
        assert!(blockers[0].to_string().contains(&hint));
    }
    story.own_address = true;
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_whose_address_another_one_has_is_waited_for_until_it_is_declared_dead() {
    let mut waiting = story();
    waiting.results.insert(2, SampleResult::Replaced);
    for _ in 0..100 {
        assert_eq!(waiting.blockers(), [Blocker::Replaced(node(2))]);
    }
    let mut declared_dead = DeclaredDead::default();
    declared_dead.node_ids.insert(node(2).id);
    let mut story = story_with(declared_dead);
    story.results.remove(&2);
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_that_left_the_ring_is_waited_for_while_it_is_silent() {
    let mut story = story();
    story.ring = Ok(vec![state(1, true)]);
    story.results.insert(2, SampleResult::Silent);
    assert!(matches!(story.blockers()[..], [Blocker::Silent { .. }]));
    story.results.insert(2, SampleResult::Refusing);
    assert_eq!(story.until_quiescence(), story.whole());
}

#[test]
fn a_node_that_is_declared_dead_by_its_host_id_is_neither_sampled_nor_waited_for() {
    let mut declared_dead = DeclaredDead::default();
    declared_dead.node_ids.insert(node(2).id);
    let mut story = story_with(declared_dead);
    assert!(!story.barrier.concerns(&node(2)) && story.barrier.concerns(&node(1)));
    story.results.remove(&2);
    assert_eq!(story.until_quiescence(), story.whole());
}

/// One story with node 2 declared dead by its address, and one by its host.
fn declared_by_address() -> [Story; 2] {
    let (mut by_address, mut by_host) = (DeclaredDead::default(), DeclaredDead::default());
    by_address.node_addresses.insert(node(2).address);
    by_host.node_hosts.insert(node(2).address.ip());
    [story_with(by_address), story_with(by_host)]
}

#[test]
fn a_silent_node_is_not_waited_for_if_its_address_is_declared_dead() {
    for mut story in declared_by_address() {
        assert!(story.barrier.concerns(&node(2)), "it may answer after all");
        story.results.insert(2, SampleResult::Silent);
        assert_eq!(story.until_quiescence(), story.whole());
    }
}

#[test]
fn a_node_that_answers_at_an_address_that_is_declared_dead_is_waited_for() {
    for mut story in declared_by_address() {
        story.dead = Ok(BTreeSet::from([member(1)]));
        story.results.insert(2, serving(&[&member(1)]));
        story.blockers();
        let connected = |blocker: &Blocker| matches!(blocker, Blocker::Connected { .. });
        assert!(story.blockers().iter().any(connected));
        // It is the replacement, and freezes now.
        story.results.insert(2, SampleResult::Silent);
        assert!(matches!(story.blockers()[..], [Blocker::Silent { .. }]));
    }
}

#[test]
fn an_address_that_two_nodes_have_had_declares_neither_dead() {
    for mut story in declared_by_address() {
        story.results.insert(2, SampleResult::Silent);
        let replacement = NodeAddress {
            id: NodeId(uuid::Uuid::from_u128(22)),
            ..node(2)
        };
        story.others.push((replacement, SampleResult::Silent));
        let blockers = story.blockers();
        let ids = [node(2).id, NodeId(uuid::Uuid::from_u128(22))];
        assert_eq!(blockers.len(), 2, "{blockers:?}");
        for (blocker, id) in blockers.iter().zip(ids) {
            let hint = format!("--declare-dead {}", id.0);
            assert!(blocker.to_string().contains(&hint), "{blocker}");
        }
    }
}

#[test]
fn a_node_that_left_the_ring_is_forgotten_if_it_was_dead_throughout_or_declared_dead() {
    let mut declared_dead = DeclaredDead::default();
    declared_dead.node_ids.insert(node(5).id);
    let mut story = story_with(declared_dead);
    let ring = vec![state(1, true), state(2, false)];
    story.ring = Ok(ring.clone());
    story.results.insert(2, SampleResult::Refusing);
    story.results.insert(3, SampleResult::Refusing);
    story.results.insert(4, SampleResult::Silent);
    story.blockers();
    story.results.insert(4, SampleResult::Refusing);
    story.until_quiescence();
    let nodes = [known(1), known(2), known(3), known(4), known(5)];
    let dead = story.barrier.dead_nodes(&nodes, &ring);
    assert_eq!(dead, BTreeSet::from([node(3).id, node(5).id]));
}
