//! Partitions that cannot be read on, and archivers that end although something is away.

use stitch_common::offset::Offset;
use stitch_common::ports::{ObjectName, Record};
use stitch_testkit::objects::{Fault, MemoryStore, Request};

use super::*;

/// Puts the segment of `records` from `from` up to `to`, as another archiver does that has begun at 0.
fn put_segment(store: &MemoryStore, from: i64, records: &[Record], to: i64) {
    let archive = archive(store);
    let begun = crate::origin::create(store, archive.folder(), P, Offset(0));
    assert_eq!(block_on(begun), Ok(Offset(0)));
    let mut writer = crate::segment::writer::SegmentWriter::new(P, Offset(from));
    for record in records {
        writer.push(record);
    }
    let (_, content) = writer.finish(archive.folder(), Offset(to));
    let name = archive.folder().segment(P, Offset(from));
    store.objects().set(name, content);
}

/// Lets an archiver that must not end run for these seconds.
fn run_on(world: &World, process: &mut Process, seconds: usize) {
    for _ in 0..seconds * 10 {
        assert!(poll(process).is_pending());
        pass(world, 100_000);
    }
}

#[test]
fn a_run_once_puts_what_it_read_before_an_unreadable_offset() {
    let (world, store) = filled(10);
    world.damage(P, Some(Offset(7)));
    let never = CancellationToken::new();
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    assert_eq!((summary.records, summary.complete_to[&P]), (7, Offset(7)));
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    assert_eq!(stopped.offset, Offset(7));
    let read = read(&store, P).unwrap();
    assert_eq!(read, (world.records(P)[..7].to_vec(), Offset(7)));
}

#[test]
fn a_run_once_goes_on_behind_what_another_archiver_has_of_an_unreadable_part() {
    let (world, store) = filled(10);
    world.damage(P, Some(Offset(7)));
    put_segment(&store, 7, &world.records(P)[7..], 10);
    let never = CancellationToken::new();
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    assert_eq!((summary.records, summary.complete_to[&P]), (7, Offset(10)));
    assert_eq!(summary.stopped, []);
}

#[test]
fn a_run_once_gives_up_a_partition_of_which_kafka_delivers_nothing() {
    let (world, store) = filled(10);
    world.silence(P, Offset(7));
    let never = CancellationToken::new();
    let since = world.time.now();
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    let seconds = (world.time.now() - since) / 1_000_000;
    assert!((120..150).contains(&seconds), "{seconds}");
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    let message = &stopped.error.message;
    assert!(
        message.contains("delivered nothing of partition 0 for 120 s"),
        "{message}"
    );
    assert_eq!(stopped.offset, Offset(7));
    // What was read is archived.
    let read = read(&store, P).unwrap();
    assert_eq!(read, (world.records(P)[..7].to_vec(), Offset(7)));
}

/// Whether it was empty when the archiver looked, or had records by then.
#[test]
fn a_running_archiver_adds_nothing_of_a_topic_made_again_however_long_that_gets() {
    for first in [0, 3] {
        let (world, store) = filled(10);
        let stop = CancellationToken::new();
        let mut running = process(&world, &store, Extent::UntilStopped, &stop);
        run_on(&world, &mut running, 10);
        assert_eq!(read(&store, P).unwrap().1, Offset(10));
        world.recreate();
        for number in 0..40 {
            if number == first {
                run_on(&world, &mut running, 60);
            }
            world.append(P, Some("another"));
        }
        run_on(&world, &mut running, 120);
        assert_eq!(read(&store, P).unwrap().1, Offset(10), "{first}");
        stop.cancel();
        let summary = finish(&world, running).unwrap();
        let [stopped] = summary.stopped.as_slice() else {
            panic!("{summary:?}");
        };
        let message = &stopped.error.message;
        assert!(
            message.contains("the topic events is not the one that was archived"),
            "{message}"
        );
    }
}

/// New records have the offsets of those that were archived: while the archiver runs, or while none does.
#[test]
fn nothing_is_added_of_a_log_that_has_lost_archived_records_and_is_longer_again() {
    for is_running in [true, false] {
        let (world, store) = filled(10);
        let stop = CancellationToken::new();
        let mut running = process(&world, &store, Extent::UntilStopped, &stop);
        run_on(&world, &mut running, 10);
        assert_eq!(read(&store, P).unwrap().1, Offset(10));
        let refusal = if is_running {
            // It has compared the log before.
            world.damage(P, Some(Offset(10)));
            world.append(P, Some("unread"));
            run_on(&world, &mut running, 60);
            world.truncate(P, Offset(7));
            world.damage(P, None);
            for _ in 0..6 {
                world.append(P, Some("another"));
            }
            run_on(&world, &mut running, 120);
            stop.cancel();
            let summary = finish(&world, running).unwrap();
            summary.stopped[0].error.clone()
        } else {
            stop.cancel();
            finish(&world, running).unwrap();
            world.truncate(P, Offset(7));
            for _ in 0..6 {
                world.append(P, Some("another"));
            }
            let never = CancellationToken::new();
            finish(
                &world,
                process(&world, &store, Extent::UntilStopped, &never),
            )
            .unwrap_err()
        };
        assert_eq!(
            refusal.message,
            "the topic events is not the one that was archived: in partition 0 it has not the record at offset 9 that was \
             archived last"
        );
        assert_eq!(read(&store, P).unwrap().1, Offset(10), "{is_running}");
    }
}

/// As the archiver that has seen it happen does.
#[test]
fn an_archiver_that_starts_stops_a_partition_that_lost_archived_records_and_goes_on_with_the_others()
 {
    let (world, store) = filled(10);
    world.grow();
    let other = *world.partitions().last().unwrap();
    world.append(other, Some("first"));
    let never = CancellationToken::new();
    finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    world.truncate(P, Offset(7));
    for at in 0..6 {
        world.append(P, Some("another"));
        world.append(other, Some(&at.to_string()));
    }
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    run_on(&world, &mut running, 120);
    stop.cancel();
    let summary = finish(&world, running).unwrap();
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    assert_eq!(stopped.partition, P);
    assert!(
        stopped.error.message.contains("the record at offset 9"),
        "{stopped:?}"
    );
    assert_eq!(read(&store, P).unwrap().1, Offset(10));
    assert_eq!(
        read(&store, other).unwrap(),
        (world.records(other), Offset(7))
    );
}

/// Kafka may delete what is archived, up to the end of the archive and beyond it.
#[test]
fn the_last_archived_record_need_not_be_in_the_log() {
    for begin in [9, 10, 11] {
        let (world, store) = filled(10);
        let never = CancellationToken::new();
        finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
        for _ in 0..4 {
            world.append(P, Some("later"));
        }
        world.delete_below(P, Offset(begin));
        let archive = archive(&store);
        let chains = [block_on(archive.chain(P)).unwrap()];
        let checked = block_on(crate::identity::check(&archive, &world, &chains));
        assert!(checked.is_ok(), "{checked:?}");
    }
}

#[test]
fn a_stopped_partition_goes_on_when_it_can_be_read_again_though_the_log_has_lost_its_beginning() {
    let (world, store) = filled(10);
    world.damage(P, Some(Offset(7)));
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    run_on(&world, &mut running, 40);
    assert_eq!(read(&store, P).unwrap().1, Offset(7));
    world.delete_below(P, Offset(3));
    run_on(&world, &mut running, 40);
    world.damage(P, None);
    run_on(&world, &mut running, 60);
    assert_eq!(read(&store, P).unwrap(), (world.records(P), Offset(10)));
    stop.cancel();
    assert_eq!(finish(&world, running).unwrap().stopped, []);
}

#[test]
fn a_stop_does_not_wait_for_a_store_in_which_the_end_of_the_chain_is_looked_up() {
    let (world, _) = filled(10);
    let behind = archive(&MemoryStore::default())
        .folder()
        .segment(P, Offset(5));
    let decide = move |request, name: &ObjectName| {
        if request != Request::Put && *name == behind {
            Fault::Unavailable
        } else {
            Fault::None
        }
    };
    let store = MemoryStore::new(Rc::default(), decide);
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
    }
    // Another archiver is faster, and where its segment ends nothing can be read.
    put_segment(&store, 0, &world.records(P)[..5], 5);
    run_on(&world, &mut running, 10);
    stop.cancel();
    let since = world.time.now();
    let summary = finish(&world, running).unwrap();
    let seconds = (world.time.now() - since) / 1_000_000;
    assert!(seconds < 20, "{seconds}");
    assert_eq!(summary.stopped, []);
}

/// Each request takes longer than the next look for new partitions.
#[test]
fn a_new_partition_is_opened_once_however_slowly_the_store_answers() {
    let (world, store) = filled(3);
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    run_on(&world, &mut running, 10);
    world.grow();
    let added = *world.partitions().last().unwrap();
    for at in 0..40 {
        world.append(added, Some(&format!("{at:0>200}")));
    }
    for _ in 0..60 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 40_000_000);
    }
    stop.cancel();
    let summary = finish(&world, running).unwrap();
    assert_eq!(
        read(&store, added).unwrap(),
        (world.records(added), Offset(40))
    );
    assert_eq!(summary.records, 43, "each is counted once");
}
