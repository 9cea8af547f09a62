use std::collections::BTreeMap;

use proptest::prelude::*;
use stitch_common::cell::{Counter, Key};
use stitch_testkit::samples::{BITS, definitions, everything, offsets, record};
use stitch_totals::sorted::merge::Merge;

use super::*;
use crate::parts;

const P: Partition = Partition(0);

fn play(key: u8, bytes: i64) -> String {
    format!(r#"{{"type":"play","time":0,"track":"{key}","bytes":{bytes}}}"#)
}

/// What these plays add up to, by the simplest means.
fn added_up(plays: &[(u8, i64)]) -> BTreeMap<Counter, i64> {
    let mut sums = BTreeMap::new();
    for (key, bytes) in plays {
        for (name, amount) in [("plays", 1), ("bytes", *bytes)] {
            *sums
                .entry(Counter::new(name, key.to_string()))
                .or_insert(0_i64) += amount;
        }
    }
    sums
}

/// The sums in the streams, by counter. A counter's cells have the same sum.
async fn streamed(
    totals: &RefCell<TotalsByRange>,
    wanted: &TokenSelection,
) -> BTreeMap<Counter, i64> {
    let (mut merge, names) = {
        let totals = totals.borrow();
        (Merge::new(totals.streams(wanted)), totals.names().clone())
    };
    let mut sums = BTreeMap::new();
    while let Some(cell) = merge.next().await.unwrap() {
        let counter = Counter {
            name: names.name(cell.name).clone(),
            key: Key(std::str::from_utf8(cell.key).unwrap().into()),
        };
        let sum = sums.entry(counter).or_insert(cell.total.0);
        assert_eq!(*sum, cell.total.0);
    }
    sums
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    /// However little fits into memory: streams and look-ups have the sums of all plays below the cut, each once.
    #[test]
    fn counts_are_the_same_wherever_their_parts_are(
        plays in proptest::collection::vec((0..60_u8, 1..1000_i64), 1..400),
        batch in 1..40_usize,
        below in 0..400_usize,
        memory in prop_oneof![Just(20_000_usize), Just(1 << 30)],
    ) {
        let folder = tempfile::tempdir().unwrap();
        let spill = SpillFolder::open(folder.path(), 1 << 30).unwrap();
        let pool = MemoryPool::new(memory);
        let cut = i64::try_from(below).unwrap();
        let mut totals = TotalsByRange::new(&definitions(), &everything(), &pool, spill.clone(), |_| {
            offsets(&[(0, cut)])
        });
        for (at, plays) in plays.chunks(batch).enumerate() {
            let records: Vec<_> = plays.iter().enumerate().map(|(n, (key, bytes))| {
                record(i64::try_from(at * batch + n).unwrap(), &play(*key, *bytes))
            }).collect();
            // What lies above the cut may be too much for so little memory.
            if totals.add(P, &records).is_err() {
                return Ok(());
            }
        }
        let totals = RefCell::new(totals);
        block_on(TotalsByRange::merge_runs(&totals)).unwrap();
        let expected = added_up(&plays[..below.min(plays.len())]);
        block_on(async {
            let all = streamed(&totals, &TokenSelection::ALL).await;
            assert_eq!(all, expected);
            for range in BITS.ranges() {
                let interval = BITS.interval(range);
                let some = streamed(&totals, &interval.into()).await;
                let inside = expected.iter().filter(|(counter, _)| interval.contains(counter.token()));
                assert_eq!(some, inside.map(|(counter, sum)| (counter.clone(), *sum)).collect());
            }
            let slot = stitch_testkit::samples::slot_at(stitch_common::cell::Granularity::All, 0);
            let cells = (0..70_u8).map(|key| Cell { counter: Counter::new("plays", key.to_string()), slot });
            let counts = parts::counts::<stitch_testkit::objects::MemoryStore>(parts::LookupBase::Store(None), &totals, cells).await.unwrap();
            for (cell, count) in counts {
                assert_eq!(count.0, expected.get(&cell.counter).copied().unwrap_or_default());
            }
        });
    }
}

/// A scan goes on with what was there when it began.
#[test]
fn streams_do_not_change_when_their_parts_are_spilled_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let spill = SpillFolder::open(folder.path(), 1 << 30).unwrap();
    let pool = MemoryPool::new(1 << 30);
    let cut = |_| offsets(&[(0, 1000)]);
    let mut totals = TotalsByRange::new(&definitions(), &everything(), &pool, spill.clone(), cut);
    let mut plays = Vec::new();
    for round in 0..20_u8 {
        let play_of = |key: u8| (key, i64::from(round) + 1);
        let of_round: Vec<_> = (0..5).map(play_of).collect();
        let texts: Vec<_> = of_round
            .iter()
            .map(|(key, bytes)| play(*key, *bytes))
            .collect();
        let values = texts.iter().map(|text| Some(text.as_bytes()));
        totals.add_below(values).unwrap();
        plays.extend(of_round);
        if round == 9 {
            continue;
        }
        totals.spill().unwrap();
    }
    let before = Merge::new(totals.streams(&TokenSelection::ALL));
    let totals = RefCell::new(totals);
    assert_eq!(totals.borrow().runs[0].len(), 19);
    block_on(TotalsByRange::merge_runs(&totals)).unwrap();
    let runs: Vec<_> = totals.borrow().runs.iter().map(Vec::len).collect();
    assert_eq!(runs, [0, 1], "all of them became one");
    totals
        .borrow_mut()
        .add_below([Some(play(0, 7).as_bytes())].into_iter())
        .unwrap();
    let mut before = before;
    block_on(async {
        let mut sums = 0;
        while let Some(cell) = before.next().await.unwrap() {
            sums += cell.total.0;
        }
        let expected: i64 = added_up(&plays)
            .iter()
            .map(|(counter, sum)| sum * if &*counter.name.0 == "plays" { 2 } else { 1 })
            .sum();
        assert_eq!(sums, expected, "nothing is missing and nothing is new");
    });
    drop(before);
    let merged = block_on(streamed(&totals, &TokenSelection::ALL));
    plays.push((0, 7));
    assert_eq!(merged, added_up(&plays));
    drop(totals);
    assert_eq!(spill.bytes(), 0, "everything is given back");
}
