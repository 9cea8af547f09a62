//! The decisions of the queue, by table and at random.

use super::*;
use crate::contender::{Guid, Kind, Sequence};
use crate::path;
use proptest::prelude::*;

fn guid(number: u64) -> Guid {
    Guid::new(0x0123_4567_89ab_cdef, number)
}

fn node(number: u64, kind: Kind, sequence: i32) -> String {
    let sequence = Sequence::new(sequence);
    format!("{}{sequence}", path::name::range_entry(guid(number), kind))
}

fn read(sequence: i32) -> String {
    node(sequence.unsigned_abs().into(), Kind::Shared, sequence)
}

fn write(sequence: i32) -> String {
    node(sequence.unsigned_abs().into(), Kind::Exclusive, sequence)
}

#[test]
fn shared_waits_for_the_nearest_earlier_exclusive_and_exclusive_for_the_nearest_of_any_kind() {
    let marker = "in-doubt-0123456789abcdef-0000000000000001-4".to_owned();
    let children = [
        read(9),
        write(3),
        marker,
        read(1),
        write(6),
        read(2),
        read(4),
    ];
    let table = [
        (read(1), None),
        (read(2), None),
        (write(3), Some(read(2))),
        (read(4), Some(write(3))),
        (write(6), Some(read(4))),
        (read(9), Some(write(6))),
    ];
    for (own, predecessor) in table {
        let expected = predecessor
            .as_deref()
            .map_or(Position::Held, Position::Behind);
        assert_eq!(position(&children, &own), expected, "{own}");
    }
    assert_eq!(position(&children, &read(5)), Position::Gone);
}

#[test]
fn the_order_holds_where_the_sequence_wraps() {
    let children = [write(i32::MIN), read(i32::MAX), read(i32::MIN + 1)];
    assert_eq!(position(&children, &read(i32::MAX)), Position::Held);
    assert_eq!(
        position(&children, &write(i32::MIN)),
        Position::Behind(&children[1])
    );
    assert_eq!(
        position(&children, &read(i32::MIN + 1)),
        Position::Behind(&children[0])
    );
}

/// A queue that starts at any number.
fn queue() -> impl Strategy<Value = Vec<String>> {
    let kinds = prop::collection::vec((any::<bool>(), 1_i32..1000), 1..12);
    (any::<i32>(), kinds).prop_map(|(start, kinds)| {
        let mut sequence = start;
        let mut names = Vec::new();
        for (number, (shared, step)) in kinds.into_iter().enumerate() {
            let kind = if shared {
                Kind::Shared
            } else {
                Kind::Exclusive
            };
            names.push(node(number as u64, kind, sequence));
            sequence = sequence.wrapping_add(step);
        }
        names
    })
}

proptest! {
    #[test]
    fn an_exclusive_holder_is_alone_and_a_queue_always_has_a_holder(
        (names, shuffled) in queue().prop_flat_map(|names| {
            (Just(names.clone()), Just(names).prop_shuffle())
        })
    ) {
        let held: Vec<_> = holders(&shuffled).collect();
        prop_assert!(!held.is_empty());
        let exclusive = |name: &&str| path::name::read_entry(name).unwrap().kind == Kind::Exclusive;
        prop_assert!(held.len() == 1 || !held.iter().any(exclusive), "{held:?} of {names:?}");
        prop_assert!(held.contains(&names[0].as_str()), "the first of a queue holds");
    }

    #[test]
    fn a_waiting_contender_waits_for_an_earlier_one_and_none_that_blocks_it_is_skipped(names in queue()) {
        for (index, own) in names.iter().enumerate() {
            if let Position::Behind(predecessor) = position(&names, own) {
                let ahead = names.iter().position(|name| name == predecessor).unwrap();
                prop_assert!(ahead < index);
                let between = &names[ahead + 1..index];
                let me = path::name::read_entry(own).unwrap();
                let blocks = |name: &String| me.waits_for(path::name::read_entry(name).unwrap());
                prop_assert!(!between.iter().any(blocks));
            }
        }
    }
}
