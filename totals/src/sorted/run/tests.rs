use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::sorted::testing::{SampleCell, added_up, block_on, merged, owned};

fn folder(path: &Path, bytes_max: u64) -> SpillFolder {
    SpillFolder::open(path, bytes_max).unwrap()
}

/// A run of `cells` cells, each of its own counter.
fn long_run(folder: &SpillFolder, cells: i64) -> Result<Run, SpillError> {
    let mut writer = RunWriter::new(folder)?;
    for token in 0..cells {
        writer.push(&SampleCell::new(token, 0, &"k".repeat(1024), 0).with(1))?;
    }
    writer.finish()
}

proptest! {
    #[test]
    fn a_run_has_the_cells_that_were_written(
        of in vec((any::<i64>(), any::<u16>(), "[a-c]{1,3}", -600_000..600_000_i64, any::<i64>()), 0..40)
    ) {
        let cells: Vec<_> = of
            .iter()
            .map(|(token, name, key, hour, total)| {
                (SampleCell::new(*token, *name, key, *hour), *total)
            })
            .collect();
        let totals = added_up(&cells);
        let path = tempfile::tempdir().unwrap();
        let mut writer = RunWriter::new(&folder(path.path(), 1 << 20)).unwrap();
        for (cell, total) in &totals {
            writer.push(&cell.with(*total)).unwrap();
        }
        let run = writer.finish().unwrap();
        prop_assert_eq!(run.cells(), totals.len() as u64);
        let read = block_on(merged(vec![run.into_cells()])).unwrap();
        prop_assert_eq!(read, totals.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_run_of_many_blocks_is_read_in_the_memory_of_one() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), 1 << 30);
    let run = long_run(&folder, 1000).unwrap();
    assert!(run.bytes() > 15 * BLOCK_BYTES as u64, "{}", run.bytes());
    assert_eq!(folder.bytes(), run.bytes());
    let mut reader = run.into_cells();
    block_on(async {
        let mut cells = 0;
        while reader.load().await.unwrap() {
            cells += 1;
            while reader.step().unwrap() {
                cells += 1;
            }
            assert!(reader.block.capacity() < 2 * BLOCK_BYTES);
        }
        assert_eq!(cells, 1000);
        assert!(!reader.load().await.unwrap(), "the end is the end");
    });
    drop(reader);
    assert_eq!(folder.bytes(), 0, "its bytes are given back");
}

#[test]
fn a_block_that_differs_from_what_was_written_is_refused() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), 1 << 30);
    for at in [0, 4, 8, 17, 70_000] {
        let run = long_run(&folder, 100).unwrap();
        let mut byte = [0];
        run.file.read_exact_at(&mut byte, at).unwrap();
        run.file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        let read = block_on(merged(vec![run.into_cells()]));
        assert_eq!(read, Err(folder.damaged()), "byte {at}");
    }
}

#[test]
fn a_run_larger_than_the_bound_is_an_error_and_leaves_nothing() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), 100_000);
    let full = long_run(&folder, 1000).unwrap_err();
    let SpillError::Full { bytes_max, .. } = full else {
        panic!("{full}");
    };
    assert_eq!((bytes_max, folder.bytes()), (100_000, 0));
    assert_eq!(std::fs::read_dir(path.path()).unwrap().count(), 0);
}

#[test]
fn cells_of_one_counter_share_its_key() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), 1 << 20);
    let mut writer = RunWriter::new(&folder).unwrap();
    let key = "k".repeat(1000);
    for hour in 0..100 {
        writer
            .push(&SampleCell::new(1, 2, &key, hour).with(hour))
            .unwrap();
    }
    let run = writer.finish().unwrap();
    assert!(run.bytes() < 2000, "{}", run.bytes());
    let mut reader = run.into_cells();
    block_on(async {
        assert!(reader.load().await.unwrap());
        let (first, _) = owned(&reader.current().unwrap());
        assert!(reader.step().unwrap());
        let second = reader.current().unwrap();
        assert!(second.has_counter_of(&first.with(0)));
        assert_eq!(second.total, Amount(1));
    });
}

#[test]
fn each_block_can_be_decoded_without_the_one_before() {
    let path = tempfile::tempdir().unwrap();
    let folder = folder(path.path(), 1 << 20);
    let cell = |hour| SampleCell::new(1, 2, "key", hour);
    let mut writer = RunWriter::new(&folder).unwrap();
    for hour in 0..30_000 {
        writer.push(&cell(hour).with(1)).unwrap();
    }
    let run = writer.finish().unwrap();
    assert!(run.bytes() > 2 * BLOCK_BYTES as u64, "{}", run.bytes());
    let read = block_on(merged(vec![run.into_cells()])).unwrap();
    let expected: Vec<_> = (0..30_000).map(|hour| (cell(hour), 1)).collect();
    assert!(read == expected);
}
