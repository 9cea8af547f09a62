use std::time::Duration;

use super::super::gossip_liveness::{DOWN_AFTER, GossipLiveness};
use super::*;
use stitch_common::clock::Moment;

fn id(number: u128) -> NodeId {
    NodeId(Uuid::from_u128(number))
}

fn row(number: u128, tokens: &[&str]) -> PeerRow {
    (
        Some(id(number).0),
        Some("dc1".to_owned()),
        Some(IpAddr::from([127, 0, 0, u8::try_from(number).unwrap()])),
        Some(9042),
        Some(tokens.iter().map(|token| (*token).to_owned()).collect()),
    )
}

fn gossip(number: u128, heartbeat: i32, status: &str) -> Gossip {
    Gossip {
        host_id: Some(id(number).0.to_string()),
        dc: Some("dc1".to_owned()),
        native_address_and_port: Some(format!("127.0.0.{number}:9042")),
        generation: Some(1),
        heartbeat: Some(heartbeat),
        status_with_port: Some(status.to_owned()),
    }
}

/// The view of node 1, with itself and node 2.
fn view(gossip: Vec<Gossip>) -> View {
    View::new(vec![row(1, &["0"])], &[], vec![row(2, &["5"])], gossip).unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn ring(liveness: &mut GossipLiveness, now: Moment, views: &[View]) -> Vec<NodeState> {
    merge(views, |observer, gossip| {
        liveness.is_recent(observer, gossip, now)
    })
}

#[test]
fn a_node_without_a_rising_heartbeat_is_down_after_a_while_and_up_again_when_it_rises() {
    let mut liveness = GossipLiveness::default();
    let mut node_2_is_up = |seconds, heartbeat| {
        let view = view(vec![
            gossip(1, 1, "NORMAL,0"),
            gossip(2, heartbeat, "NORMAL,5"),
        ]);
        let ring = ring(&mut liveness, at(seconds), &[view]);
        assert!(ring[0].up, "the node that answers");
        assert!(ring[1].normal);
        ring[1].up
    };
    assert!(node_2_is_up(0, 7), "seen for the first time");
    assert!(node_2_is_up(DOWN_AFTER.as_secs() - 1, 7));
    assert!(!node_2_is_up(DOWN_AFTER.as_secs(), 7));
    assert!(node_2_is_up(DOWN_AFTER.as_secs() + 1, 8));
}

#[test]
fn one_peer_that_still_hears_from_a_node_is_enough_to_call_it_up() {
    let mut liveness = GossipLiveness::default();
    let views = |second, third| {
        [
            view(vec![gossip(2, second, "NORMAL,5")]),
            View::new(
                vec![row(3, &["9"])],
                &[],
                vec![],
                vec![gossip(2, third, "NORMAL,5")],
            )
            .unwrap(),
        ]
    };
    ring(&mut liveness, at(0), &views(7, 7));
    let later = ring(&mut liveness, at(60), &views(7, 8));
    assert!(
        later
            .iter()
            .find(|state| state.node.id == id(2))
            .unwrap()
            .up
    );
    let later = ring(&mut liveness, at(120), &views(7, 8));
    assert!(
        !later
            .iter()
            .find(|state| state.node.id == id(2))
            .unwrap()
            .up
    );
}

#[test]
fn a_node_that_announced_its_shutdown_is_down_at_once_and_keeps_its_position() {
    let mut liveness = GossipLiveness::default();
    let ring = ring(
        &mut liveness,
        at(0),
        &[view(vec![gossip(2, 7, "shutdown,true")])],
    );
    assert!(!ring[1].up);
    assert!(ring[1].normal);
}

#[test]
fn a_node_that_joins_leaves_or_moves_or_is_unknown_to_gossip_is_not_normal() {
    for status in [
        "BOOT,1",
        "LEAVING,5",
        "MOVING,6",
        "LEFT,5,9",
        "BOOT_REPLACE,1",
        "",
    ] {
        let ring = ring(
            &mut GossipLiveness::default(),
            at(0),
            &[view(vec![gossip(2, 7, status)])],
        );
        assert!(!ring[1].normal, "{status}");
    }
    let ring = ring(&mut GossipLiveness::default(), at(0), &[view(vec![])]);
    assert!(!ring[1].normal);
}

#[test]
fn a_node_known_by_gossip_alone_is_in_the_ring_unless_it_has_left() {
    let joining = view(vec![gossip(3, 1, "BOOT,1")]);
    let ids: Vec<_> = ring(&mut GossipLiveness::default(), at(0), &[joining])
        .iter()
        .map(|state| state.node.id)
        .collect();
    assert_eq!(ids, [id(1), id(2), id(3)]);
    let left = view(vec![gossip(3, 1, "LEFT,5,9")]);
    assert_eq!(
        ring(&mut GossipLiveness::default(), at(0), &[left]).len(),
        2
    );
}

#[test]
fn a_nodes_own_tokens_win_over_those_that_a_peer_lists() {
    let stale = view(vec![]);
    let own = View::new(
        vec![row(2, &["6", "8"])],
        &[IpAddr::from([127, 0, 0, 2])],
        vec![],
        vec![],
    )
    .unwrap();
    let ring = ring(&mut GossipLiveness::default(), at(0), &[stale, own]);
    assert_eq!(ring[1].tokens, ["6", "8"]);
    assert_eq!(ring[1].node.address, "127.0.0.2:9042".parse().unwrap());
}
