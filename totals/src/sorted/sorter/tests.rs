use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::sorted::testing::{SampleCell, added_up, block_on, merged};

type Contributions = Vec<(SampleCell, i64)>;

fn contributions() -> impl Strategy<Value = Contributions> {
    // Tokens of all shards, and the same one for several counters.
    let token = prop_oneof![any::<i64>(), -1..1_i64, Just(i64::MIN), Just(i64::MAX)];
    let cell = (token, 0..3_u16, "[ab]{1,2}", -2..2_i64)
        .prop_map(|(token, name, key, hour)| SampleCell::new(token, name, &key, hour));
    let amount = prop_oneof![-2..2_i64, Just(i64::MIN), Just(i64::MAX)];
    vec((cell, amount), 0..60)
}

/// Sorts with this bound of memory; says how many runs there were before the last merge.
async fn sorted(
    contributions: &Contributions,
    bytes_max: usize,
    fan_in: usize,
    folder: &SpillFolder,
) -> Result<(Contributions, usize), SpillError> {
    let mut sorter = Sorter::new(bytes_max, folder.clone());
    sorter.fan_in = fan_in;
    for (cell, amount) in contributions {
        let key = cell.key.as_bytes();
        sorter.add(cell.token, cell.name, key, &[cell.slot], Amount(*amount));
        if sorter.is_full() {
            sorter.spill().await?;
        }
    }
    let runs = sorter.runs();
    let streams = sorter.finish().await?;
    assert!(streams.len() <= fan_in + 1, "{} streams", streams.len());
    Ok((merged(streams).await?, runs))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sorter_yields_what_was_added_whatever_its_memory(
        contributions in contributions(),
        fan_in in 2..5_usize,
        bytes_max in prop_oneof![Just(0_usize), Just(2_000), Just(1 << 20)],
    ) {
        let path = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(path.path(), 1 << 30).unwrap();
        let expected: Contributions = added_up(&contributions).into_iter().collect();
        let (sorted, runs) = block_on(sorted(&contributions, bytes_max, fan_in, &folder)).unwrap();
        prop_assert_eq!(sorted, expected);
        // Of each level there are fewer than are merged.
        let levels = usize::try_from(contributions.len().max(1).ilog(fan_in)).unwrap() + 1;
        prop_assert!(runs < fan_in * levels, "{} runs", runs);
        prop_assert_eq!(folder.bytes(), 0, "everything is given back");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The cells of a counter's first event are kept apart from those of later ones.
    #[test]
    fn an_event_adds_to_all_of_its_cells_whichever_events_came_before(
        events in vec(("[ab]", btree_set(0..5_i64, 0..4), -2..2_i64), 0..40),
    ) {
        let path = tempfile::tempdir().unwrap();
        let folder = SpillFolder::open(path.path(), 1 << 30).unwrap();
        let mut sorter = Sorter::new(1 << 20, folder);
        let mut contributions = Contributions::new();
        for (key, hours, amount) in events {
            let cells = hours.iter().map(|hour| SampleCell::new(7, 0, &key, *hour));
            let cells: Vec<_> = cells.collect();
            let slots: Vec<_> = cells.iter().map(|cell| cell.slot).collect();
            sorter.add(Token(7), NameRank(0), key.as_bytes(), &slots, Amount(amount));
            contributions.extend(cells.into_iter().map(|cell| (cell, amount)));
        }
        let distinct: BTreeSet<_> = contributions.iter().map(|(cell, _)| cell).collect();
        prop_assert_eq!(sorter.accumulator.cells(), distinct.len(), "an entry each");
        let expected: Contributions = added_up(&contributions).into_iter().collect();
        let sorted = async { merged(sorter.finish().await?).await };
        prop_assert_eq!(block_on(sorted).unwrap(), expected);
    }
}

#[test]
fn with_no_memory_every_record_spills_and_the_runs_are_merged_many_times() {
    let path = tempfile::tempdir().unwrap();
    let folder = SpillFolder::open(path.path(), 1 << 30).unwrap();
    let cells = (0..500).map(|at| (SampleCell::new(at % 50, 0, "a", at % 7), 1));
    let contributions: Contributions = cells.collect();
    let (sorted, runs) = block_on(sorted(&contributions, 0, 2, &folder)).unwrap();
    assert_eq!(
        sorted,
        added_up(&contributions).into_iter().collect::<Vec<_>>()
    );
    // 500 in binary has six ones.
    assert_eq!(runs, 6);
    assert!(folder.bytes_most() > 0);
}

#[test]
fn a_full_folder_is_an_error_that_names_it() {
    let path = tempfile::tempdir().unwrap();
    let folder = SpillFolder::open(path.path(), 100).unwrap();
    let contributions: Contributions = (0..50)
        .map(|at| (SampleCell::new(at, 0, "a", 0), 1))
        .collect();
    let full = block_on(sorted(&contributions, 0, 2, &folder)).unwrap_err();
    assert!(
        full.to_string()
            .contains(&path.path().display().to_string()),
        "{full}"
    );
    assert_eq!(folder.bytes(), 0);
}

#[test]
fn what_fits_in_memory_never_touches_the_folder() {
    let path = tempfile::tempdir().unwrap();
    let folder = SpillFolder::open(path.path(), 0).unwrap();
    let contributions: Contributions = (0..1000)
        .map(|at| (SampleCell::new(at << 50, 0, "a", 0), 1))
        .collect();
    let (sorted, runs) = block_on(sorted(&contributions, 1 << 20, 2, &folder)).unwrap();
    assert_eq!((sorted.len(), runs), (1000, 0));
}

#[test]
fn the_bytes_of_an_accumulator_are_those_of_its_tables() {
    let mut accumulator = Accumulator::default();
    assert_eq!(accumulator.bytes(), 0);
    for at in 0..100_000_i64 {
        let cell = SampleCell::new(
            at.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()),
            0,
            "key",
            at,
        );
        accumulator.add(
            cell.token,
            cell.name,
            cell.key.as_bytes(),
            &[cell.slot],
            Amount(1),
        );
    }
    assert_eq!(accumulator.cells(), 100_000);
    // At least: an entry of 24 bytes and an index of 5 for the counter, an entry of 16 for the cell, and the key.
    let least = 100_000 * (24 + 5 + 16 + 3);
    assert!(
        (least..3 * least).contains(&accumulator.bytes()),
        "{}",
        accumulator.bytes()
    );
}
