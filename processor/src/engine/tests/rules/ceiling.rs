//! Rule P9: nothing is begun at or above the ceiling that ZooKeeper has acknowledged.

use super::*;

/// The ceiling of the first write among these commands.
fn raised(commands: &[Command]) -> Option<Ceiling> {
    commands.iter().find_map(|command| match command {
        Command::WriteCheckpoint(_, _, ceiling) => Some(*ceiling),
        _ => None,
    })
}

const fn at(offset: i64) -> Option<Ceiling> {
    Some(Ceiling::At(Offset(offset)))
}

#[test]
fn nothing_is_begun_above_the_ceiling_that_zookeeper_has_acknowledged() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    scene.deliver(vec![play(0, "u"), play(1, "u")]);
    let commands = scene.after(0);
    assert_eq!(raised(&commands), at(2), "an idle partition writes at once");
    assert_eq!(written(&commands, scene.range), Some(Offset(0)));
    assert!(!contains!(commands, Command::AcquireRange(_)));
    scene.engine.on_range_acquired(scene.range);
    assert_eq!(sent(&scene.after(600)), [], "it is being written");
    scene.engine.on_checkpoint_written(P);
    assert_eq!(sent(&scene.after(1)).len(), 1);
}

#[test]
fn one_write_raises_the_ceiling_above_all_that_was_delivered_and_has_the_checkpoint() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    scene.deliver(vec![play(0, "u")]);
    assert_eq!(raised(&scene.after(0)), at(1));
    scene.deliver(vec![play(1, "u")]);
    assert_eq!(raised(&scene.after(100)), None, "one write at a time");
    scene.engine.on_checkpoint_written(P);
    scene.engine.on_range_acquired(scene.range);
    let commands = scene.after(0);
    assert_eq!(raised(&commands), at(2));
    let first = sent(&commands);
    scene.complete(first[0].0, Outcome::Applied);
    scene.deliver(vec![play(2, "u"), play(3, "u")]);
    scene.engine.on_checkpoint_written(P);
    assert_eq!(raised(&scene.after(19)), None, "not before its interval");
    let wakeup = scene.engine.next_wakeup(scene.now).unwrap();
    assert_eq!(wakeup.since(scene.now), Duration::from_millis(1));
    let commands = scene.after(1);
    assert_eq!(raised(&commands), at(4));
    assert_eq!(written(&commands, scene.range), Some(Offset(1)));
}

#[test]
fn records_without_events_do_not_wait_for_a_ceiling() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    scene.deliver(vec![Record {
        offset: Offset(0),
        timestamp_ms: None,
        key: None,
        value: Some(b"{}".as_slice().into()),
    }]);
    scene.engine.on_end_reached(P, scene.epoch, Offset(3));
    assert_eq!(raised(&scene.after(400)), None);
    let commands = scene.after(200);
    assert_eq!(written(&commands, scene.range), Some(Offset(3)));
    assert_eq!(raised(&commands), at(3), "with the next checkpoint");
}

#[test]
fn a_clean_hand_over_leaves_the_ceiling_at_the_checkpoint() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    scene.deliver(vec![play(0, "u"), play(1, "u")]);
    drop(scene.after(0));
    scene.engine.on_checkpoint_written(P);
    scene.engine.on_range_acquired(scene.range);
    let both = sent(&scene.after(0));
    scene.deliver(vec![play(2, "u")]);
    scene.engine.revoke(P, scene.now);
    assert_eq!(raised(&scene.after(0)), None, "something is in flight");
    scene.complete(both[0].0, Outcome::Applied);
    let commands = scene.after(0);
    assert_eq!(written(&commands, scene.range), Some(Offset(2)));
    assert_eq!(raised(&commands), Some(Ceiling::AtCheckpoint));
    assert!(!contains!(commands, Command::ReleasePartition(_)));
    scene.engine.on_checkpoint_written(P);
    assert!(contains!(scene.after(0), Command::ReleasePartition(_)));
}

#[test]
fn a_hand_over_keeps_the_ceiling_of_a_former_owner_whose_events_are_not_counted_again_yet() {
    let mut scene = Scene::with_ceiling(Ceiling::At(Offset(9)));
    scene.deliver(vec![play(0, "u")]);
    drop(scene.after(0));
    scene.engine.revoke(P, scene.now);
    assert_eq!(raised(&scene.after(0)), at(9));
    let mut scene = Scene::with_ceiling(Ceiling::At(Offset(9)));
    scene.engine.on_end_reached(P, scene.epoch, Offset(9));
    scene.engine.revoke(P, scene.now);
    let commands = scene.after(0);
    assert_eq!(written(&commands, scene.range), Some(Offset(9)));
    assert_eq!(raised(&commands), Some(Ceiling::AtCheckpoint));
}

#[test]
fn what_a_raised_ceiling_lets_in_takes_no_more_of_the_window_than_before() {
    let mut scene = Scene::with_ceiling(Ceiling::AtCheckpoint);
    for offset in 0..150 {
        scene.deliver(vec![play_of(offset, "u", &format!("t{offset}"))]);
    }
    let staged = scene.engine.gauges().buffered_bytes;
    assert_eq!(raised(&scene.after(0)), at(150));
    scene.engine.on_checkpoint_written(P);
    let ingested = scene.engine.gauges();
    assert_eq!(ingested.buffered_events, 150);
    assert!((1..=staged).contains(&ingested.buffered_bytes));
}

/// What raising ceilings costs in a topic of this many partitions, each with an event every 20 ms, if a write to ZooKeeper
/// takes 5 ms: the writes a second, and how many milliseconds half and 99 of 100 events waited before they were ingested.
fn cost(partitions: i32, found: Ceiling) -> (usize, u64, u64) {
    const SECONDS: u64 = 2;
    let mut scene = Scene::with_ceiling(found);
    scene.engine.limits.window_bytes_max = usize::MAX;
    scene.engine.limits.requests_in_flight_max = usize::MAX;
    scene.engine.limits.ceiling_interval = Limits::ceiling_interval(
        usize::try_from(partitions).unwrap(),
        scene.engine.limits.checkpoint_interval,
    );
    let mut epochs = BTreeMap::from([(P, scene.epoch)]);
    for partition in (1..partitions).map(Partition) {
        scene.engine.assign(partition, scene.now);
        let zero = Offset(0);
        scene
            .engine
            .on_partition_acquired(partition, Checkpoint::everywhere(zero), found, zero);
    }
    for command in scene.after(0) {
        if let Command::StartFeed(partition, _, epoch) = command {
            epochs.insert(partition, epoch);
        }
    }
    scene.engine.on_range_acquired(scene.range);
    let (mut writes, mut waits) = (0, Vec::new());
    let mut landing = VecDeque::new();
    let mut ingested = BTreeMap::new();
    for ms in 0..SECONDS * 1000 {
        for (&partition, &epoch) in &epochs {
            let since = ms.checked_sub(u64::from(partition.0.unsigned_abs()) * 7 % 20);
            if let Some(since) = since.filter(|since| since.is_multiple_of(20)) {
                let offset = i64::try_from(since / 20).unwrap();
                scene
                    .engine
                    .on_records(partition, epoch, vec![play(offset, "u")]);
            }
        }
        while landing
            .pop_front_if(|(at, _)| *at <= ms)
            .map(|(_, of)| scene.engine.on_checkpoint_written(of))
            .is_some()
        {}
        for command in scene.after(1) {
            match command {
                Command::WriteCheckpoint(partition, ..) => {
                    writes += 1;
                    landing.push_back((ms + 5, partition));
                }
                Command::Send(id, ..) => scene.complete(id, Outcome::Applied),
                _ => {}
            }
        }
        for (&partition, task) in &scene.engine.partitions {
            let before = ingested
                .insert(partition, task.ingested_end)
                .unwrap_or_default();
            for offset in before.0..task.ingested_end.0 {
                let delivered = u64::try_from(offset).unwrap() * 20
                    + u64::from(partition.0.unsigned_abs()) * 7 % 20;
                waits.push(ms - delivered);
            }
        }
    }
    waits.sort_unstable();
    let rank = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    (
        writes / usize::try_from(SECONDS).unwrap(),
        rank(50),
        rank(99),
    )
}

/// The figures of docs/decisions/0015.
#[test]
fn the_ceiling_costs_few_writes_and_little_lag() {
    let without = Ceiling::At(Offset(i64::MAX));
    for (partitions, before, writes, p50, p99) in [
        (1, 2, 50, 5, 5),
        (12, 24, 252, 25, 49),
        (125, 250, 250, 245, 485),
        (1000, 2000, 2000, 245, 485),
    ] {
        let measured = cost(partitions, Ceiling::AtCheckpoint);
        assert_eq!(measured, (writes, p50, p99), "{partitions}");
        assert_eq!(cost(partitions, without), (before, 0, 0), "{partitions}");
    }
}

#[test]
fn the_interval_between_two_raises_grows_with_the_topic_up_to_that_of_checkpoints() {
    let interval = |partitions| Limits::ceiling_interval(partitions, Duration::from_millis(500));
    for (partitions, ms) in [(1, 20), (12, 48), (100, 400), (1000, 500)] {
        assert_eq!(
            interval(partitions),
            Duration::from_millis(ms),
            "{partitions}"
        );
    }
}
