use stitch_common::clock::SystemClock;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples::offsets;

use super::*;
use crate::sorted::testing::block_on;
use crate::testing::SampleTopic;

/// A partition of ten records and a marker after each; archive and log as the test wants.
fn topic() -> SampleTopic {
    let topic = SampleTopic::default();
    for number in 0..10 {
        topic.add(0, Some(&number.to_string()));
        topic.add(0, None);
    }
    topic
}

struct Read {
    sources: Vec<(i64, i64, SourceKind)>,
    values: Vec<String>,
}

async fn read(
    topic: &SampleTopic,
    store: Option<&MemoryStore>,
    (from, to): (i64, i64),
) -> Result<Read, RecordsError> {
    let archive = store.map(|store| Archive::new(store.clone(), "kafka", "events"));
    let patience = Duration::from_secs(5);
    let records = Records::new(archive.as_ref(), topic, &SystemClock, patience);
    let origins = async || Ok::<_, RecordsError>(Offsets::default());
    let reach = records.reach(origins).await?;
    let spans = reach.spans(&offsets(&[(0, from)]), &offsets(&[(0, to)]))?;
    let mut reader = records.read(&reach, &spans).await?;
    let mut values = Vec::new();
    while let Some(batch) = reader.next().await? {
        let texts = batch
            .values()
            .map(|value| String::from_utf8(value.unwrap().to_vec()));
        values.extend(texts.map(Result::unwrap));
    }
    records.check_again(&spans).await?;
    let sources = spans
        .into_iter()
        .map(|span| (span.from.0, span.to.0, span.source));
    Ok(Read {
        sources: sources.collect(),
        values,
    })
}

fn numbers(from: i32, to: i32) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

fn gap(result: Result<Read, RecordsError>) -> (i64, i64) {
    match result {
        Err(RecordsError::Gap { from, to, .. }) => (from.0, to.0),
        Err(other) => panic!("{other}"),
        Ok(read) => panic!("{:?} {:?}", read.sources, read.values),
    }
}

#[test]
fn records_come_from_the_archive_where_it_reaches_and_then_from_the_log() {
    let (topic, store) = (topic(), MemoryStore::default());
    block_on(async {
        topic.archive(&store, 0, &[0, 5, 9, 14]).await;
        topic.delete_below(0, 14);
        let all = read(&topic, Some(&store), (0, 20)).await.unwrap();
        assert_eq!(all.values, numbers(0, 10));
        let sources = [(0, 14, SourceKind::Archive), (14, 20, SourceKind::Log)];
        assert_eq!(all.sources, sources);
        // From within a segment, to within a segment.
        let some = read(&topic, Some(&store), (6, 11)).await.unwrap();
        assert_eq!(some.values, numbers(3, 6));
        assert_eq!(some.sources, [(6, 11, SourceKind::Archive)]);
        let rest = read(&topic, Some(&store), (14, 20)).await.unwrap();
        assert_eq!(rest.sources, [(14, 20, SourceKind::Log)]);
        assert_eq!(rest.values, numbers(7, 10));
    });
}

#[test]
fn without_an_archive_the_log_is_read_and_markers_are_passed() {
    let topic = topic();
    topic.delete_below(0, 6);
    let read = block_on(read(&topic, None, (6, 20))).unwrap();
    assert_eq!(read.values, numbers(3, 10));
    assert_eq!(read.sources, [(6, 20, SourceKind::Log)]);
}

#[test]
fn a_gap_between_archive_and_log_is_refused_with_its_offsets() {
    let (topic, store) = (topic(), MemoryStore::default());
    block_on(async {
        topic.archive(&store, 0, &[0, 8]).await;
        topic.delete_below(0, 9);
        assert_eq!(gap(read(&topic, Some(&store), (0, 20)).await), (8, 9));
        topic.delete_below(0, 8);
        read(&topic, Some(&store), (0, 20)).await.unwrap();
        topic.archive(&store, 1, &[0, 0]).await;
    });
}

#[test]
fn records_below_archive_and_log_are_a_gap() {
    let (topic, store) = (topic(), MemoryStore::default());
    block_on(async {
        topic.archive(&store, 0, &[4, 8]).await;
        topic.delete_below(0, 6);
        assert_eq!(gap(read(&topic, Some(&store), (2, 20)).await), (2, 4));
        assert_eq!(gap(read(&topic, None, (2, 20)).await), (2, 6));
        let error = read(&topic, None, (2, 20)).await.err().unwrap();
        let text = UserError::from(error).message;
        assert!(
            text.starts_with("a gap between offset 2 and offset 6 of partition 0"),
            "{text}"
        );
    });
}

#[test]
fn records_deleted_while_they_are_read_are_a_gap() {
    let topic = topic();
    let deleted = Some((Partition(0), Offset(3)));
    topic.deleted_meanwhile.set(deleted);
    assert_eq!(gap(block_on(read(&topic, None, (2, 20)))), (2, 3));
}

/// A processor opens a partition and counts, and Kafka deletes what was counted, all while bounds are asked.
#[test]
fn records_deleted_since_counting_began_are_a_gap_though_it_began_meanwhile() {
    let topic = topic();
    topic
        .deleted_before_bounds
        .set(Some((Partition(0), Offset(4))));
    let archive: Option<&Archive<MemoryStore>> = None;
    let records = Records::new(archive, &topic, &SystemClock, Duration::from_secs(5));
    let is_opened = || topic.deleted_before_bounds.get().is_none();
    let origins = async || {
        let origins = if is_opened() {
            offsets(&[(0, 0)])
        } else {
            Offsets::default()
        };
        Ok::<_, RecordsError>(origins)
    };
    let reach = block_on(records.reach(origins)).unwrap();
    let cut = offsets(&[(0, 20)]);
    let Err(RecordsError::Gap { from, to, .. }) = reach.spans(&reach.counted_from(&cut), &cut)
    else {
        panic!("{reach:?}");
    };
    assert_eq!((from, to), (Offset(0), Offset(4)));
}

#[test]
fn a_log_that_ends_below_what_was_counted_is_another_one() {
    let topic = topic();
    let shorter = block_on(read(&topic, None, (21, 20))).err().unwrap();
    assert!(matches!(shorter, RecordsError::Shorter { .. }), "{shorter}");
}
