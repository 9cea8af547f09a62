//! A broken invariant leaves a doubt of what it concerns.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// The ranges that are doubted because `act` breaks an invariant, which panics in tests.
fn doubted(scene: &mut Scene, act: impl FnOnce(&mut Scene)) -> Vec<RangeId> {
    let acted = catch_unwind(AssertUnwindSafe(|| act(scene)));
    assert!(acted.is_err(), "an invariant is broken");
    let commands = scene.engine.commands.iter();
    let doubts = commands.filter_map(|command| match command {
        Command::RecordDoubt(range, DoubtCause::Invariant, _) => Some(*range),
        _ => None,
    });
    doubts.collect()
}

fn forward(scene: &mut Scene) {
    let task = scene.engine.partitions.get_mut(&P).unwrap();
    task.checkpoint = Checkpoint::everywhere(Offset(100));
}

#[test]
fn a_range_that_would_resume_below_its_checkpoint_is_doubted() {
    let mut scene = Scene::new();
    scene.deliver(vec![play(0, "u")]);
    drop(scene.after(0));
    forward(&mut scene);
    let range = scene.range;
    let acquired = |scene: &mut Scene| scene.engine.on_range_acquired(range);
    assert_eq!(doubted(&mut scene, acquired), [range]);
}

#[test]
fn a_range_whose_checkpoint_would_go_back_is_doubted() {
    let mut scene = Scene::new();
    forward(&mut scene);
    let first = RangeId(0);
    assert_eq!(doubted(&mut scene, |scene| drop(scene.after(600))), [first]);
}

#[test]
fn an_outcome_of_nothing_in_flight_makes_every_range_doubtful() {
    let mut scene = Scene::new();
    let now = scene.now;
    let answered = |scene: &mut Scene| {
        let id = BatchId(99);
        scene.engine.on_batch_outcome(id, Outcome::Applied, now);
    };
    let every: Vec<_> = scene.engine.range_bits.ranges().collect();
    assert_eq!(doubted(&mut scene, answered), every);
}
