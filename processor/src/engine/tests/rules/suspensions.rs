//! Partitions that cannot be counted now: drained, given back, tried again.

use super::*;

const REASON: SuspensionReason = SuspensionReason::Log;

fn acquires(commands: &[Command]) -> bool {
    contains!(commands, Command::AcquirePartition(_))
}

fn gives_back(commands: &[Command]) -> bool {
    contains!(commands, Command::ReleasePartition(_))
}

/// The partition is suspended while a batch is in flight, which is applied then.
fn suspended() -> Scene {
    let (mut scene, first) = Scene::with_one_sent();
    assert!(scene.engine.suspend(P, REASON, scene.now));
    let commands = scene.after(1);
    assert!(contains!(commands, Command::StopFeed(_)) && !gives_back(&commands));
    scene.complete(first, Outcome::Applied);
    scene
}

/// The checkpoint is written, and the lock given back.
fn given_back() -> Scene {
    let mut scene = suspended();
    let commands = scene.after(1);
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
    assert!(!gives_back(&commands), "only once it is written");
    scene.engine.on_checkpoint_written(P);
    assert!(gives_back(&scene.after(1)));
    scene.engine.on_partition_released(P, scene.now);
    scene
}

#[test]
fn a_suspended_partition_is_drained_before_it_is_given_back_and_then_tried_again() {
    let mut scene = given_back();
    assert!(!scene.engine.has(P), "a rebalance need not wait for it");
    assert_eq!(scene.engine.suspended(REASON), 1);
    assert!(!acquires(&scene.after(4900)));
    let wakeup = scene.engine.next_wakeup(scene.now).unwrap();
    assert!(wakeup.since(scene.now) <= Duration::from_millis(100));
    assert!(acquires(&scene.after(100)));
    let epoch = acquired_again(&mut scene);
    scene.engine.on_records(P, epoch, vec![play(1, "u")]);
    let commands = scene.after(1);
    assert!(contains!(commands, Command::EndSuspension(_)));
    assert_eq!(scene.engine.suspended(REASON), 0);
}

/// Its lock is held again, with a checkpoint at 1, but nothing of it is delivered yet.
fn acquired_again(scene: &mut Scene) -> AssignmentEpoch {
    assert_eq!(scene.engine.suspended(REASON), 1, "it is not counted yet");
    let checkpoint = Checkpoint::everywhere(Offset(1));
    scene
        .engine
        .on_partition_acquired(P, checkpoint, HIGH, Offset(1));
    let epoch = scene.after(1).iter().find_map(|command| match command {
        Command::StartFeed(_, _, epoch) => Some(*epoch),
        _ => None,
    });
    epoch.expect("it is read")
}

/// The next record may come in a week.
#[test]
fn a_suspension_is_over_where_the_log_ends_at_what_was_counted() {
    let mut scene = given_back();
    assert!(acquires(&scene.after(5000)));
    let epoch = acquired_again(&mut scene);
    // The end as a broker knows it that has fallen behind.
    scene.engine.on_end_reached(P, epoch, Offset(0));
    assert!(!contains!(scene.after(1), Command::EndSuspension(_)));
    scene.engine.on_end_reached(P, epoch, Offset(1));
    assert!(contains!(scene.after(1), Command::EndSuspension(_)));
    assert_eq!(scene.engine.suspended(REASON), 0);
}

#[test]
fn a_partition_that_fails_again_is_tried_at_least_once_a_minute() {
    let mut scene = given_back();
    for seconds in [5, 10, 20, 40, 60, 60, 60] {
        assert!(!acquires(&scene.after(seconds * 1000 - 100)));
        assert!(acquires(&scene.after(100)), "after {seconds} s");
        assert!(scene.engine.suspend(P, REASON, scene.now));
        assert!(!scene.engine.suspend(P, REASON, scene.now), "it is already");
    }
}

#[test]
fn a_suspended_partition_gives_up_nothing_until_somebody_waits_for_it() {
    let mut scene = Scene::with_half_applied();
    assert!(scene.engine.suspend(P, REASON, scene.now));
    for _ in 0..100 {
        let again = sent(&scene.after(10_000));
        scene.complete(again[0].0, Outcome::NotApplied(cause()));
    }
    assert_eq!(written(&scene.after(1), scene.range), None);
    scene.engine.revoke(P, scene.now);
    scene.gives_up_with_a_doubt(16_000);
    assert_eq!(written(&scene.after(1), scene.range), Some(Offset(1)));
}

#[test]
fn a_suspended_partition_that_is_revoked_is_not_tried_again() {
    let mut scene = given_back();
    scene.engine.revoke(P, scene.now);
    let commands = scene.after(60_000);
    assert!(contains!(commands, Command::EndSuspension(_)) && !acquires(&commands));
    scene.engine.assign(P, scene.now);
    assert!(
        acquires(&scene.after(1)),
        "at once when it is assigned again"
    );
}

#[test]
fn a_stop_does_not_wait_for_a_suspended_partition() {
    let mut scene = given_back();
    scene.engine.stop(scene.now);
    assert!(!acquires(&scene.after(60_000)));
    assert!(scene.engine.is_finished());
}

#[test]
fn nothing_of_a_partition_whose_lock_is_lost_is_sent_or_written() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.deliver(vec![play(1, "u")]);
    assert!(scene.engine.forsake(P, REASON, scene.now));
    scene.complete(first, Outcome::NotApplied(cause()));
    let commands = scene.after(60);
    assert_eq!(sent(&commands), []);
    assert_eq!(written(&commands, scene.range), None);
    assert!(gives_back(&commands));
    scene.engine.on_partition_released(P, scene.now);
    assert!(acquires(&scene.after(5000)));
}

#[test]
fn a_partition_whose_lock_is_lost_awaits_what_is_in_flight() {
    let (mut scene, first) = Scene::with_one_sent();
    assert!(scene.engine.forsake(P, REASON, scene.now));
    assert!(!gives_back(&scene.after(60)));
    scene.complete(first, Outcome::Unknown(cause()));
    let commands = scene.after(1);
    assert!(contains!(commands, Command::CreateMarker(_)) && !gives_back(&commands));
    scene.engine.on_marker_created(scene.range);
    assert!(gives_back(&scene.after(1)));
}

#[test]
fn a_partition_whose_checkpoint_is_refused_keeps_its_lock_until_it_is_written() {
    let (mut scene, first) = Scene::with_one_sent();
    scene.complete(first, Outcome::Applied);
    assert_eq!(written(&scene.after(600), scene.range), Some(Offset(1)));
    assert!(scene.engine.on_checkpoint_refused(P, REASON, scene.now));
    scene.deliver(vec![play(1, "u")]);
    let commands = scene.after(4900);
    assert_eq!(written(&commands, scene.range), None);
    assert!(sent(&commands).is_empty() && !gives_back(&commands));
    assert_eq!(written(&scene.after(100), scene.range), Some(Offset(1)));
    scene.engine.on_checkpoint_written(P);
    assert!(gives_back(&scene.after(1)));
}
