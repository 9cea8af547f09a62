//! Which request a batch is sent in.

use super::*;
use crate::engine::BatchRequest;

/// Every batch of the next moment, with its range and the request that it may be sent in.
fn requests(scene: &mut Scene) -> Vec<(BatchId, RangeId, BatchRequest)> {
    let bits = scene.engine.range_bits;
    let sent = |command| match command {
        Command::Send(id, _, batch, request) => {
            Some((id, bits.range_of(batch.counter.token()), request))
        }
        _ => None,
    };
    scene.after(6000).into_iter().filter_map(sent).collect()
}

/// Every range is locked, and 40 tracks have an event.
fn backlog() -> Scene {
    let mut scene = Scene::new();
    let plays = (0..40).map(|n| play_of(n, "u", &format!("t{n}")));
    scene.deliver(plays.collect());
    for range in scene.engine.range_bits.ranges() {
        scene.engine.on_range_acquired(range);
    }
    scene
}

/// The next batches of this range. Those of other ranges, which have their turns before, are applied.
fn of_range(scene: &mut Scene, range: RangeId) -> Vec<(BatchId, BatchRequest)> {
    for _ in 0..20 {
        let (of_range, others): (Vec<_>, Vec<_>) =
            requests(scene).into_iter().partition(|one| one.1 == range);
        for (id, of, request) in others {
            assert_eq!(request, BatchRequest::Shared(of), "of another range");
            scene.complete(id, Outcome::Applied);
        }
        if !of_range.is_empty() {
            return of_range.into_iter().map(|one| (one.0, one.2)).collect();
        }
    }
    panic!("nothing of {range} is sent");
}

#[test]
fn batches_may_share_a_request_with_others_of_their_range() {
    let mut scene = backlog();
    let sent = requests(&mut scene);
    assert_eq!(sent.len(), 8, "as many as may be in flight");
    for (_, range, request) in sent {
        assert_eq!(request, BatchRequest::Shared(range));
    }
}

#[test]
fn after_the_first_doubt_in_a_range_batches_are_alone_until_one_that_was_is_applied() {
    let doubts = [
        Outcome::NotApplied(cause()),
        Outcome::Unknown(cause()),
        Outcome::Refused(cause()),
        Outcome::Unauthorized(cause()),
    ];
    for doubt in doubts {
        let mut scene = backlog();
        let first = requests(&mut scene);
        let range = first[0].1;
        let (in_it, others): (Vec<_>, Vec<_>) = first.into_iter().partition(|one| one.1 == range);
        assert!(in_it.len() > 1, "one turn after the other");
        for (id, ..) in others {
            scene.complete(id, Outcome::Applied);
        }
        let mut in_it = in_it.into_iter();
        scene.complete(in_it.next().unwrap().0, doubt.clone());
        for (id, ..) in in_it {
            // They may have been applied before the doubt.
            scene.complete(id, Outcome::Applied);
        }
        scene.engine.on_marker_created(range);
        let alone = of_range(&mut scene, range);
        assert!(
            alone.iter().all(|one| one.1 == BatchRequest::Own),
            "{doubt:?}"
        );
        for (id, _) in alone {
            scene.complete(id, Outcome::Applied);
        }
        let tracks = (40..80).map(|n| play_of(n, "u", &format!("t{n}")));
        scene.deliver(tracks.collect());
        let shared = BatchRequest::Shared(range);
        let together = of_range(&mut scene, range);
        assert!(together.iter().all(|one| one.1 == shared), "{doubt:?}");
    }
}

#[test]
fn batches_that_fail_together_pause_their_range_as_one_does() {
    let mut scene = backlog();
    let first = requests(&mut scene);
    let range = first[0].1;
    let together = first.iter().filter(|one| one.1 == range);
    assert!(together.clone().count() > 1, "one turn after the other");
    let pause = |scene: &mut Scene| {
        let until = scene.engine.range(range).backoff.unwrap().until;
        until.since(scene.now)
    };
    for (id, ..) in together {
        scene.complete(*id, Outcome::NotApplied(cause()));
        assert_eq!(pause(&mut scene), Duration::from_millis(50));
    }
    for (id, ..) in first.iter().filter(|one| one.1 != range) {
        scene.complete(*id, Outcome::Applied);
    }
    let again = of_range(&mut scene, range);
    scene.complete(again[0].0, Outcome::NotApplied(cause()));
    let longer = pause(&mut scene);
    assert_eq!(longer, Duration::from_millis(100), "the next failure");
}

#[test]
fn while_a_counter_is_refused_the_others_of_its_range_are_alone() {
    let (mut scene, refused) = Scene::with_one_sent();
    scene.complete(refused, Outcome::Unauthorized(cause()));
    let bits = scene.engine.range_bits;
    let is_there = |track: &String| {
        let counter = stitch_common::cell::Counter::new("tracks", track.as_str());
        bits.range_of(counter.token()) == scene.range
    };
    let other = (0..).map(|n| format!("t{n}")).find(is_there).unwrap();
    for offset in 1..4 {
        scene.deliver(vec![play_of(offset, "u", &other)]);
        let commands = scene.after(100);
        let sent = commands.iter().find_map(|command| match command {
            Command::Send(id, _, _, request) => Some((*id, *request)),
            _ => None,
        });
        let (id, request) = sent.unwrap();
        assert_eq!(request, BatchRequest::Own);
        scene.complete(id, Outcome::Applied);
    }
}
