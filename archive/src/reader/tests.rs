use std::rc::Rc;

use proptest::prelude::*;
use stitch_common::ports::Record;
use stitch_testkit::objects::{Fault, MemoryStore, Objects, Request};

use super::*;
use crate::chain::put_index;
use crate::segment::writer::SegmentWriter;

const P: Partition = Partition(3);

fn archive() -> Archive<MemoryStore> {
    Archive::new(MemoryStore::default(), "c", "events")
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

fn record(offset: i64, value: &str) -> Record {
    Record {
        offset: Offset(offset),
        timestamp_ms: Some(1_700_000_000_000 + offset),
        key: Some(format!("key {offset}").into_bytes().into()),
        value: Some(value.as_bytes().into()),
    }
}

/// Puts the segment `[from, to)` with these records, into the folder of `archive`.
fn put(archive: &Archive<MemoryStore>, from: i64, to: i64, records: &[Record]) -> Segment {
    let mut writer = SegmentWriter::new(P, Offset(from));
    for record in records {
        writer.push(record);
    }
    let (footer, content) = writer.finish(archive.folder(), Offset(to));
    let segment = Segment::new(&footer, content.len() as u64);
    let name = archive.folder().segment(P, Offset(from));
    archive.store().objects().set(name, content);
    segment
}

async fn read_all(
    archive: &Archive<MemoryStore>,
    segment: &Segment,
) -> Result<Vec<Record>, ArchiveError> {
    let mut reader = archive.open(P, segment, Columns::All).await?;
    let mut records = Vec::new();
    while let Some(rows) = reader.next().await? {
        records.extend(rows.records());
    }
    Ok(records)
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let record = (1..5i64, any::<Option<i64>>(), bytes(), bytes());
    prop::collection::vec(record, 0..60).prop_map(|records| {
        let mut offset = 0;
        let next = |(gap, timestamp_ms, key, value): (i64, _, Option<Vec<u8>>, Option<Vec<u8>>)| {
            offset += gap;
            Record {
                offset: Offset(offset),
                timestamp_ms,
                key: key.map(Into::into),
                value: value.map(Into::into),
            }
        };
        records.into_iter().map(next).collect()
    })
}

proptest! {
    #[test]
    fn a_segment_is_read_as_it_was_written(records in records(), behind in 1..9i64) {
        let archive = archive();
        let to = records.last().map_or(1, |last| last.offset.0) + behind;
        let segment = put(&archive, 1, to, &records);
        prop_assert_eq!(segment.rows, records.len() as u64);
        prop_assert_eq!(run(read_all(&archive, &segment)), Ok(records));
    }

    #[test]
    fn a_changed_byte_is_found_before_a_record_is_believed(
        records in records(), at in any::<prop::sample::Index>(), bit in 0..8u8
    ) {
        let archive = archive();
        let to = records.last().map_or(1, |last| last.offset.0) + 1;
        let segment = put(&archive, 1, to, &records);
        let name = archive.folder().segment(P, Offset(1));
        let mut content = Vec::from(archive.store().objects().get(&name).unwrap());
        let at = at.index(content.len());
        content[at] ^= 1 << bit;
        archive.store().objects().set(name, content);
        let read = run(read_all(&archive, &segment));
        // The magic number at the begin is for tools that look for it.
        if at < 4 {
            prop_assert_eq!(read, Ok(records));
        } else {
            prop_assert!(matches!(read, Err(ArchiveError::Damaged { .. })), "{read:?}");
        }
    }

    #[test]
    fn a_truncated_segment_is_damaged(records in records(), length in any::<prop::sample::Index>()) {
        let archive = archive();
        let to = records.last().map_or(1, |last| last.offset.0) + 1;
        let segment = put(&archive, 1, to, &records);
        let name = archive.folder().segment(P, Offset(1));
        let mut content = Vec::from(archive.store().objects().get(&name).unwrap());
        content.truncate(length.index(content.len()));
        archive.store().objects().set(name.clone(), content);
        let read = run(read_all(&archive, &segment));
        prop_assert!(matches!(&read, Err(ArchiveError::Damaged { name: named, .. }) if *named == name), "{read:?}");
        let followed = run(archive.segment(P, Offset(1)));
        prop_assert!(matches!(followed, Err(ArchiveError::Damaged { .. })), "{followed:?}");
    }
}

#[test]
fn many_records_are_read_row_group_by_row_group_and_only_the_wanted_columns() {
    let archive = archive();
    let value = "v".repeat(1000);
    let written: Vec<_> = (0..20_000).map(|offset| record(offset, &value)).collect();
    let segment = put(&archive, 0, 20_000, &written);
    run(async {
        let mut reader = archive.open(P, &segment, Columns::Values).await.unwrap();
        let mut offset = 0;
        let mut groups = 0;
        while let Some(rows) = reader.next().await.unwrap() {
            groups += 1;
            for row in rows.iter() {
                assert_eq!(row.offset, Offset(offset));
                assert_eq!(row.value, Some(value.as_bytes()));
                assert_eq!((row.key, row.timestamp_ms), (None, None));
                offset += 1;
            }
            assert!(rows.len() < 5000, "{}", rows.len());
        }
        assert_eq!((offset, groups), (20_000, 6));
    });
    assert_eq!(segment.latest_ms, Some(1_700_000_019_999));
}

#[test]
fn a_chain_is_followed_over_gaps_of_offsets_to_where_no_segment_is() {
    let archive = archive();
    let chain = run(archive.chain(P)).unwrap();
    assert_eq!((chain.origin, chain.complete_to()), (None, None));
    let begun = run(origin::create(
        archive.store(),
        archive.folder(),
        P,
        Offset(7),
    ));
    assert_eq!(begun, Ok(Offset(7)));
    let chain = run(archive.chain(P)).unwrap();
    assert_eq!(chain.complete_to(), Some(Offset(7)));
    let first = put(&archive, 7, 12, &[record(9, "a"), record(10, "b")]);
    let second = put(&archive, 12, 13, &[]);
    // Not of the chain: something lies between.
    put(&archive, 14, 15, &[record(14, "c")]);
    let chain = run(archive.chain(P)).unwrap();
    assert_eq!(chain.complete_to(), Some(Offset(13)));
    assert_eq!(chain.segments, [first.clone(), second.clone()]);
    assert_eq!(chain.at_or_above(Offset(0)), chain.segments);
    assert_eq!(chain.at_or_above(Offset(11)), chain.segments);
    assert_eq!(chain.at_or_above(Offset(12)), std::slice::from_ref(&second));
    assert_eq!(chain.at_or_above(Offset(13)), []);
    assert_eq!(chain.segment_of(Offset(6)), None);
    assert_eq!(chain.segment_of(Offset(8)), Some(&first));
    assert_eq!(chain.segment_of(Offset(12)), Some(&second));
    assert_eq!(chain.segment_of(Offset(13)), None);
}

#[test]
fn the_first_origin_counts() {
    let archive = archive();
    let create = |from| {
        run(origin::create(
            archive.store(),
            archive.folder(),
            P,
            Offset(from),
        ))
    };
    assert_eq!(create(5), Ok(Offset(5)));
    assert_eq!(create(9), Ok(Offset(5)));
}

#[test]
fn an_origin_whose_answer_was_lost_is_read() {
    for fault in [Fault::AnswerLost, Fault::RequestLost] {
        let mut first = true;
        let decide = move |request, _: &ObjectName| {
            let fails = request == Request::Put && std::mem::take(&mut first);
            if fails { fault } else { Fault::None }
        };
        let store = MemoryStore::new(Rc::new(Objects::default()), decide);
        let archive = Archive::new(store, "c", "events");
        let create = || {
            run(origin::create(
                archive.store(),
                archive.folder(),
                P,
                Offset(5),
            ))
        };
        let created = create();
        if fault == Fault::AnswerLost {
            assert_eq!(created, Ok(Offset(5)));
        } else {
            assert!(
                matches!(created, Err(ArchiveError::Store(_))),
                "{created:?}"
            );
            assert_eq!(create(), Ok(Offset(5)));
        }
    }
}

#[test]
fn objects_of_other_places_are_refused_by_name() {
    let ours = archive();
    run(origin::create(ours.store(), ours.folder(), P, Offset(0))).unwrap();
    let elsewhere = |cluster: &str, topic: &str, partition: i32, from: i64| {
        let other = Archive::new(MemoryStore::default(), cluster, topic);
        let writer = SegmentWriter::new(Partition(partition), Offset(from));
        let (_, content) = writer.finish(other.folder(), Offset(from + 1));
        let name = ours.folder().segment(P, Offset(0));
        ours.store().objects().set(name.clone(), content);
        match run(ours.chain(P)) {
            Err(ArchiveError::Foreign { name: named, why }) if named == name => why,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        elsewhere("d", "events", 3, 0),
        "its cluster is d, and not c"
    );
    assert_eq!(
        elsewhere("c", "other", 3, 0),
        "its topic is other, and not events"
    );
    assert_eq!(
        elsewhere("c", "events", 4, 0),
        "its partition is 4, and not 3"
    );
    assert_eq!(elsewhere("c", "events", 3, 8), "its from is 8, and not 0");
    let other = Archive::new(ours.store().clone(), "c", "other");
    let origin = ours
        .store()
        .objects()
        .get(&ours.folder().origin(P))
        .unwrap();
    ours.store().objects().set(other.folder().origin(P), origin);
    let chain = run(other.chain(P));
    assert!(
        matches!(chain, Err(ArchiveError::Foreign { .. })),
        "{chain:?}"
    );
}

#[test]
fn what_is_no_segment_or_of_a_later_format_is_refused_by_name() {
    let archive = archive();
    run(origin::create(
        archive.store(),
        archive.folder(),
        P,
        Offset(0),
    ))
    .unwrap();
    let objects = archive.store().objects();
    let name = archive.folder().segment(P, Offset(0));
    for content in [
        b"".as_slice(),
        b"PAR1",
        b"PAR1PAR1",
        b"no Parquet at all, and longer than a footer",
    ] {
        objects.set(name.clone(), content.to_vec());
        let chain = run(archive.chain(P));
        assert!(
            matches!(&chain, Err(ArchiveError::Damaged { name: named, .. }) if *named == name),
            "{chain:?}"
        );
    }
    let origin = archive.folder().origin(P);
    let text = String::from_utf8(objects.get(&origin).unwrap().to_vec()).unwrap();
    objects.set(origin.clone(), text.replace("\"format\":1", "\"format\":2"));
    let error = run(archive.chain(P)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{origin} has format 2, and this version reads format 1")
    );
}

#[test]
fn an_index_saves_the_requests_for_its_segments() {
    let archive = archive();
    let (store, folder) = (archive.store(), archive.folder());
    run(origin::create(store, folder, P, Offset(0))).unwrap();
    let segments: Vec<_> = (0..2002).map(|at| put(&archive, at, at + 1, &[])).collect();
    let requests = |archive: &Archive<MemoryStore>| {
        let before = archive.store().requests();
        let chain = run(archive.chain(P)).unwrap();
        assert_eq!(chain.segments, segments);
        archive.store().requests() - before
    };
    assert!(requests(&archive) > 4000);
    run(put_index(store, folder, P, &segments[1000..2000])).unwrap();
    // One that is missing costs requests, and does not hide those behind it.
    assert!((2000..2100).contains(&requests(&archive)));
    run(put_index(store, folder, P, &segments[..1000])).unwrap();
    assert!(requests(&archive) < 20);
    // Of an index that is no chain nothing is believed.
    store.objects().delete(&folder.index(P, Offset(0)));
    run(put_index(store, folder, P, &segments[..999])).unwrap();
    let chain = run(archive.chain(P));
    assert!(
        matches!(chain, Err(ArchiveError::Damaged { .. })),
        "{chain:?}"
    );
}

/// What is damaged is deleted, with everything behind it, and archived again in other segments. Its index stays.
#[test]
fn an_index_whose_last_segment_is_gone_is_passed_over() {
    let archive = archive();
    let (store, folder) = (archive.store(), archive.folder());
    run(origin::create(store, folder, P, Offset(0))).unwrap();
    let segments: Vec<_> = (0..1000).map(|at| put(&archive, at, at + 1, &[])).collect();
    run(put_index(store, folder, P, &segments)).unwrap();
    for segment in &segments[700..] {
        store.objects().delete(&folder.segment(P, segment.from));
    }
    let chain = || run(archive.chain(P)).unwrap().segments;
    assert_eq!(chain(), segments[..700], "an archiver goes on from there");
    let again = put(&archive, 700, 1500, &[]);
    assert_eq!(chain(), [&segments[..700], &[again]].concat());
}

#[test]
fn a_segment_that_differs_from_what_was_known_is_not_read() {
    let archive = archive();
    let known = put(&archive, 0, 2, &[record(0, "a")]);
    put(&archive, 0, 2, &[record(0, "b")]);
    let read = run(read_all(&archive, &known));
    assert!(
        matches!(read, Err(ArchiveError::Damaged { .. })),
        "{read:?}"
    );
    let name = archive.folder().segment(P, Offset(0));
    archive.store().objects().delete(&name);
    let missing = ArchiveError::Store(ObjectError::NotFound(name));
    assert_eq!(run(read_all(&archive, &known)), Err(missing));
}
