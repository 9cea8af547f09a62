//! The steps that a restoration passes, as its own points for tests tell them.

use std::cell::RefCell;
use std::sync::Once;

use stitch_restorator::failpoint::POINTS;

use crate::notes::{Phase, Who};
use crate::world::World;

thread_local! {
    static PASSED: RefCell<Vec<Phase>> = const { RefCell::new(Vec::new()) };
}

/// From now on, every restoration of this process tells its steps to the thread that it runs on.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        for point in POINTS {
            let phase = Phase::EVERY
                .iter()
                .copied()
                .find(|phase| phase.name() == point);
            let phase = phase.expect("every point is a phase");
            let pass = move || PASSED.with_borrow_mut(|passed| passed.push(phase));
            fail::cfg_callback(point, pass).expect("a callback is a valid action");
        }
    });
}

/// Notes the steps that the task that was polled last has passed.
pub(crate) fn passed(world: &World) {
    if PASSED.with_borrow(Vec::is_empty) {
        return;
    }
    let passed = PASSED.take();
    let process = world.executor.polled();
    let who = process.map_or(Who::World, |process| Who::of(&process));
    for phase in passed {
        world.phase(who, phase);
    }
}
