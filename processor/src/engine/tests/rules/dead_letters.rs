//! Rejected records: what they weigh, and how they are copied.

use super::*;

/// A record of a region of Kafka's tombstones: legal, and nothing to count.
fn tombstone(offset: i64) -> Record {
    Record {
        offset: Offset(offset),
        timestamp_ms: None,
        key: Some(vec![b'k'; 20].into()),
        value: None,
    }
}

fn copied(commands: &[Command]) -> Vec<Offset> {
    let copies = commands.iter().filter_map(|command| match command {
        Command::CopyRejected(_, _, record, _) => Some(record.offset),
        _ => None,
    });
    copies.collect()
}

#[test]
fn records_without_bytes_fill_the_window_while_the_dead_letter_topic_stands_still() {
    let mut scene = Scene::new();
    let (mut delivered, mut in_flight) = (0, 0);
    while scene.engine.wants_records() && delivered < 1_000_000 {
        scene.deliver((delivered..delivered + 100).map(tombstone).collect());
        delivered += 100;
        in_flight += copied(&scene.after(1)).len();
    }
    assert!(
        delivered < 3000,
        "{delivered} records were taken into 1 MiB"
    );
    assert_eq!(in_flight, 64, "a few at a time");
    assert!(!scene.engine.wants_records());
    assert_eq!(copied(&scene.after(60_000)), []);
}

#[test]
fn ignored_records_behind_a_rejected_one_weigh_in_the_window() {
    let mut scene = Scene::new();
    scene.deliver(vec![tombstone(0)]);
    let ignored = |offset| Record {
        offset: Offset(offset),
        timestamp_ms: None,
        key: None,
        value: Some(br#"{"type":"other"}"#.to_vec().into()),
    };
    let mut delivered = 1;
    while scene.engine.wants_records() && delivered < 1_000_000 {
        scene.deliver(vec![ignored(delivered)]);
        delivered += 1;
    }
    assert!(delivered < 10_000, "{delivered}");
}

#[test]
fn copies_may_end_in_any_order_and_others_follow() {
    let mut scene = Scene::new();
    for first in (0..300).step_by(30) {
        scene.deliver((first..first + 30).map(tombstone).collect());
    }
    scene.deliver(vec![play(300, "u")]);
    let mut pending = copied(&scene.after(1));
    assert_eq!(pending.len(), 64);
    let mut ended = 0;
    while let Some(offset) = pending.pop() {
        let next = scene.engine.partitions[&P].ingested_end;
        assert!(next <= Offset(300 - i64::try_from(pending.len()).unwrap()));
        scene.engine.on_rejected_copied(P, scene.epoch, offset);
        ended += 1;
        pending.extend(copied(&scene.after(1)));
    }
    assert_eq!(ended, 300);
    assert_eq!(scene.engine.partitions[&P].ingested_end, Offset(301));
}

#[test]
fn copies_of_an_earlier_start_are_forgotten() {
    let mut scene = Scene::new();
    scene.deliver(vec![tombstone(0)]);
    let early = copied(&scene.after(1));
    scene.engine.revoke(P, scene.now);
    drop(scene.after(1));
    scene.engine.on_checkpoint_written(P);
    assert!(contains!(scene.after(1), Command::ReleasePartition(_)));
    scene.engine.on_rejected_copied(P, scene.epoch, early[0]);
    scene.engine.on_partition_released(P, scene.now);
    assert_eq!(scene.engine.usage.bytes(), 0);
}
