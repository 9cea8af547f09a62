use proptest::collection::vec;
use proptest::prelude::*;

use crate::sorted::testing::{SampleCell, SampleCells, Totals, added_up, block_on, merged};

/// Few cells, so that many contributions meet; tokens that several counters share, so that every part of the order
/// decides.
fn cell() -> impl Strategy<Value = SampleCell> {
    let token = prop_oneof![-2..2_i64, Just(i64::MIN), Just(i64::MAX)];
    (token, 0..3_u16, "[ab]{1,2}", -2..2_i64)
        .prop_map(|(token, name, key, hour)| SampleCell::new(token, name, &key, hour))
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![-2..2_i64, Just(i64::MIN), Just(i64::MAX)]
}

proptest! {
    #[test]
    fn a_merge_yields_what_its_streams_add_up_to(
        streams in vec(vec((cell(), amount()), 0..12), 0..9),
        part in 1..4_usize,
    ) {
        let expected: Vec<_> = added_up(&streams.concat()).into_iter().collect();
        let sorted = streams.iter().map(|of| SampleCells::new(&added_up(of), part));
        let Ok(merged) = block_on(merged(sorted.collect()));
        prop_assert_eq!(merged, expected);
    }
}

#[test]
fn totals_wrap_as_counters_do_and_a_cell_of_0_is_left_out() {
    let cell = SampleCell::new(1, 0, "a", 0);
    let stream = |total| SampleCells::new(&Totals::from([(cell.clone(), total)]), 1);
    let merge = |totals: [i64; 2]| {
        let Ok(merged) = block_on(merged(totals.map(stream).into()));
        merged
    };
    assert_eq!(merge([i64::MAX, 1]), [(cell.clone(), i64::MIN)]);
    assert_eq!(merge([5, -5]), []);
}

#[test]
fn a_merge_of_nothing_is_empty() {
    let Ok(none) = block_on(merged(Vec::<SampleCells>::new()));
    assert_eq!(none, []);
    let empty = || SampleCells::new(&Totals::new(), 1);
    let Ok(none) = block_on(merged(vec![empty(), empty()]));
    assert_eq!(none, []);
}
