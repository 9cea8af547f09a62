use proptest::prelude::*;
use stitch_common::cell::EventTime;
use stitch_common::ports::{ObjectEntry, ObjectName, ObjectStore as _};
use stitch_common::token::Token;
use stitch_testkit::objects::MemoryStore;
use stitch_testkit::samples;

use super::reader::{GroupedCells, GroupedSum};
use super::writer::PartialWriter;
use super::*;
use crate::block_on;
use stitch_totals::sorted::counter_names::{CounterNames, NameRank};
use stitch_totals::sorted::spill_folder::SpillFolder;
use stitch_totals::sorted::{CellTotal, SortedCells as _};
use stitch_totals::totals_error::TotalsError;

proptest! {
    #[test]
    fn halves_add_up_to_the_sum_modulo_2_to_the_64(sums in proptest::collection::vec(any::<i64>(), 0..50)) {
        let (mut lo, mut hi, mut sum) = (0_i64, 0_i64, 0_i64);
        for of in &sums {
            let (of_lo, of_hi) = halves(Amount(*of));
            // As an engine adds that ends at an overflow.
            lo = lo.checked_add(of_lo).unwrap();
            hi = hi.checked_add(of_hi).unwrap();
            sum = sum.wrapping_add(*of);
        }
        prop_assert_eq!(whole(lo, hi), Amount(sum));
    }

    #[test]
    fn slots_survive_as_numbers_in_their_order(
        a in (0..7_usize, EventTime::MIN_MS..=EventTime::MAX_MS),
        b in (0..7_usize, EventTime::MIN_MS..=EventTime::MAX_MS),
    ) {
        let packed = |(granularity, ms): (usize, i64)| {
            let granularity = GRANULARITIES[granularity];
            let last = if granularity == Granularity::Minute {
                EventTime::MAX_MS_OF_MINUTES
            } else {
                EventTime::MAX_MS
            };
            let bucket = granularity.bucket(EventTime::from_ms(ms.min(last)).unwrap());
            PackedSlot::pack(CellSlot { granularity, bucket }).unwrap()
        };
        let (a, b) = (packed(a), packed(b));
        let (granularity, bucket_ms) = numbers(a);
        prop_assert_eq!(slot(granularity, bucket_ms), Some(a));
        prop_assert_eq!(numbers(a).cmp(&numbers(b)), a.cmp(&b));
    }
}

#[test]
fn numbers_that_are_no_slot_are_refused() {
    assert_eq!(slot(7, 0), None);
    assert_eq!(slot(-1, 0), None);
    assert_eq!(slot(2, 1), None, "no full hour");
}

fn cell(token: i64, key: &'static [u8], total: i64) -> CellTotal<'static> {
    CellTotal {
        token: Token(token),
        name: NameRank(0),
        key,
        slot: slot(0, 0).unwrap(),
        total: Amount(total),
    }
}

/// Files with these cells, read back: tokens and totals, and what they add up to.
async fn read_back(
    files: &[&[CellTotal<'static>]],
) -> Result<(Vec<(i64, i64)>, GroupedSum), TotalsError> {
    let (store, folder) = (MemoryStore::default(), tempfile::tempdir().unwrap());
    let spill = SpillFolder::open(folder.path(), 1 << 20).unwrap();
    let names = CounterNames::new(&samples::definitions());
    let mut entries = Vec::new();
    for (number, cells) in files.iter().enumerate() {
        let mut writer = PartialWriter::new(&names, &spill).unwrap();
        for cell in *cells {
            writer.push(cell, 2).await.unwrap();
        }
        let name = ObjectName(format!("{number}"));
        writer.put(&store, &name, ("a", "b".to_owned())).await?;
        let size = store.size(&name).await?.unwrap();
        entries.push(ObjectEntry { name, size });
    }
    let mut reader = GroupedCells::new(&store, &names, entries);
    let mut cells = Vec::new();
    while reader.load().await? {
        loop {
            let cell = reader.current().unwrap();
            cells.push((cell.token.0, cell.total.0));
            if !reader.step()? {
                break;
            }
        }
    }
    assert_eq!(reader.current(), None);
    let sum = reader.sums()[0];
    Ok((cells, sum))
}

#[test]
fn files_are_read_one_after_the_other_and_added_up() {
    block_on(async {
        let files: [&[_]; 4] = [
            &[],
            &[cell(-5, b"a", 7), cell(-5, b"b", -9)],
            &[],
            &[cell(1, b"", 1)],
        ];
        let (cells, sum) = read_back(&files).await.unwrap();
        assert_eq!(cells, [(-5, 7), (-5, -9), (1, 1)]);
        let expected = GroupedSum {
            partials: 6,
            sum: Amount(-1),
        };
        assert_eq!(sum, expected);
    });
}

#[test]
fn cells_that_are_not_strictly_in_scan_order_are_refused() {
    block_on(async {
        let (a, b, longer) = (cell(0, b"a", 1), cell(0, b"b", 1), cell(0, b"aa", 1));
        let wrong: [&[&[_]]; 4] = [&[&[b, a]], &[&[a, a]], &[&[a, b], &[b]], &[&[longer, b]]];
        for files in wrong {
            let refused = read_back(files).await;
            let TotalsError::Damaged { why, .. } = refused.unwrap_err() else {
                panic!("{files:?}");
            };
            assert!(why.contains("does not lie behind"), "{why}");
        }
    });
}
