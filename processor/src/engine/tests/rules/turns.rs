//! Turns: ranges send one after the other, each what was collected when its turn began.

use super::*;

/// `count` tracks of every range, by range.
fn tracks(scene: &Scene, count: usize) -> BTreeMap<RangeId, Vec<String>> {
    let bits = scene.engine.range_bits;
    let mut tracks: BTreeMap<_, Vec<_>> = bits.ranges().map(|range| (range, Vec::new())).collect();
    for track in (0..400).map(|number| format!("t{number}")) {
        let counter = stitch_common::cell::Counter::new("tracks", track.as_str());
        let of_range = tracks.get_mut(&bits.range_of(counter.token())).unwrap();
        if of_range.len() < count {
            of_range.push(track);
        }
    }
    assert!(tracks.values().all(|tracks| tracks.len() == count));
    tracks
}

/// Every range is locked, one batch is in flight at a time, and each of these tracks has an event, in this order.
fn backlog(scene: &mut Scene, tracks: impl IntoIterator<Item = String>) {
    scene.engine.limits.requests_in_flight_max = 1;
    let records = (0..).zip(tracks);
    let records = records.map(|(offset, track)| play_of(offset, "u", &track));
    scene.deliver(records.collect());
    for range in scene.engine.range_bits.ranges() {
        scene.engine.on_range_acquired(range);
    }
}

/// Tracks of different ranges take turns.
fn mixed(tracks: &BTreeMap<RangeId, Vec<String>>) -> Vec<String> {
    let count = tracks.values().next().unwrap().len();
    let each = (0..count).flat_map(|index| tracks.values().map(move |of| of[index].clone()));
    each.collect()
}

/// Carries out the next batch, which is of this range, and returns its track and amount.
fn next_batch(scene: &mut Scene) -> Option<(RangeId, String, i64)> {
    let commands = scene.after(1);
    if contains!(commands, Command::WriteCheckpoint(..)) {
        scene.engine.on_checkpoint_written(P);
    }
    let (id, batch) = commands.into_iter().find_map(|command| match command {
        Command::Send(id, _, batch, _) => Some((id, batch)),
        _ => None,
    })?;
    let range = scene.engine.range_bits.range_of(batch.counter.token());
    scene.complete(id, Outcome::Applied);
    let amount = batch.amounts[0].1.0;
    Some((range, batch.counter.key.0.to_string(), amount))
}

#[test]
fn a_range_sends_all_that_it_has_collected_before_the_next_one_begins() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 5);
    backlog(&mut scene, mixed(&tracks));
    let sent: Vec<_> = std::iter::from_fn(|| next_batch(&mut scene)).collect();
    assert_eq!(sent.len(), 20);
    for turn in sent.chunks(5) {
        assert!(turn.iter().all(|(range, ..)| *range == turn[0].0));
    }
}

#[test]
fn what_comes_after_a_turn_has_begun_is_collected_for_the_next_one_and_folds() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 3);
    backlog(&mut scene, mixed(&tracks));
    let (first, sent, _) = next_batch(&mut scene).unwrap();
    let again = tracks[&first].iter().find(|track| **track != sent).unwrap();
    for offset in 12..17 {
        scene.deliver(vec![play_of(offset, "u", again)]);
    }
    let rest: Vec<_> = std::iter::from_fn(|| next_batch(&mut scene)).collect();
    assert_eq!(rest.len(), 12, "2 of this turn, 9 of the others, 1 again");
    let of_again = rest.iter().filter(|(_, track, _)| track == again);
    let amounts: Vec<_> = of_again.map(|(_, _, amount)| *amount).collect();
    assert_eq!(amounts, [1, 5]);
    assert_eq!(&rest[11].1, again);
}

#[test]
fn a_stop_finishes_what_was_begun_of_a_turn_and_gives_the_rest_back_unsent() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 5);
    let twice = [mixed(&tracks), mixed(&tracks)].concat();
    backlog(&mut scene, twice);
    let (first, _, amount) = next_batch(&mut scene).unwrap();
    assert_eq!(amount, 2, "both events of the first counter");
    scene.engine.stop(scene.now);
    let finished: Vec<_> = std::iter::from_fn(|| next_batch(&mut scene)).collect();
    assert_eq!(finished.len(), 4);
    for (range, _, amount) in &finished {
        assert_eq!((*range, *amount), (first, 2), "the rest of its turn");
    }
    let checkpoint = scene.engine.partitions[&P].checkpoint.clone();
    for (index, range) in (0..).zip(tracks.keys()) {
        let behind = if *range == first { 40 } else { index };
        assert_eq!(checkpoint.of(*range), Offset(behind));
    }
    drop(scene.after(1));
    assert_eq!(scene.engine.gauges().buffered_bytes, 0);
}

#[test]
fn a_range_that_has_begun_nothing_yields_at_once() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 5);
    backlog(&mut scene, mixed(&tracks));
    let (first, ..) = next_batch(&mut scene).unwrap();
    let other = scene
        .engine
        .range_bits
        .ranges()
        .find(|range| *range != first);
    scene
        .engine
        .on_revocation_request(other.unwrap(), scene.now);
    assert!(releases(&scene.after(1)));
}

#[test]
fn the_work_of_a_stop_is_bounded_whatever_the_backlog() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 40);
    let of_one = tracks[&scene.range].clone();
    // The last event is of the counter that is sent first.
    let first = of_one[0].clone();
    backlog(&mut scene, of_one.into_iter().chain([first]));
    let (_, _, amount) = next_batch(&mut scene).unwrap();
    assert_eq!(amount, 1, "the last event is of another turn");
    scene.engine.stop(scene.now);
    let finished = std::iter::from_fn(|| next_batch(&mut scene)).count();
    assert_eq!(finished, 7, "8 counters, and one of them was sent");
}

#[test]
fn a_turn_is_bounded_in_buckets_of_one_counter_too() {
    let mut scene = Scene::new();
    scene.engine.limits.requests_in_flight_max = 1;
    let of_hour = |hour: i64| {
        let ms = hour * 3_600_000;
        let json = format!(r#"{{"type":"play","time":{ms},"track":"a","user":"u","n":1}}"#);
        let value = Some(json.into_bytes().into());
        Record {
            value,
            ..play(hour, "u")
        }
    };
    scene.deliver((0..40).map(of_hour).collect());
    scene.engine.on_range_acquired(scene.range);
    assert!(next_batch(&mut scene).is_some());
    scene.engine.stop(scene.now);
    assert!(next_batch(&mut scene).is_none(), "8 hours are one batch");
    let checkpoint = &scene.engine.partitions[&P].checkpoint;
    assert_eq!(checkpoint.of(scene.range), Offset(8), "8 hours were begun");
}

#[test]
fn a_range_that_yields_reaches_no_further_turn() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 40);
    let of_one = tracks[&scene.range].clone();
    backlog(&mut scene, of_one);
    assert!(next_batch(&mut scene).is_some());
    scene.engine.on_revocation_request(scene.range, scene.now);
    let finished = std::iter::from_fn(|| next_batch(&mut scene)).count();
    assert_eq!(finished, 7, "the turn has 8 counters");
    scene.engine.on_range_released(scene.range);
    scene.engine.on_range_acquired(scene.range);
    assert!(next_batch(&mut scene).is_some());
    scene.engine.stop(scene.now);
    let finished = std::iter::from_fn(|| next_batch(&mut scene)).count();
    assert_eq!(finished, 7, "and so has the next one");
}

#[test]
fn popular_counters_do_not_make_a_turn_shorter() {
    let mut scene = Scene::new();
    let tracks = tracks(&scene, 4);
    let of_one = tracks[&scene.range].clone();
    let events = (0..100).map(|number| of_one[number % 4].clone());
    backlog(&mut scene, events);
    let sent: Vec<_> = std::iter::from_fn(|| next_batch(&mut scene)).collect();
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|(.., amount)| *amount == 25));
}

#[test]
fn what_is_left_of_a_turn_is_sent_before_another_range_has_its_turn() {
    let mut scene = Scene::new();
    scene.engine.limits.cells_per_batch_max = 1;
    let tracks = tracks(&scene, 2);
    backlog(&mut scene, mixed(&tracks));
    let sent: Vec<_> = std::iter::from_fn(|| next_batch(&mut scene)).collect();
    assert_eq!(sent.len(), 16, "two batches of each counter");
    for turn in sent.chunks(4) {
        assert!(turn.iter().all(|(range, ..)| *range == turn[0].0));
    }
}

#[test]
fn what_comes_after_a_turn_is_sent_although_the_rest_of_its_counter_may_not_be() {
    let mut scene = Scene::new();
    let other = Partition(1);
    scene.engine.assign(other, scene.now);
    scene
        .engine
        .on_partition_acquired(other, Checkpoint::everywhere(Offset(0)), HIGH, Offset(0));
    scene
        .engine
        .partitions
        .get_mut(&other)
        .unwrap()
        .found_ceiling = Ceiling::AtCheckpoint;
    scene.deliver(vec![play(0, "u")]);
    drop(scene.after(1));
    scene.engine.on_range_acquired(scene.range);
    scene.engine.range(scene.range).begin_turn();
    scene.engine.wake(scene.range);
    // The event of the turn is not begun any more; one of another partition follows it.
    scene.engine.revoke(P, scene.now);
    let epoch = scene.engine.partitions[&other].epoch;
    scene.engine.on_records(other, epoch, vec![play(0, "u")]);
    let sent = sent(&scene.after(1));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1, 1);
}
