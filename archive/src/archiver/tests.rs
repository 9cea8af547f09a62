//! Histories of archivers that race, are killed, and whose store and log fail.

mod import;
mod stopped;
mod world;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use stitch_common::offset::Offset;
use stitch_common::ports::{ObjectName, Record};
use stitch_common::progress::NoProgress;
use stitch_testkit::objects::{Fault, MemoryStore, Objects, Request};

use self::world::{Chance, World, WorldClock};
use super::*;
use crate::error::ArchiveError;
use crate::segment::row_group::Columns;

type Process = Pin<Box<dyn Future<Output = Result<Summary, UserError>>>>;

fn config(segment_bytes: usize) -> stitch_config::Archive {
    stitch_config::Archive {
        url: None,
        segment_bytes,
        segment_age: Duration::from_secs(2),
        memory_bytes_max: 10_000,
    }
}

fn archive(store: &MemoryStore) -> Archive<MemoryStore> {
    Archive::new(store.clone(), "c", "events")
}

fn process(
    world: &World,
    store: &MemoryStore,
    extent: Extent,
    stop: &CancellationToken,
) -> Process {
    let (world, store, stop) = (world.clone(), store.clone(), stop.clone());
    let segment_bytes = 200 + usize::try_from(world.chance.below(2000)).unwrap();
    Box::pin(async move {
        let clock = WorldClock(Rc::clone(&world.time));
        let archive = archive(&store);
        let ports = Ports {
            log: &world,
            archive: &archive,
            clock: &clock,
        };
        let config = config(segment_bytes);
        let liveness = Liveness::default();
        run(&ports, &config, extent, &liveness, &NoProgress, &stop).await
    })
}

fn poll(process: &mut Process) -> Poll<Result<Summary, UserError>> {
    process
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a process to its end; time passes while it waits.
fn finish(world: &World, mut process: Process) -> Result<Summary, UserError> {
    for _ in 0..100_000 {
        if let Poll::Ready(result) = poll(&mut process) {
            return result;
        }
        pass(world, 50_000);
    }
    panic!("the archiver does not end");
}

/// Lets `micros` of time pass.
fn pass(world: &World, micros: u64) {
    let until = world.time.now() + micros;
    world.time.wake_at(until, Waker::noop().clone());
    while world.time.now() < until && world.time.advance() {}
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    loop {
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
}

/// What the archive has of a partition, and up to where.
fn read(store: &MemoryStore, partition: Partition) -> Result<(Vec<Record>, Offset), ArchiveError> {
    block_on(async {
        let archive = archive(store);
        let chain = archive.chain(partition).await?;
        let mut records = Vec::new();
        for segment in &chain.segments {
            let mut reader = archive.open(partition, segment, Columns::All).await?;
            while let Some(rows) = reader.next().await? {
                records.extend(rows.records());
            }
        }
        Ok((records, chain.complete_to().unwrap_or_default()))
    })
}

/// The segments that are not on the chain: an archiver went on behind something that is not there.
fn strays(store: &MemoryStore, partition: Partition) -> Vec<Offset> {
    let archive = archive(store);
    let chain = block_on(archive.chain(partition)).unwrap();
    let names = store.objects().names();
    let froms = names
        .iter()
        .filter_map(|name| archive.folder().segment_from(partition, name));
    froms
        .filter(|from| chain.segments.iter().all(|segment| segment.from != *from))
        .collect()
}

/// Faults of one request in `one_in`.
fn faults(chance: &Chance, percent: u64) -> impl FnMut(Request, &ObjectName) -> Fault + 'static {
    let chance = chance.clone();
    move |request, _| {
        if !chance.percent(percent) {
            return Fault::None;
        }
        if request != Request::Put {
            return Fault::Unavailable;
        }
        let faults = [
            Fault::AnswerLost,
            Fault::RequestLost,
            Fault::Delayed,
            Fault::Unavailable,
        ];
        faults[usize::try_from(chance.below(4)).unwrap()]
    }
}

/// One history: two archivers, killed and started again, over a log that grows and loses what is archived.
fn history(seed: u64) -> Result<(), String> {
    let chance = Chance::new(seed);
    let world = World::new(2, chance.clone());
    let objects = Rc::new(Objects::default());
    let percent = chance.below(30);
    let store = MemoryStore::new(Rc::clone(&objects), faults(&chance, percent));
    let reliable = MemoryStore::new(Rc::clone(&objects), |_, _| Fault::None);
    let never = CancellationToken::new();
    let start = || process(&world, &store, Extent::UntilStopped, &never);
    let mut processes = [start(), start()];
    for step in 0..600 {
        let which = usize::try_from(chance.below(2)).unwrap();
        match chance.below(100) {
            0..2 => processes[which] = start(),
            2..20 => {
                let partition = Partition(i32::try_from(chance.below(2)).unwrap());
                let value = format!("{step} {}", "v".repeat(step % 40));
                let is_record = chance.percent(80);
                world.append(partition, is_record.then_some(&value));
            }
            20..22 => objects.arrive(),
            22..24 => {
                let partition = Partition(i32::try_from(chance.below(2)).unwrap());
                if let Ok((_, complete_to)) = read(&reliable, partition) {
                    world.delete_below(partition, complete_to);
                }
            }
            24..40 => pass(&world, chance.below(1_000_000)),
            _ => {
                if let Poll::Ready(ended) = poll(&mut processes[which]) {
                    return Err(format!("{seed}: it ended by itself: {ended:?}"));
                }
            }
        }
    }
    drop(processes);
    objects.arrive();
    finish(&world, process(&world, &reliable, Extent::Once, &never))
        .map_err(|e| format!("{seed}: {e}"))?;
    for partition in world.partitions() {
        let (records, complete_to) =
            read(&reliable, partition).map_err(|e| format!("{seed}: {e}"))?;
        if records != world.records(partition) {
            return Err(format!("{seed}: partition {partition} has other records"));
        }
        let strays = strays(&reliable, partition);
        if !strays.is_empty() {
            return Err(format!("{seed}: not of the chain: {strays:?}"));
        }
        let end = world.bounds_of(partition).unwrap().end;
        if complete_to != end {
            return Err(format!(
                "{seed}: partition {partition} ends at {complete_to}, not {end}"
            ));
        }
    }
    Ok(())
}

#[test]
fn whatever_happens_the_archive_is_the_log() {
    let failed: Vec<_> = (0..80).filter_map(|seed| history(seed).err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

fn filled(records: usize) -> (World, MemoryStore) {
    let world = World::new(1, Chance::new(1));
    for at in 0..records {
        world.append(Partition(0), Some(&format!("value {at}")));
    }
    (world, MemoryStore::default())
}

const P: Partition = Partition(0);

#[test]
fn a_run_once_ends_where_the_log_did_markers_included() {
    let (world, store) = filled(100);
    world.append(P, None);
    let never = CancellationToken::new();
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    assert_eq!(
        (summary.records, summary.complete_to[&P]),
        (100, Offset(101))
    );
    // Nothing is new: nothing is put.
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    assert_eq!(
        (summary.segments, summary.complete_to[&P]),
        (0, Offset(101))
    );
}

/// A rack that comes back from a power cut starts its programs in any order.
#[test]
fn a_store_that_is_away_at_the_start_is_waited_for_unless_the_run_ends_by_itself() {
    let (world, _) = filled(30);
    let left = Rc::new(std::cell::Cell::new(20));
    let decide = {
        let left = Rc::clone(&left);
        move |_, _: &ObjectName| {
            let away = left.get();
            left.set(away.max(1) - 1);
            if away > 0 {
                Fault::Unavailable
            } else {
                Fault::None
            }
        }
    };
    let store = MemoryStore::new(Rc::default(), decide);
    let never = CancellationToken::new();
    let refused = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap_err();
    assert!(refused.message.contains("could not answer"), "{refused}");
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    while left.get() > 0 {
        assert!(poll(&mut running).is_pending(), "it waits");
        pass(&world, 1_000_000);
    }
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 50_000);
    }
    stop.cancel();
    finish(&world, running).unwrap();
    assert_eq!(read(&store, P).unwrap().0, world.records(P));
}

#[test]
fn what_was_read_is_put_before_a_clean_stop() {
    let (world, store) = filled(30);
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    // Long before a segment is old enough.
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
    }
    stop.cancel();
    let summary = finish(&world, running).unwrap();
    assert_eq!(summary.complete_to[&P], Offset(30));
    assert_eq!(read(&store, P).unwrap().0, world.records(P));
}

#[test]
fn a_stop_that_cannot_put_says_that_nothing_is_lost() {
    let (world, _) = filled(3);
    let refuses = Rc::new(std::cell::Cell::new(false));
    let decide = {
        let refuses = Rc::clone(&refuses);
        move |request, _: &ObjectName| {
            let is_put = request == Request::Put && refuses.get();
            if is_put { Fault::Refused } else { Fault::None }
        }
    };
    let store = MemoryStore::new(Rc::default(), decide);
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
    }
    refuses.set(true);
    stop.cancel();
    let error = finish(&world, running).unwrap_err();
    assert!(error.message.contains("read-only"), "{error}");
    assert_eq!(read(&store, P).unwrap().0, []);
}

#[test]
fn lost_records_stop_their_partition_and_are_never_skipped() {
    let (world, store) = filled(10);
    let never = CancellationToken::new();
    finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    for at in 0..10 {
        world.append(P, Some(&format!("later {at}")));
    }
    world.delete_below(P, Offset(12));
    let summary = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    assert_eq!((stopped.partition, stopped.offset), (P, Offset(10)));
    assert!(
        stopped.error.message.contains("lost from offset 10 on"),
        "{stopped:?}"
    );
    assert_eq!(read(&store, P).unwrap().1, Offset(10));
    // An archiver that keeps running goes on trying, and neither ends nor skips.
    let mut running = process(&world, &store, Extent::UntilStopped, &never);
    for _ in 0..2000 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 100_000);
    }
    assert_eq!(read(&store, P).unwrap().1, Offset(10));
    // Another archiver had them: it goes on behind them.
    let archive = archive(&store);
    let mut writer = crate::segment::writer::SegmentWriter::new(P, Offset(10));
    for record in &world.records(P)[10..15] {
        writer.push(record);
    }
    let (_, content) = writer.finish(archive.folder(), Offset(15));
    let name = archive.folder().segment(P, Offset(10));
    store.objects().set(name, content);
    for _ in 0..2000 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 100_000);
    }
    assert_eq!(read(&store, P).unwrap(), (world.records(P), Offset(20)));
}

#[test]
fn a_topic_made_anew_is_refused_by_name() {
    let (world, store) = filled(10);
    let never = CancellationToken::new();
    finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    world.recreate();
    for _ in 0..20 {
        world.append(P, Some("another"));
    }
    let error = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap_err();
    assert!(
        error
            .message
            .contains("the topic events is not the one that was archived"),
        "{error}"
    );
    assert!(
        error.message.contains("partition 0, at offset 0"),
        "{error}"
    );
    assert_eq!(read(&store, P).unwrap().1, Offset(10));
}

#[test]
fn other_records_under_archived_offsets_are_a_conflict() {
    let (world, store) = filled(10);
    let (never, stop) = (CancellationToken::new(), CancellationToken::new());
    let archive = archive(&store);
    block_on(crate::origin::create(
        archive.store(),
        archive.folder(),
        P,
        Offset(0),
    ))
    .unwrap();
    // While this one collects, another one puts the same interval with other records.
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
    }
    let mut writer = crate::segment::writer::SegmentWriter::new(P, Offset(0));
    writer.push(&stitch_testkit::samples::record(0, "another"));
    let (_, content) = writer.finish(archive.folder(), Offset(10));
    store
        .objects()
        .set(archive.folder().segment(P, Offset(0)), content);
    for _ in 0..2000 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 100_000);
    }
    let summary = finish(&world, process(&world, &store, Extent::Once, &never));
    assert!(
        summary
            .unwrap_err()
            .message
            .contains("is not the one that was archived")
    );
    stop.cancel();
    let summary = finish(&world, running).unwrap();
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    let message = &stopped.error.message;
    assert!(
        message.contains("different records from 0 to 10"),
        "{message}"
    );
}

#[test]
fn a_store_that_overwrites_is_refused() {
    let (world, _) = filled(1);
    let objects = Rc::new(Objects::default());
    let forgets = Rc::clone(&objects);
    // Each put finds nothing there.
    let decide = move |request, name: &ObjectName| {
        if request == Request::Put {
            forgets.delete(name);
        }
        Fault::None
    };
    let store = MemoryStore::new(objects, decide);
    let never = CancellationToken::new();
    let error = finish(&world, process(&world, &store, Extent::Once, &never)).unwrap_err();
    assert!(error.message.contains("overwrote"), "{error}");
}

#[test]
fn an_archive_that_starts_late_begins_where_the_log_does() {
    let (world, store) = filled(10);
    world.delete_below(P, Offset(4));
    let never = CancellationToken::new();
    finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    assert_eq!(
        read(&store, P).unwrap(),
        (world.records(P)[4..].to_vec(), Offset(10))
    );
}

#[test]
fn indexes_are_put_as_the_chain_grows() {
    let (world, store) = filled(0);
    let never = CancellationToken::new();
    for at in 0..1003 {
        world.append(P, Some(&at.to_string()));
        finish(&world, process(&world, &store, Extent::Once, &never)).unwrap();
    }
    let archive = archive(&store);
    assert!(
        store
            .objects()
            .get(&archive.folder().index(P, Offset(0)))
            .is_some()
    );
    let before = store.requests();
    let chain = block_on(archive.chain(P)).unwrap();
    assert_eq!(chain.segments.len(), 1003);
    assert!(store.requests() - before < 20);
}

#[test]
fn a_damaged_end_of_the_chain_stops_its_partition_alone() {
    let world = World::new(2, Chance::new(3));
    let store = MemoryStore::default();
    let other = Partition(1);
    let stop = CancellationToken::new();
    let mut running = process(&world, &store, Extent::UntilStopped, &stop);
    for _ in 0..200 {
        assert!(poll(&mut running).is_pending());
    }
    let name = archive(&store).folder().segment(P, Offset(0));
    store.objects().set(name.clone(), b"no segment".to_vec());
    for at in 0..30 {
        world.append(P, Some(&at.to_string()));
        world.append(other, Some(&at.to_string()));
    }
    for _ in 0..2000 {
        assert!(poll(&mut running).is_pending());
        pass(&world, 100_000);
    }
    assert_eq!(read(&store, other).unwrap().1, Offset(30));
    stop.cancel();
    let summary = finish(&world, running).unwrap();
    let [stopped] = summary.stopped.as_slice() else {
        panic!("{summary:?}");
    };
    assert!(stopped.error.message.contains(&name.0), "{stopped:?}");
}
