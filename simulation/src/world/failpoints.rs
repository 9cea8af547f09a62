//! Records the steps of a restoration, at the product's own failpoints.

use std::cell::RefCell;
use std::sync::Once;

use stitch_restorator::failpoint::{CUT_MOVED, POINTS};

use super::World;
use crate::trace::{Actor, Tracepoint};

thread_local! {
    static STEPS: RefCell<Vec<Tracepoint>> = const { RefCell::new(Vec::new()) };
}

/// Sets a callback at every failpoint, which notes the step for the thread that passes it.
pub(crate) fn set_up() {
    static SET_UP: Once = Once::new();
    SET_UP.call_once(|| {
        for point in POINTS.into_iter().chain([CUT_MOVED]) {
            let step = Tracepoint::EVERY
                .iter()
                .copied()
                .find(|step| step.name() == point);
            let step = step.expect("every failpoint is a tracepoint");
            let note = move || STEPS.with_borrow_mut(|steps| steps.push(step));
            fail::cfg_callback(point, note).expect("a callback is a valid action");
        }
    });
}

/// Records the steps that the task that was polled last has passed.
pub(super) fn record(world: &World) {
    if STEPS.with_borrow(Vec::is_empty) {
        return;
    }
    let process = world.executor.polled();
    let actor = process.map_or(Actor::World, |process| Actor::of(&process));
    for step in STEPS.take() {
        world.record_point(actor, step);
    }
}
