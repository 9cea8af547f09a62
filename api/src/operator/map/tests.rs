use stitch_common::member::Role;

use super::*;
use crate::testing::{backfill, doubt, healthy, lock, marker, member, restorer, takeover};

const RANGE: RangeId = RangeId(5);

/// The kind of [`RANGE`] in a healthy namespace with this change.
fn shown(change: impl FnOnce(&mut Status), freshness: State) -> Field {
    let mut status = healthy();
    change(&mut status);
    View::of(&status).field(RANGE, freshness)
}

#[test]
fn every_kind_of_range_has_its_cause() {
    assert_eq!(shown(|_| (), State::Live), Field::Counting);
    assert_eq!(shown(|_| (), State::Lagging), Field::Lagging);
    assert_eq!(shown(|_| (), State::Unknown), Field::Unknown);
    let unlocked = |status: &mut Status| status.locks.clear();
    assert_eq!(shown(unlocked, State::Live), Field::Idle);
    let waits =
        |status: &mut Status| status.locks = vec![lock(5, 1, LockKind::Shared, LockState::Waiting)];
    assert_eq!(shown(waits, State::Live), Field::Idle);
    let in_doubt = |status: &mut Status| status.in_doubt_markers.push(marker(5));
    assert_eq!(shown(in_doubt, State::Live), Field::Uncertain);
    let doubtful = |status: &mut Status| status.doubts.push(doubt(5));
    assert_eq!(shown(doubtful, State::Live), Field::Uncertain);
    let uncertain = |status: &mut Status| status.uncertain.push(RANGE);
    assert_eq!(shown(uncertain, State::Live), Field::Uncertain);
    let dead_member = |status: &mut Status| status.dead_members.push(member(9, Role::Processor));
    assert_eq!(shown(dead_member, State::Live), Field::Uncertain);
    let requested = |status: &mut Status| status.revocation_requests.push(RANGE);
    assert_eq!(shown(requested, State::Live), Field::Locked);
    let queued = |status: &mut Status| {
        status
            .locks
            .push(lock(5, 2, LockKind::Exclusive, LockState::Waiting))
    };
    assert_eq!(shown(queued, State::Live), Field::Locked);
    let held =
        |status: &mut Status| status.locks = vec![lock(5, 2, LockKind::Exclusive, LockState::Held)];
    assert_eq!(shown(held, State::Live), Field::Locked);
    let restored = |status: &mut Status| {
        status.locks = vec![lock(5, 2, LockKind::Exclusive, LockState::Held)];
        status.restoring = Some(restorer(2));
    };
    assert_eq!(shown(restored, State::Live), Field::Restoring);
    let other = |status: &mut Status| {
        status.locks = vec![lock(5, 2, LockKind::Exclusive, LockState::Held)];
        status.restoring = Some(restorer(3));
    };
    assert_eq!(shown(other, State::Live), Field::Locked);
}

#[test]
fn locks_and_markers_of_other_ranges_change_nothing() {
    let others = |status: &mut Status| {
        status.revocation_requests.push(RangeId(4));
        status.in_doubt_markers.push(marker(6));
        status.doubts.push(doubt(6));
        status
            .locks
            .push(lock(7, 2, LockKind::Exclusive, LockState::Held));
        status.restoring = Some(restorer(2));
    };
    assert_eq!(shown(others, State::Live), Field::Counting);
}

#[test]
fn the_first_of_several_kinds_is_shown() {
    // Each step removes the kind that was shown, and leaves the rest.
    let mut status = healthy();
    status.locks = vec![lock(5, 2, LockKind::Exclusive, LockState::Held)];
    status.restoring = Some(restorer(2));
    status.revocation_requests.push(RANGE);
    status.in_doubt_markers.push(marker(5));
    let field = |status: &Status, freshness| View::of(status).field(RANGE, freshness);
    assert_eq!(field(&status, State::Unknown), Field::Restoring);
    status.restoring = None;
    assert_eq!(field(&status, State::Unknown), Field::Locked);
    status.locks.clear();
    assert_eq!(field(&status, State::Unknown), Field::Locked);
    status.revocation_requests.clear();
    assert_eq!(field(&status, State::Unknown), Field::Uncertain);
    assert_eq!(field(&status, State::Lagging), Field::Uncertain);
    status.in_doubt_markers.clear();
    assert_eq!(field(&status, State::Unknown), Field::Unknown);
    assert_eq!(field(&status, State::Lagging), Field::Lagging);
    status
        .locks
        .push(lock(5, 1, LockKind::Shared, LockState::Held));
    assert_eq!(field(&status, State::Lagging), Field::Lagging);
    // The status is more recent than the freshness.
    for freshness in [State::Uncertain, State::Restoring] {
        assert_eq!(field(&status, freshness), Field::Counting);
    }
}

#[test]
fn every_range_has_a_text_and_the_legend_lists_them_by_kind() {
    let mut status = healthy();
    for range in [3, 7, 8, 9] {
        status
            .locks
            .push(lock(range, 2, LockKind::Exclusive, LockState::Held));
    }
    status.restoring = Some(restorer(2));
    let freshness = |_| Freshness {
        state: State::Live,
        behind_events: Some(0),
        causes: crate::freshness::Causes::default(),
        batch: None,
    };
    let map = ranges(&status, freshness).into_string();
    for part in [
        "64 ranges",
        "<li class=\"restoring\">8<span> being restored</span></li>",
        "<li class=\"counting\">63<span> counting</span></li>",
        "<b>4 being restored</b>",
        "3 7–9<",
        "0–2 4–6 10–63<",
        "<b>0 lagging</b>",
    ] {
        assert!(map.contains(part), "{part}: {map}");
    }
    assert_eq!(map.matches("<span> ").count(), 64);
}

#[test]
fn the_field_of_a_doubtful_range_says_why_and_since_when() {
    let mut status = healthy();
    status.doubts.push(doubt(5));
    status.in_doubt_markers.push(marker(5));
    status.takeovers_pending.push(takeover(&[5]));
    status.backfills_pending.push(backfill(&[5]));
    let freshness = |_| Freshness {
        state: State::Live,
        behind_events: Some(0),
        causes: crate::freshness::Causes::default(),
        batch: None,
    };
    let map = ranges(&status, freshness).into_string();
    let why = "in-doubt marker, takeover since 2026-05-03 10:15:00Z, takeover pending, \
               backfill of likes pending";
    let field =
        format!("<li class=\"uncertain\" title=\"{why}\">5<span> uncertain: {why}</span></li>");
    assert!(map.contains(&field), "{map}");
}

#[test]
fn consecutive_ranges_are_written_as_an_interval() {
    let text = |ranges: &[u16]| intervals(&ranges.iter().copied().map(RangeId).collect::<Vec<_>>());
    assert_eq!(text(&[]), "");
    assert_eq!(text(&[4]), "4");
    assert_eq!(text(&[0, 1, 3, 4095]), "0–1 3 4095");
    assert_eq!(text(&[u16::MAX - 1, u16::MAX]), "65534–65535");
}

#[test]
fn every_kind_has_a_colour_and_a_sign_in_the_style() {
    let style = include_str!("../../../assets/operator.css");
    for field in Field::EVERY {
        for part in [
            format!(".{} {{ --kind:", field.class()),
            format!(".{}::before", field.class()),
        ] {
            assert!(style.contains(&part), "{part}");
        }
    }
}
