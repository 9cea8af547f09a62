//! What a fleet asks of ZooKeeper grows no faster than its law says. Each test compares a small fleet with larger ones, by
//! what comes to one unit of the law.

use anyhow::Result;

use crate::growth::{
    Requests, Shape, measure_rebalance, measure_restoration, measure_start, measure_steady,
};

/// How much more may come to a unit in a larger fleet: a law of another order exceeds this several times.
const SLACK: f64 = 1.25;

const fn shape(processors: usize, partitions: usize, range_bits: u8) -> Shape {
    Shape {
        processors,
        partitions,
        range_bits,
    }
}

/// Each of them is larger in one respect than the first.
const SHAPES: [Shape; 4] = [
    shape(2, 8, 2),
    shape(8, 8, 2),
    shape(2, 40, 2),
    shape(2, 8, 5),
];

const fn number(size: usize) -> f64 {
    size as f64
}

fn both(requests: Requests) -> f64 {
    requests.reads + requests.writes
}

/// Fails if more comes to a unit in a larger fleet than in the first.
fn assert_no_faster(
    shapes: &[Shape],
    count: impl Fn(Shape) -> Result<f64>,
    units: impl Fn(Shape) -> usize,
) {
    let each = shapes.iter().map(|shape| {
        let count = count(*shape).unwrap();
        count / number(units(*shape))
    });
    let each: Vec<f64> = each.collect();
    assert!(each[0] > 0.0, "{each:?}");
    for of_larger in &each[1..] {
        assert!(*of_larger <= each[0] * SLACK, "{each:?}");
    }
}

#[test]
fn the_requests_of_a_start_grow_with_the_locks_at_most() {
    let count = |shape| measure_start(shape).map(both);
    let locks = |shape: Shape| shape.processors * shape.ranges() + shape.partitions;
    assert_no_faster(&SHAPES, count, locks);
}

#[test]
fn a_fleet_at_rest_sends_heartbeats_and_a_rebalance_grows_with_the_partitions_at_most() {
    let measured = SHAPES.map(|shape| (shape, measure_rebalance(shape).unwrap()));
    let of = |shape: Shape| measured.iter().find(|(of, _)| *of == shape).unwrap().1;
    let rest = |shape| Ok(both(of(shape).0));
    assert_no_faster(&SHAPES, rest, |shape| shape.processors);
    let rebalance = |shape| Ok(both(of(shape).1));
    assert_no_faster(&SHAPES, rebalance, |shape| shape.partitions);
}

#[test]
fn the_requests_of_a_range_s_restoration_grow_with_processors_and_partitions_at_most() {
    let count = |shape| {
        let requests = measure_restoration(shape)?.requests;
        Ok(both(requests) + requests.notifications)
    };
    let units = |shape: Shape| shape.ranges() * (shape.processors + shape.partitions);
    assert_no_faster(&SHAPES, count, units);
}

#[test]
fn checkpoints_and_ceilings_are_250_writes_a_second_or_two_for_each_partition() {
    let shapes = [shape(2, 12, 2), shape(2, 60, 2), shape(2, 250, 2)];
    let count = |shape| Ok(measure_steady(shape)?.writes);
    assert_no_faster(&shapes, count, |shape| (2 * shape.partitions).max(250));
}
