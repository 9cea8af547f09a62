use std::path::Path;

use crate::testing::instance;
use proptest::collection::vec;
use proptest::prelude::*;
use stitch_common::cell::Granularity;
use stitch_common::cell::{Counter, EventTime};
use stitch_common::definition::Definitions;
use stitch_common::event::slot;
use stitch_common::ports::ObjectName;
use stitch_common::range::{RangeBits, TokenInterval};
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::reader::TotalsReader;
use super::writer::{FileSizes, TotalsWriter, WrittenFiles};
use crate::manifest::{FORMAT, Manifest, Subject};
use crate::scan_key::PackedSlot;
use crate::sorted::SortedCells as _;
use crate::sorted::counter_names::CounterNames;
use crate::sorted::spill_folder::SpillFolder;
use crate::sorted::testing::{SampleCell, Totals, added_up, block_on, merged};
use crate::sorted::tokens::TokenSelection;
use crate::totals_error::TotalsError;
use crate::totals_folder::TotalsFolder;
use stitch_common::digest::Digest;

const SMALL: FileSizes = FileSizes {
    file_bytes: 1,
    row_group_rows: 4,
};

fn definitions() -> Definitions {
    let mut definitions = samples::definitions();
    definitions.range_bits = RangeBits::new(4).unwrap();
    definitions
}

fn cell(counter: &str, key: &str, granularity: usize, ms: i64) -> SampleCell {
    let names = CounterNames::new(&definitions());
    let granularity = Granularity::EVERY[granularity];
    let last = if granularity == Granularity::Minute {
        EventTime::MAX_MS_OF_MINUTES
    } else {
        EventTime::MAX_MS
    };
    let slot = slot(granularity, EventTime::from_ms(ms.min(last)).unwrap());
    SampleCell::of(
        Counter::new(counter, key).token(),
        names.rank(counter).unwrap(),
        key,
        PackedSlot::pack(slot).unwrap(),
    )
}

fn cells() -> impl Strategy<Value = Totals> {
    let counter = prop_oneof![Just("plays"), Just("bytes")];
    let ms = prop_oneof![
        EventTime::MIN_MS..=EventTime::MAX_MS,
        Just(EventTime::MIN_MS),
        Just(EventTime::MAX_MS),
        -1..=1_i64
    ];
    let cell = (counter, "[a-zé\u{0}]{1,3}", 0..7_usize, ms)
        .prop_map(|(counter, key, granularity, ms)| cell(counter, &key, granularity, ms));
    vec((cell, any::<i64>()), 0..60).prop_map(|cells| added_up(&cells))
}

fn subject() -> Subject {
    Subject {
        namespace: "plays".to_owned(),
        instance: instance(),
        cluster: "cluster".to_owned(),
        topic: "events".to_owned(),
        definitions: definitions(),
        from: samples::offsets(&[(0, 0)]),
        later: Vec::new(),
        cut: samples::offsets(&[(0, 10)]),
    }
}

fn manifest(written: &WrittenFiles) -> Manifest {
    let subject = subject();
    Manifest {
        format: FORMAT,
        id: subject.id(),
        subject,
        made_at: String::new(),
        as_of: None,
        last_records: Default::default(),
        sources: Vec::new(),
        accounts: Vec::new(),
        rows: written.rows(),
        digest: written.digest(),
        files: written.files.clone(),
    }
}

async fn write(
    objects: &MemoryStore,
    path: &Path,
    totals: &Totals,
    sizes: FileSizes,
) -> Result<Manifest, TotalsError> {
    let definitions = definitions();
    let names = CounterNames::new(&definitions);
    let folder = TotalsFolder::new(objects.clone(), "plays");
    let spill = SpillFolder::open(path, 1 << 30)?;
    let id = subject().id();
    let mut writer =
        TotalsWriter::new(&folder, &id, &names, definitions.range_bits, &spill).with_sizes(sizes);
    for (cell, total) in totals {
        writer.push(&cell.with(*total)).await?;
    }
    let written = writer.finish().await?;
    assert_eq!(spill.bytes(), 0, "everything is given back");
    assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
    let sums = written
        .sums
        .iter()
        .fold(0_i64, |sum, of| sum.wrapping_add(*of));
    let expected = totals.values().fold(0_i64, |sum, of| sum.wrapping_add(*of));
    assert_eq!(sums, expected);
    Ok(manifest(&written))
}

/// The cells in `tokens`, and how many row groups were read for them.
async fn read(
    objects: &MemoryStore,
    manifest: &Manifest,
    tokens: impl Into<TokenSelection>,
) -> Result<Vec<(SampleCell, i64)>, TotalsError> {
    let folder = TotalsFolder::new(objects.clone(), "plays");
    let names = CounterNames::new(&definitions());
    merged(vec![TotalsReader::new(&folder, manifest, &names, tokens)]).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn files_have_the_cells_that_were_written(
        totals in cells(),
        file_bytes in prop_oneof![Just(1_u64), Just(1 << 20)],
        row_group_rows in 1..6_usize,
    ) {
        let path = tempfile::tempdir().unwrap();
        let objects = MemoryStore::default();
        let sizes = FileSizes { file_bytes, row_group_rows };
        let expected: Vec<_> = totals.clone().into_iter().collect();
        block_on(async {
            let manifest = write(&objects, path.path(), &totals, sizes).await.unwrap();
            assert_eq!(manifest.rows, totals.len() as u64);
            let all = read(&objects, &manifest, TokenSelection::ALL).await.unwrap();
            assert_eq!(all, expected);
            for range in manifest.subject.definitions.range_bits.ranges() {
                let tokens = manifest.subject.definitions.range_bits.interval(range);
                let some = read(&objects, &manifest, tokens).await.unwrap();
                let inside = expected.iter().filter(|(cell, _)| tokens.contains(cell.token));
                assert_eq!(some, inside.cloned().collect::<Vec<_>>());
            }
        });
    }
}

type Change = fn(&mut Vec<u8>);

/// A hundred keys, and the totals of each.
fn hundred() -> Totals {
    let cells = (0..100).map(|at| (cell("plays", &format!("key {at}"), 0, 0), at + 1));
    added_up(&cells.collect::<Vec<_>>())
}

#[test]
fn a_file_has_whole_ranges_and_each_range_one_file() {
    let path = tempfile::tempdir().unwrap();
    let objects = MemoryStore::default();
    let manifest = block_on(write(&objects, path.path(), &hundred(), SMALL)).unwrap();
    assert!(manifest.files.len() > 8, "{:?}", manifest.files);
    let one_after_the_other = manifest.files.windows(2).all(|pair| {
        pair[0].first_range <= pair[0].last_range && pair[0].last_range < pair[1].first_range
    });
    assert!(one_after_the_other, "{:?}", manifest.files);
    let objects = MemoryStore::default();
    let sizes = FileSizes::default();
    let manifest = block_on(write(&objects, path.path(), &hundred(), sizes)).unwrap();
    let name = format!("totals/v1/plays/{}/range-0.parquet", manifest.id);
    assert_eq!(
        objects.objects().names(),
        [ObjectName(name)],
        "a small namespace has one file"
    );
}

#[test]
fn one_counter_is_looked_up_by_reading_one_row_group() {
    let path = tempfile::tempdir().unwrap();
    let objects = MemoryStore::default();
    let sizes = FileSizes {
        file_bytes: 1 << 20,
        row_group_rows: 4,
    };
    block_on(async {
        let manifest = write(&objects, path.path(), &hundred(), sizes)
            .await
            .unwrap();
        let folder = TotalsFolder::new(objects.clone(), "plays");
        let names = CounterNames::new(&definitions());
        let wanted = cell("plays", "key 42", 0, 0);
        let tokens = TokenInterval {
            first: wanted.token,
            last: wanted.token,
        };
        let mut reader = TotalsReader::new(&folder, &manifest, &names, tokens);
        assert!(reader.load().await.unwrap());
        assert_eq!(reader.current(), Some(wanted.with(43)));
        assert!(!reader.step().unwrap());
        assert!(!reader.load().await.unwrap());
        assert_eq!(reader.row_groups_read(), 1);
    });
}

#[test]
fn cells_out_of_order_are_never_written() {
    let path = tempfile::tempdir().unwrap();
    let objects = MemoryStore::default();
    let folder = TotalsFolder::new(objects.clone(), "plays");
    let definitions = definitions();
    let names = CounterNames::new(&definitions);
    let spill = SpillFolder::open(path.path(), 1 << 20).unwrap();
    let id = subject().id();
    let one = cell("plays", "a", 1, 0);
    let earlier = cell("plays", "a", 0, 0);
    for second in [&one, &earlier] {
        let mut writer = TotalsWriter::new(&folder, &id, &names, definitions.range_bits, &spill);
        block_on(async {
            writer.push(&one.with(1)).await.unwrap();
            let refused = writer.push(&second.with(1)).await.unwrap_err();
            assert!(matches!(refused, TotalsError::Inconsistent(_)), "{refused}");
        });
    }
    assert!(objects.objects().names().is_empty());
}

#[test]
fn what_differs_from_what_was_put_is_refused_by_its_name() {
    let path = tempfile::tempdir().unwrap();
    let sizes = FileSizes {
        file_bytes: 1 << 20,
        row_group_rows: 16,
    };
    let changes: [(&str, Change); 5] = [
        ("a byte of the first row group", |file| file[100] ^= 1),
        ("the last byte of the metadata", |file| {
            let at = file.len() - 9;
            file[at] ^= 0xff;
        }),
        ("it is longer", |file| file.push(0)),
        ("it is shorter", |file| file.truncate(file.len() - 1)),
        ("it is empty", Vec::clear),
    ];
    for (what, change) in changes {
        let objects = MemoryStore::default();
        let manifest = block_on(write(&objects, path.path(), &hundred(), sizes)).unwrap();
        let name = objects.objects().names().remove(0);
        let mut content = Vec::from(objects.objects().get(&name).unwrap());
        change(&mut content);
        objects.objects().set(name.clone(), content);
        let read = block_on(read(&objects, &manifest, TokenSelection::ALL));
        let Err(TotalsError::Damaged { name: named, .. }) = read else {
            panic!("{what}: {read:?}");
        };
        assert_eq!(named, name, "{what}");
    }
}

#[test]
fn a_whole_file_of_other_cells_is_refused() {
    let path = tempfile::tempdir().unwrap();
    let objects = MemoryStore::default();
    let sizes = FileSizes::default();
    let mut manifest = block_on(write(&objects, path.path(), &hundred(), sizes)).unwrap();
    manifest.files[0].digest = Digest::default();
    let read_all = block_on(read(&objects, &manifest, TokenSelection::ALL));
    assert!(
        matches!(read_all, Err(TotalsError::Damaged { .. })),
        "{read_all:?}"
    );
    manifest.id = crate::manifest::TotalsId("another".to_owned());
    let name = objects.objects().names().remove(0);
    let content = objects.objects().get(&name).unwrap();
    let moved = ObjectName("totals/v1/plays/another/range-0.parquet".to_owned());
    objects.objects().set(moved, content);
    let read_all = block_on(read(&objects, &manifest, TokenSelection::ALL));
    assert!(read_all.unwrap_err().to_string().contains("of the totals"));
}

#[test]
fn a_changed_byte_anywhere_is_found_and_never_a_panic() {
    let path = tempfile::tempdir().unwrap();
    let objects = MemoryStore::default();
    let sizes = FileSizes {
        file_bytes: 1 << 20,
        row_group_rows: 50,
    };
    let expected: Vec<_> = hundred().into_iter().collect();
    block_on(async {
        let manifest = write(&objects, path.path(), &hundred(), sizes)
            .await
            .unwrap();
        let name = objects.objects().names().remove(0);
        let whole = Vec::from(objects.objects().get(&name).unwrap());
        for at in 0..whole.len() {
            for bit in [0, 6, 7] {
                let mut content = whole.clone();
                content[at] ^= 1 << bit;
                objects.objects().set(name.clone(), content);
                match read(&objects, &manifest, TokenSelection::ALL).await {
                    // The first four bytes are the format's name, and not read.
                    Ok(cells) => assert!(at < 4 && cells == expected, "byte {at}"),
                    Err(TotalsError::Damaged { .. }) => {}
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
    });
}
