//! An operator's command or a kill at every step of a restoration: none is left to chance.

use stitch_testkit::time::Micros;

use super::*;
use crate::history::{Command, Injection, ProducedEvent, When};
use crate::process::Role;
use crate::run::RunResult;
use crate::trace::{Actor, TraceLine, Tracepoint};

const MS: Micros = 1000;
/// Delays and orders of which each step is tried.
const NOISES: u64 = 3;
/// When the restoration is run: most events have been counted, and the others arrive meanwhile.
const RUN_AT: Micros = 500 * MS;
/// After this time a paused restoration must have given its locks back.
const PAUSE: Micros = 2000 * MS;
/// An abort has ended the restoration within this time.
const ABORT_MAX: Micros = 400 * MS;

/// Two processors, two ranges, an event every few milliseconds, two cells that were changed by hand, and a restoration.
fn small(noise: u64) -> History {
    let event = |number: usize| ProducedEvent {
        at: 100 * MS + 20 * MS * number as Micros,
        partition: 0,
        keys: Some((number % 2, number % 3)),
    };
    let by_hand = |at| Injection {
        fault: Fault::Corrupt,
        when: When::At(at),
        slot: 0,
        node: 0,
        at_target: false,
        length: 0,
        early_end: None,
    };
    History {
        noise,
        bits: 1,
        partitions: 1,
        processors: 2,
        latency: 500,
        drifts: Vec::new(),
        in_flight: 1,
        ranges_in_flight: 1,
        dirty_cells_target: 0,
        stop_timeout: 1200 * MS,
        totals: false,
        archivers: 0,
        deletions: Vec::new(),
        builds: Vec::new(),
        batch: Vec::new(),
        is_made_again: false,
        steady_load: false,
        story: None,
        faults_end_at: 4000 * MS,
        events: (0..40).map(event).collect(),
        commands: vec![Command {
            at: RUN_AT,
            only_plan: false,
            range: None,
            counter: None,
            stop_after: None,
        }],
        faults: vec![by_hand(RUN_AT - 20 * MS), by_hand(RUN_AT - 10 * MS)],
        ..History::from_seed(0)
    }
}

/// The same with a fault right after this occurrence of a step.
fn with(noise: u64, fault: Fault, step: Tracepoint, times: u32) -> History {
    let mut history = small(noise);
    history.faults.push(Injection {
        fault,
        when: When::After {
            from: 0,
            point: step,
            next: None,
            times,
            delay: 0,
        },
        slot: 0,
        node: 0,
        at_target: false,
        length: PAUSE,
        early_end: None,
    });
    history
}

/// A restoration that was struck.
struct Struck<'a> {
    step: Tracepoint,
    at: Micros,
    ended_at: Micros,
    ending: &'a str,
}

impl<'a> Struck<'a> {
    /// `None` if the fault could not happen: there was no such occurrence of the step, or nothing to strike any more.
    fn new(result: &'a RunResult, fault: Fault, step: Tracepoint) -> Option<Self> {
        if result.coverage.happened(fault) == 0 {
            return None;
        }
        let is_restorator = |actor| matches!(actor, Actor::Process(Role::Restorator, ..));
        let first = |is_it: &dyn Fn(&TraceLine) -> bool| result.lines.iter().find(|one| is_it(one));
        let begins = |line: &TraceLine| {
            line.point == Tracepoint::Fault && line.text.starts_with(fault.name())
        };
        let ends = |line: &TraceLine| line.point == Tracepoint::Ended && is_restorator(line.actor);
        let ended = first(&ends).expect("the first restoration ends");
        Some(Self {
            step,
            at: first(&begins).expect("it happened").at,
            ended_at: ended.at,
            ending: &ended.text,
        })
    }

    /// Whether some of the work was still to be done.
    fn is_before_the_end(&self) -> bool {
        Tracepoint::STEPS_TO_CORRECTION.contains(&self.step)
    }
}

/// Runs the small history with the fault at the first two occurrences of every step, and checks how the restoration has
/// ended. What must hold in every history must hold here, too: in the end a restoration verifies every range, no cell is
/// wrong, and nothing is left behind. Returns the steps at which it could strike.
fn strike_every_step(fault: Fault, check: impl Fn(&Struck<'_>, &str)) -> Vec<Tracepoint> {
    let mut steps = Tracepoint::STEPS.to_vec();
    steps.retain(|step| {
        let mut is_struck = false;
        for (noise, times) in (0..NOISES).flat_map(|noise| [(noise, 1), (noise, 2)]) {
            let result = run(&with(noise, fault, *step, times), true);
            let name = format!(
                "{} at {}, occurrence {times}, noise {noise}",
                fault.name(),
                step.name()
            );
            assert_eq!(result.finding, None, "{name}");
            if let Some(struck) = Struck::new(&result, fault, *step) {
                is_struck = true;
                check(&struck, &name);
            }
        }
        is_struck
    });
    steps
}

/// All but the last one: what a restoration has recorded as ended takes no command.
fn steps_with_commands() -> &'static [Tracepoint] {
    let (last, others) = Tracepoint::STEPS.split_last().unwrap();
    assert_eq!(*last, Tracepoint::Recorded);
    others
}

#[test]
fn a_kill_at_any_step_leaves_no_cell_wrong_after_the_next_restoration() {
    let steps = strike_every_step(Fault::Kill, |struck, name| {
        assert_eq!(struck.ending, "was killed", "{name}");
    });
    assert_eq!(steps, Tracepoint::STEPS);
}

#[test]
fn an_abort_at_any_step_ends_the_restoration_soon_and_leaves_no_cell_wrong_after_the_next_one() {
    let steps = strike_every_step(Fault::AbortRun, |struck, name| {
        let is_aborted = struck
            .ending
            .contains("an operator aborted the restoration");
        assert!(
            is_aborted || !struck.is_before_the_end(),
            "{name}: {}",
            struck.ending
        );
        let took = struck.ended_at - struck.at;
        assert!(took <= ABORT_MAX, "{name}: {took} us");
    });
    assert_eq!(steps, steps_with_commands());
}

#[test]
fn a_pause_at_any_step_gives_locks_back_and_the_same_restoration_verifies_every_range() {
    let steps = strike_every_step(Fault::PauseRun, |struck, name| {
        assert_eq!(struck.ending, "run: 0 Verified ; 1 Verified ", "{name}");
        let waited = struck.ended_at >= struck.at + PAUSE;
        assert!(waited || !struck.is_before_the_end(), "{name}: it went on");
    });
    assert_eq!(steps, steps_with_commands());
}
