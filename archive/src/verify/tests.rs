use stitch_common::progress::NoProgress;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::*;
use crate::origin;
use crate::segment::writer::SegmentWriter;

const P: Partition = Partition(0);

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

/// An archive of the records 0 to 7, two in a segment.
fn archive() -> Archive<MemoryStore> {
    let archive = Archive::new(MemoryStore::default(), "c", "events");
    run(origin::create(
        archive.store(),
        archive.folder(),
        P,
        Offset(0),
    ))
    .unwrap();
    for from in [0, 2, 4, 6] {
        let mut writer = SegmentWriter::new(P, Offset(from));
        writer.push(&samples::record(from, "a"));
        writer.push(&samples::record(from + 1, "b"));
        let (_, content) = writer.finish(archive.folder(), Offset(from + 2));
        archive.store().objects().set(name(&archive, from), content);
    }
    archive
}

fn name(archive: &Archive<MemoryStore>, from: i64) -> ObjectName {
    archive.folder().segment(P, Offset(from))
}

fn report(archive: &Archive<MemoryStore>) -> PartitionReport {
    run(verify(archive, P, &NoProgress)).unwrap()
}

/// The objects with problems, by the begin in their names.
fn problems(archive: &Archive<MemoryStore>) -> Vec<i64> {
    let report = report(archive);
    let from = |problem: &Problem| {
        let name = ObjectName(problem.object.clone());
        archive.folder().segment_from(P, &name).unwrap().0
    };
    report.problems.iter().map(from).collect()
}

#[test]
fn a_whole_archive_has_no_problem_and_the_digest_of_its_records() {
    let archive = archive();
    let report = report(&archive);
    assert_eq!(report.problems, []);
    assert_eq!((report.segments, report.records), (4, 8));
    assert_eq!(report.complete_to, Some(Offset(8)));
    let mut sum = stitch_common::digest::DigestSum::default();
    for offset in 0..8 {
        let value: &[u8] = if offset % 2 == 0 { b"a" } else { b"b" };
        sum.add(P, Offset(offset), Some(value));
    }
    assert_eq!(report.digest, sum.digest());
}

#[test]
fn a_missing_segment_is_named_and_those_behind_it_are_no_part_of_the_archive() {
    let archive = archive();
    archive.store().objects().delete(&name(&archive, 2));
    assert_eq!(report(&archive).complete_to, Some(Offset(2)));
    assert_eq!(problems(&archive), [2, 4, 6]);
}

#[test]
fn a_truncated_a_changed_and_an_exchanged_segment_are_named() {
    let changes: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |content| content[..content.len() / 2].to_vec(),
        |mut content| {
            content[10] ^= 1;
            content
        },
        |_| Vec::new(),
    ];
    for change in changes {
        let archive = archive();
        let objects = archive.store().objects();
        let content = objects.get(&name(&archive, 2)).unwrap();
        objects.set(name(&archive, 2), change(content.to_vec()));
        assert_eq!(report(&archive).complete_to, Some(Offset(2)));
        assert_eq!(problems(&archive), [2, 4, 6]);
    }
    let archive = archive();
    let objects = archive.store().objects();
    objects.set(name(&archive, 4), objects.get(&name(&archive, 2)).unwrap());
    assert_eq!(problems(&archive), [4, 6]);
}

#[test]
fn a_copy_beside_the_chain_is_named() {
    let archive = archive();
    let objects = archive.store().objects();
    objects.set(name(&archive, 3), objects.get(&name(&archive, 2)).unwrap());
    assert_eq!(report(&archive).complete_to, Some(Offset(8)));
    assert_eq!(problems(&archive), [3]);
}

#[test]
fn a_partition_that_was_never_archived_is_empty_and_whole() {
    let archive = archive();
    let report = run(verify(&archive, Partition(1), &NoProgress)).unwrap();
    assert_eq!((report.origin, report.segments), (None, 0));
    assert_eq!(report.problems, []);
}
