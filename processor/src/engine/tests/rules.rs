//! One short history for each rule that random histories could miss.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one command among all"
)]

use super::acks::TurnNumber;
use super::*;

/// Whether any of the commands matches.
macro_rules! contains {
    ($commands:expr, $pattern:pat) => {
        $commands.iter().any(|command| matches!(command, $pattern))
    };
}

mod ceiling;
mod takeover;
mod requests;
mod turns;
mod refusals;
mod suspensions;
mod dead_letters;
mod invariants;

/// A member with one partition and one counter.
struct Scene {
    engine: Engine,
    lease: Lease,
    now: Moment,
    range: RangeId,
    epoch: AssignmentEpoch,
}

const P: Partition = Partition(0);
/// A ceiling above everything.
const HIGH: Ceiling = Ceiling::At(Offset(10_000));

fn play(offset: i64, user: &str) -> Record {
    play_of(offset, user, "a")
}

fn play_of(offset: i64, user: &str, track: &str) -> Record {
    let json = format!(r#"{{"type":"play","time":0,"track":"{track}","user":"{user}","n":1}}"#);
    Record {
        offset: Offset(offset),
        timestamp_ms: None,
        key: None,
        value: Some(json.into_bytes().into()),
    }
}

fn cause() -> Cause {
    Cause("as the test says".to_owned())
}

impl Scene {
    /// The partition's lock is held, its feed started, and its ceiling above every event of these tests.
    fn new() -> Self {
        let mut scene = Self::with_ceiling(HIGH);
        let task = scene.engine.partitions.get_mut(&P);
        task.unwrap().found_ceiling = Ceiling::AtCheckpoint;
        scene
    }

    /// The partition's lock is held, with this ceiling of a former owner, and its feed started.
    fn with_ceiling(ceiling: Ceiling) -> Self {
        let limits = Limits {
            requests_in_flight_max: 8,
            window_bytes_max: 1 << 20,
            turn_counters_max: 8,
            cells_per_batch_max: 10,
            drain_timeout: Duration::from_secs(2),
            hand_over_timeout: Duration::from_secs(15),
            checkpoint_interval: Duration::from_millis(500),
            ceiling_interval: Duration::from_millis(20),
        };
        let mut definitions = definitions();
        definitions
            .counters
            .retain(|counter| &*counter.name.0 == "tracks");
        let mut engine = Engine::new(limits, &definitions);
        let now = Moment::new(Duration::from_secs(1));
        let mut lease = Lease::new(Duration::from_secs(60));
        lease.renew(now);
        engine.assign(P, now);
        drop(engine.advance(now, &lease));
        engine.on_partition_acquired(P, Checkpoint::everywhere(Offset(0)), ceiling, Offset(0));
        let commands = engine.advance(now, &lease);
        let started = commands.iter().find_map(|command| match command {
            Command::StartFeed(_, _, epoch) => Some(*epoch),
            _ => None,
        });
        let range = definitions
            .range_bits
            .range_of(stitch_common::cell::Counter::new("tracks", "a").token());
        Self {
            engine,
            lease,
            now,
            range,
            epoch: started.unwrap(),
        }
    }

    /// One event is delivered, its range locked, and its batch in flight.
    fn with_one_sent() -> (Self, BatchId) {
        let mut scene = Self::new();
        scene.deliver(vec![play(0, "u")]);
        drop(scene.after(1));
        scene.engine.on_range_acquired(scene.range);
        let sent = sent(&scene.after(1));
        (scene, sent[0].0)
    }

    /// One event of two cells is begun: one is applied, the other not.
    fn with_half_applied() -> Self {
        let mut scene = Self::new();
        scene.engine.limits.cells_per_batch_max = 1;
        scene.deliver(vec![play(0, "u")]);
        drop(scene.after(1));
        scene.engine.on_range_acquired(scene.range);
        let half = sent(&scene.after(1));
        scene.complete(half[0].0, Outcome::Applied);
        let rest = sent(&scene.after(1));
        scene.complete(rest[0].0, Outcome::NotApplied(cause()));
        scene
    }

    fn deliver(&mut self, records: Vec<Record>) {
        self.engine.on_records(P, self.epoch, records);
    }

    fn after(&mut self, ms: u64) -> Vec<Command> {
        self.now = self.now.plus(Duration::from_millis(ms));
        self.lease.renew(self.now);
        self.engine.advance(self.now, &self.lease)
    }

    /// After this time something is given up: a doubt is recorded before the checkpoint passes it.
    fn gives_up_with_a_doubt(&mut self, ms: u64) {
        let mut commands = self.after(ms);
        let detail = commands.iter().find_map(|command| match command {
            Command::RecordDoubt(range, DoubtCause::GivenUp, detail) if *range == self.range => {
                Some(detail.as_str())
            }
            _ => None,
        });
        assert_eq!(detail, Some("partition 0, offsets 0 to 0"));
        commands.extend(self.after(600));
        assert_ne!(
            written(&commands, self.range),
            Some(Offset(1)),
            "before it is recorded"
        );
        if contains!(commands, Command::WriteCheckpoint(..)) {
            self.engine.on_checkpoint_written(P);
        }
        assert!(!releases(&commands));
        self.engine
            .on_doubt_recorded(self.range, DoubtCause::GivenUp);
    }

    fn complete(&mut self, id: BatchId, outcome: Outcome) {
        self.engine.on_batch_outcome(id, outcome, self.now);
    }
}

fn sent(commands: &[Command]) -> Vec<(BatchId, i64)> {
    let sent = commands.iter().filter_map(|command| match command {
        Command::Send(id, _, batch, _) => Some((*id, batch.amounts[0].1.0)),
        _ => None,
    });
    sent.collect()
}

fn written(commands: &[Command], range: RangeId) -> Option<Offset> {
    commands.iter().find_map(|command| match command {
        Command::WriteCheckpoint(_, checkpoint, _) => Some(checkpoint.of(range)),
        _ => None,
    })
}

fn releases(commands: &[Command]) -> bool {
    contains!(commands, Command::ReleaseRange(_))
}

#[test]
fn nothing_is_sent_before_the_shared_lock_is_granted() {
    let mut scene = Scene::new();
    scene.deliver(vec![play(0, "u")]);
    let commands = scene.after(1);
    assert!(contains!(commands, Command::AcquireRange(_)));
    assert_eq!(sent(&commands), []);
    scene.engine.on_range_acquired(scene.range);
    assert_eq!(sent(&scene.after(1)).len(), 1);
}

#[test]
fn nothing_is_sent_without_a_valid_lease() {
    let mut scene = Scene::new();
    scene.deliver(vec![play(0, "u")]);
    drop(scene.after(1));
    scene.engine.on_range_acquired(scene.range);
    scene.lease.disconnected();
    assert_eq!(sent(&scene.engine.advance(scene.now, &scene.lease)), []);
    scene.lease.reconnected();
    assert_eq!(sent(&scene.after(1)).len(), 1);
}

#[test]
fn a_batch_of_unknown_outcome_is_never_sent_again_and_not_acknowledged_before_a_marker() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.complete(first, Outcome::Unknown(cause()));
    let commands = scene.after(600);
    assert!(contains!(commands, Command::CreateMarker(_)));
    assert_eq!(sent(&commands), []);
    assert_ne!(written(&commands, scene.range), Some(Offset(1)));
    scene.engine.on_checkpoint_written(P);
    scene.engine.on_marker_created(scene.range);
    let commands = scene.after(600);
    assert_eq!(sent(&commands), []);
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
}

#[test]
fn a_marker_acknowledges_only_outcomes_that_were_unknown_when_it_was_begun() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.complete(first, Outcome::Unknown(cause()));
    drop(scene.after(60));
    scene.deliver(vec![play(1, "u")]);
    let second = sent(&scene.after(60));
    scene.complete(second[0].0, Outcome::Unknown(cause()));
    scene.engine.on_marker_created(scene.range);
    let commands = scene.after(600);
    assert!(
        contains!(commands, Command::CreateMarker(_)),
        "a second marker"
    );
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
}

#[test]
fn a_batch_that_was_not_applied_is_sent_again_after_a_pause_and_others_go_on() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.complete(first, Outcome::NotApplied(cause()));
    assert_eq!(sent(&scene.after(1)), []);
    let wakeup = scene.engine.next_wakeup(scene.now).unwrap();
    assert!(wakeup.since(scene.now) <= Duration::from_millis(50));
    let again = sent(&scene.after(60));
    assert_eq!(again.len(), 1);
    scene.complete(again[0].0, Outcome::Applied);
    assert_eq!(written(&scene.after(600), scene.range), Some(Offset(1)));
}

#[test]
fn a_yield_finishes_what_was_begun_checkpoints_it_and_only_then_releases() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.deliver(vec![play(1, "u")]);
    scene.engine.on_revocation_request(scene.range, scene.now);
    let commands = scene.after(1);
    assert!(sent(&commands).is_empty() && !releases(&commands));
    scene.complete(first, Outcome::Applied);
    let commands = scene.after(1);
    assert_eq!(
        sent(&commands),
        [],
        "the event above the highest begun one is not begun"
    );
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
    assert!(
        !releases(&commands),
        "the READ node is deleted only when the checkpoint is written"
    );
    scene.engine.on_checkpoint_written(P);
    assert!(releases(&scene.after(1)));
    scene.engine.on_range_released(scene.range);
    assert_eq!(sent(&scene.after(1)), []);
    scene.engine.on_range_acquired(scene.range);
    assert_eq!(sent(&scene.after(1)).len(), 1);
}

#[test]
fn a_yield_gives_up_in_time_what_it_cannot_apply() {
    let mut scene = Scene::with_half_applied();
    scene.engine.on_revocation_request(scene.range, scene.now);
    let again = sent(&scene.after(100));
    scene.complete(again[0].0, Outcome::NotApplied(cause()));
    scene.gives_up_with_a_doubt(2000);
    let commands = scene.after(1);
    assert_eq!(
        written(&commands, scene.range),
        Some(Offset(1)),
        "given up: suspect, but acknowledged"
    );
    scene.engine.on_checkpoint_written(P);
    assert!(releases(&scene.after(1)));
}

#[test]
fn a_hand_over_gives_up_later_than_a_yield_because_no_restoration_follows_it() {
    let mut scene = Scene::with_half_applied();
    scene.engine.revoke(P, scene.now);
    let commands = scene.after(3000);
    assert_eq!(
        written(&commands, scene.range),
        None,
        "it is not given up yet"
    );
    let again = sent(&commands);
    scene.complete(again[0].0, Outcome::NotApplied(cause()));
    scene.gives_up_with_a_doubt(12_000);
    assert_eq!(written(&scene.after(1), scene.range), Some(Offset(1)));
}

#[test]
fn an_event_that_was_certainly_not_applied_counts_as_not_begun() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.complete(first, Outcome::NotApplied(cause()));
    scene.engine.on_revocation_request(scene.range, scene.now);
    let commands = scene.after(1);
    assert!(
        releases(&commands),
        "nothing is begun, and the checkpoint says so already"
    );
    assert_eq!(written(&commands, scene.range), None);
}

#[test]
fn a_rejected_record_is_copied_before_any_event_above_it_is_begun_or_acknowledged() {
    let mut scene = Scene::new();
    let bad = Record {
        offset: Offset(0),
        timestamp_ms: None,
        key: None,
        value: None,
    };
    scene.deliver(vec![bad, play(1, "u")]);
    scene.engine.on_end_reached(P, scene.epoch, Offset(2));
    let commands = scene.after(600);
    assert!(contains!(commands, Command::CopyRejected(..)));
    assert!(!contains!(commands, Command::AcquireRange(_)));
    assert_eq!(written(&commands, scene.range), None);
    scene.engine.on_rejected_copied(P, scene.epoch, Offset(0));
    let commands = scene.after(600);
    assert!(contains!(commands, Command::AcquireRange(_)));
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
}

#[test]
fn memory_is_bounded_whatever_the_backlog() {
    let mut scene = Scene::new();
    scene.engine.limits.window_bytes_max = 8000;
    scene.engine.limits.turn_counters_max = usize::MAX;
    let mut offset = 0;
    while scene.engine.wants_records() && offset < 1000 {
        scene.deliver(vec![play_of(offset, "u", &format!("t{offset}"))]);
        offset += 1;
    }
    assert!((30..40).contains(&offset), "{offset} counters");
    let before = scene.engine.usage.bytes();
    for again in offset..offset + 1000 {
        scene.deliver(vec![play_of(again, "u", "t0")]);
    }
    assert_eq!(scene.engine.usage.bytes(), before, "they fold");
    assert_eq!(
        scene.engine.usage.events(),
        usize::try_from(offset).unwrap() + 1000
    );
}

#[test]
fn a_clean_stop_hands_everything_over() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.deliver(vec![play(1, "u")]);
    scene.engine.stop(scene.now);
    drop(scene.after(1));
    scene.complete(first, Outcome::Applied);
    assert_eq!(written(&scene.after(1), scene.range), Some(Offset(1)));
    scene.engine.on_checkpoint_written(P);
    let commands = scene.after(1);
    assert!(contains!(commands, Command::ReleasePartition(_)));
    assert!(!scene.engine.is_finished());
    scene.engine.on_partition_released(P, scene.now);
    drop(scene.after(1));
    assert!(scene.engine.is_finished());
}

#[test]
fn a_range_that_yields_is_finished_before_others_go_on() {
    let mut scene = Scene::new();
    scene.engine.limits.requests_in_flight_max = 1;
    scene.engine.limits.turn_counters_max = usize::MAX;
    let (mut offset, mut others) = (0, BTreeSet::new());
    let mut deliver = |scene: &mut Scene, track: String| {
        let json = format!(r#"{{"type":"play","time":0,"track":"{track}","user":"u","n":1}}"#);
        let value = Some(json.into_bytes().into());
        scene.deliver(vec![Record {
            offset: Offset(offset),
            timestamp_ms: None,
            key: None,
            value,
        }]);
        offset += 1;
        let counter = stitch_common::cell::Counter::new("tracks", track);
        scene.engine.range_bits.range_of(counter.token())
    };
    for number in 0..40 {
        let range = deliver(&mut scene, format!("t{number}"));
        others.insert(range);
    }
    drop(scene.after(1));
    for &range in &others {
        scene.engine.on_range_acquired(range);
    }
    // The range is requested while its turn is begun, so that all of it must be finished.
    let last = *others.last().unwrap();
    let mut sent_of_last = 0;
    for &range in &others {
        scene.engine.range(range).begin_turn();
        scene.engine.wake(range);
    }
    scene.engine.on_revocation_request(last, scene.now);
    for (partition, acks) in scene.engine.ranges[usize::from(last.0)].acks.iter_mut() {
        assert_eq!(*partition, P);
        acks.begin_as_if_applied(TurnNumber(0));
    }
    let waiting = scene.engine.ranges[usize::from(last.0)].sendable.len();
    assert!(waiting > 3);
    for _ in 0..waiting {
        let commands = scene.after(1);
        let Some(Command::Send(id, _, batch, _)) = commands
            .into_iter()
            .find(|c| matches!(c, Command::Send(..)))
        else {
            panic!("nothing was sent");
        };
        sent_of_last +=
            usize::from(scene.engine.range_bits.range_of(batch.counter.token()) == last);
        scene.complete(id, Outcome::Applied);
    }
    assert_eq!(sent_of_last, waiting);
}
