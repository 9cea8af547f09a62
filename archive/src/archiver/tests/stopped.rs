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
