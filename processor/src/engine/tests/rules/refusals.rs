//! Increments that Cassandra refuses: smaller batches, pauses, and no need for a person.

use super::*;

/// A track of the scene's range, other than its own.
fn other_track(scene: &Scene) -> String {
    let bits = scene.engine.range_bits;
    let is_there = |track: &String| {
        let counter = stitch_common::cell::Counter::new("tracks", track.as_str());
        bits.range_of(counter.token()) == scene.range
    };
    (0..).map(|n| format!("t{n}")).find(is_there).unwrap()
}

/// The whole batch of two cells is refused, and then its half: even one cell.
fn refused() -> Scene {
    let (mut scene, whole) = Scene::with_one_sent();
    scene.engine.limits.window_bytes_max = 9000;
    scene.complete(whole, Outcome::Refused(cause()));
    let half = sent(&scene.after(1));
    assert_eq!(half.len(), 1, "half of it is sent at once");
    scene.complete(half[0].0, Outcome::Refused(cause()));
    scene
}

#[test]
fn a_refusal_ends_by_itself_and_nothing_is_lost() {
    let mut scene = refused();
    assert_eq!(sent(&scene.after(4900)), []);
    assert_eq!(scene.engine.gauges().refused_ranges, 1);
    assert_eq!(scene.engine.gauges().blocked_events, 1);
    let again = sent(&scene.after(200));
    assert_eq!(again.len(), 1, "within 5 s");
    scene.complete(again[0].0, Outcome::Applied);
    assert_eq!(scene.engine.gauges().refused_ranges, 0);
    let rest = sent(&scene.after(1));
    scene.complete(rest[0].0, Outcome::Applied);
    // That of the other ranges.
    scene.engine.on_checkpoint_written(P);
    assert_eq!(written(&scene.after(600), scene.range), Some(Offset(1)));
}

#[test]
fn a_refusal_that_lasts_is_tried_at_least_once_a_minute() {
    let mut scene = refused();
    for _ in 0..10 {
        let wakeup = scene.engine.next_wakeup(scene.now).unwrap();
        assert!(wakeup.since(scene.now) <= Duration::from_secs(60));
        let again = sent(&scene.after(60_000));
        assert_eq!(again.len(), 1);
        scene.complete(again[0].0, Outcome::Refused(cause()));
    }
}

#[test]
fn other_counters_of_a_range_go_on_while_one_is_refused() {
    let mut scene = refused();
    let track = other_track(&scene);
    scene.deliver(vec![play_of(1, "u", &track)]);
    let other = sent(&scene.after(100));
    assert_eq!(other.len(), 1, "after a short pause");
    scene.complete(other[0].0, Outcome::Applied);
    scene.deliver(vec![play_of(2, "u", &track)]);
    assert_eq!(sent(&scene.after(1)).len(), 1, "without a pause");
    assert_eq!(scene.engine.gauges().refused_ranges, 1);
}

#[test]
fn a_batch_without_permission_is_not_made_smaller() {
    let (mut scene, whole) = Scene::with_one_sent();
    scene.complete(whole, Outcome::Unauthorized(cause()));
    assert_eq!(sent(&scene.after(1)), []);
    let commands = scene.after(5000);
    let cells = commands.iter().find_map(|command| match command {
        Command::Send(_, _, batch, _) => Some(batch.amounts.len()),
        _ => None,
    });
    assert_eq!(cells, Some(2), "as large as before");
}

#[test]
fn what_was_refused_is_tried_once_more_before_it_is_given_up() {
    let mut scene = Scene::with_half_applied();
    let half = sent(&scene.after(100));
    scene.complete(half[0].0, Outcome::Unauthorized(cause()));
    assert_eq!(sent(&scene.after(100)), []);
    scene.engine.revoke(P, scene.now);
    let again = sent(&scene.after(100));
    assert_eq!(again.len(), 1);
    scene.complete(again[0].0, Outcome::Applied);
    assert_eq!(written(&scene.after(1), scene.range), Some(Offset(1)));
}

/// Tracks of the scene's range, or of others.
fn tracks(scene: &Scene, of_its_range: bool) -> impl Iterator<Item = String> + use<> {
    let (bits, range) = (scene.engine.range_bits, scene.range);
    let tracks = (0..).map(|n| format!("t{n}"));
    tracks.filter(move |track| {
        let counter = stitch_common::cell::Counter::new("tracks", track.as_str());
        (bits.range_of(counter.token()) == range) == of_its_range
    })
}

#[test]
fn a_range_that_stands_still_keeps_its_share_of_the_window_and_the_others_go_on() {
    let mut scene = refused();
    let (mut here, mut others) = (tracks(&scene, true), tracks(&scene, false));
    let elsewhere = others.next().unwrap();
    let counter = stitch_common::cell::Counter::new("tracks", elsewhere.as_str());
    let other = scene.engine.range_bits.range_of(counter.token());
    let mut counted = 0;
    for offset in (1..1001).step_by(2) {
        scene.deliver(vec![
            play_of(offset, "u", &here.next().unwrap()),
            play_of(offset + 1, "u", &elsewhere),
        ]);
        for command in scene.after(1) {
            match command {
                Command::AcquireRange(range) => scene.engine.on_range_acquired(range),
                Command::Send(id, _, batch, _) if batch.counter == counter => {
                    counted += batch.amounts[0].1.0;
                    scene.complete(id, Outcome::Applied);
                }
                Command::Send(id, ..) => scene.complete(id, Outcome::Refused(cause())),
                Command::WriteCheckpoint(..) => scene.engine.on_checkpoint_written(P),
                _ => {}
            }
        }
        assert!(scene.engine.wants_records());
    }
    assert!(counted >= 499, "{counted} of the other range");
    let checkpoint = &scene.engine.partitions[&P].checkpoint;
    assert!(checkpoint.of(other) > Offset(500) && checkpoint.of(scene.range) == Offset(0));
    assert!(scene.engine.gauges().buffered_events < 20);
}

#[test]
fn what_was_set_aside_is_delivered_again_once_the_range_moves() {
    let mut scene = refused();
    let here: Vec<_> = tracks(&scene, true).take(40).collect();
    let records = |from: i64| {
        let records = (from..40).zip(&here[usize::try_from(from).unwrap()..]);
        let records = records.map(|(offset, track)| play_of(offset, "u", track));
        records.collect::<Vec<_>>()
    };
    scene.deliver(records(1));
    assert_eq!(scene.engine.aside.len(), 1);
    for (id, _) in sent(&scene.after(5000)) {
        scene.complete(id, Outcome::Applied);
    }
    scene.engine.on_checkpoint_written(P);
    let (mut given_back, mut resumed) = (false, None);
    for _ in 0..100 {
        for command in scene.after(20) {
            match command {
                Command::Send(id, ..) => scene.complete(id, Outcome::Applied),
                Command::WriteCheckpoint(_, checkpoint, _) => {
                    resumed = Some(checkpoint);
                    scene.engine.on_checkpoint_written(P);
                }
                Command::ReleasePartition(_) => {
                    given_back = true;
                    scene.engine.on_partition_released(P, scene.now);
                }
                Command::AcquirePartition(_) => {
                    let checkpoint = resumed.clone().unwrap();
                    let from = checkpoint.lowest(scene.engine.range_bits);
                    assert!(from < Offset(40), "it is read again from {from}");
                    scene
                        .engine
                        .on_partition_acquired(P, checkpoint, HIGH, from);
                }
                Command::StartFeed(_, from, epoch) => {
                    scene.engine.on_records(P, epoch, records(from.0));
                }
                Command::RecordDoubt(range, cause, _) => {
                    scene.engine.on_doubt_recorded(range, cause);
                }
                _ => {}
            }
        }
    }
    assert!(given_back);
    let checkpoint = &scene.engine.partitions[&P].checkpoint;
    assert_eq!(checkpoint.of(scene.range), Offset(40));
}
