//! The journal: it comes before the corrections (R6), and says what became of each.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use serde_json::Value;
use stitch_common::output::Report;

use super::{next, restored};
use crate::options::Limits;
use crate::testing::cassandra::Fate;
use crate::testing::world::Fake;

fn lines(fake: &Fake) -> Vec<Value> {
    let files = fs::read_dir(fake.journal()).unwrap();
    let text = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let text: String = text.collect();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The last outcome of each correction, and its delta.
pub(super) fn outcomes(fake: &Fake) -> Vec<(String, i64)> {
    let mut last = BTreeMap::new();
    for line in lines(fake) {
        if line["line"] == "outcome" {
            let outcome = line["outcome"].as_str().unwrap().to_owned();
            let delta = line["delta"].as_i64().unwrap();
            last.insert(line["id"].as_u64().unwrap(), (outcome, delta));
        }
    }
    last.into_values().collect()
}

fn applied(fake: &Fake) -> i64 {
    let outcomes = outcomes(fake).into_iter();
    let applied = outcomes.filter(|(outcome, _)| outcome == "applied");
    applied.map(|(_, delta)| delta).sum()
}

#[test]
fn no_correction_is_sent_that_is_not_in_the_journal() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("increment", |fake| {
        let last = lines(fake).pop().unwrap();
        assert_eq!(
            (&last["line"], &last["delta"]),
            (&"correction".into(), &(-4).into())
        );
    });
    assert_eq!(restored(&fake).cells.corrected, 1);
    assert_eq!(outcomes(&fake), [("applied".to_owned(), -4)]);
}

/// Reading the log may take hours.
#[test]
fn a_journal_that_cannot_be_written_is_refused_before_anything_is_read() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fs::write(fake.journal(), "a file where the folder should be").unwrap();
    let failure = fake.run(Limits::default()).unwrap_err();
    assert!(failure.message.contains("journal"), "{failure}");
    assert_eq!(
        (fake.times("scan"), fake.times("increment"), fake.held("a")),
        (0, 0, 5)
    );
    assert!(!fake.exists("/restorations/2"), "nothing is recorded");
}

#[test]
fn a_correction_that_was_not_sent_is_told_from_one_that_was_refused() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.before("increment", |fake| {
        fake.fates.borrow_mut().push_back(Fate::Refused)
    });
    restored(&fake);
    assert_eq!(outcomes(&fake), [("not_applied".to_owned(), -4)]);
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.produce("a");
    fake.before("read plays/a", |fake| {
        fake.before("get /ranges/0/_c_", |fake| fake.stop.cancel());
    });
    restored(&fake);
    assert_eq!(outcomes(&fake), [("not_sent".to_owned(), -4)]);
    assert_eq!(fake.held("a"), 5);
}

/// After the barrier the cell shows what became of a correction of unknown outcome.
#[test]
fn a_correction_of_unknown_outcome_is_resolved_when_the_cell_is_read_again() {
    for (fate, expected) in [
        (Fate::UnknownApplied, vec!["applied"]),
        (Fate::UnknownLost, vec!["not_applied", "applied"]),
    ] {
        let fake = Fake::with_plays(&["a"]);
        fake.hold("a", 5);
        fake.fates.borrow_mut().push_back(fate);
        restored(&fake);
        let outcomes: Vec<_> = outcomes(&fake).into_iter().map(|(o, _)| o).collect();
        assert_eq!(outcomes, expected, "{fate:?}");
        assert_eq!(applied(&fake), -4, "{fate:?}");
    }
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    fake.fates.borrow_mut().push_back(Fate::UnknownApplied);
    fake.before("increment", |fake| fake.silent.set(true));
    restored(&fake);
    assert_eq!(
        outcomes(&fake),
        [("unknown".to_owned(), -4)],
        "never waited out"
    );
    assert!(next(&fake.trace(), "probe", 0) > 0);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        Just(Fate::UnknownApplied),
        Just(Fate::UnknownLost),
        Just(Fate::NotApplied),
        Just(Fate::Refused),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is called applied adds up to what was changed, however corrections end, unless some remain unknown.
    #[test]
    fn the_applied_corrections_add_up_to_what_was_changed(
        fates in proptest::collection::vec(fate(), 0..6),
        deleted in any::<bool>(),
    ) {
        let keys = ["a", "b", "c", "d", "e", "f"];
        let fake = Fake::with(&keys, "bits = 1", |_| {});
        for (key, count) in keys.iter().zip([9, -3, 0, 2, 100, 1]) {
            fake.hold(key, count);
        }
        if deleted {
            fake.delete("d");
        }
        fake.fates.borrow_mut().extend(fates);
        let sum = |fake: &Fake| keys.iter().map(|key| fake.held(key)).sum::<i64>();
        let before = sum(&fake);
        let report = restored(&fake);
        let outcomes = outcomes(&fake);
        // That an acknowledged correction changed nothing shows only when the cell is read again.
        let mut errors = report.ranges.iter().filter_map(|range| range.error.as_ref());
        let all_read = !deleted || errors.all(|error| error.message.contains("ignore"));
        if all_read && outcomes.iter().all(|(outcome, _)| outcome != "unknown") {
            prop_assert_eq!(applied(&fake), sum(&fake) - before);
        }
        if report.outcome() == "verified" {
            prop_assert!(outcomes.iter().all(|(outcome, _)| outcome != "unknown"));
        }
        let corrections = lines(&fake).iter().filter(|line| line["line"] == "correction").count();
        prop_assert_eq!(corrections, outcomes.len(), "each has an outcome");
    }
}
