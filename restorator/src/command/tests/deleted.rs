//! Cells that were deleted by hand: Cassandra's tombstone swallows what is added to them (R7).

use stitch_common::output::{Exit, Report};

use super::{journal, restored};
use crate::testing::world::Fake;

#[test]
fn a_cell_that_ignores_increments_is_reported_by_name_and_corrected_once() {
    let fake = Fake::with_plays(&["a"]);
    fake.delete("a");
    let report = restored(&fake);
    assert_eq!((report.exit(), report.cells.corrected), (Exit::Failed, 0));
    assert_eq!((report.cells.wrong, report.cells.unjudged), (1, 0));
    let failure = report.error().unwrap();
    assert!(failure.message.contains("plays/a") && failure.help.contains("deleted by hand"));
    assert_eq!(fake.times("increment"), 1);
}

/// The rest of the range is corrected by the same run, whichever lock meets the deleted cell.
#[test]
fn the_other_cells_of_the_range_are_corrected_at_once() {
    let keys: Vec<String> = (100..350).map(|number| format!("{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for deleted in [&["100"][..], &["349"], &["101", "250"]] {
        let fake = Fake::with(&keys, "bits = 0", |_| {});
        keys.iter().for_each(|key| fake.hold(key, 5));
        deleted.iter().for_each(|key| fake.delete(key));
        let report = restored(&fake);
        let right = keys.iter().filter(|key| fake.held(key) == 1).count();
        assert_eq!(right, 250 - deleted.len(), "{deleted:?}");
        let cells = report.cells;
        assert_eq!(cells.corrected, 250 - deleted.len() as u64);
        assert_eq!((cells.wrong, cells.unjudged), (250, 0));
        let message = &report.error().unwrap().message;
        assert!(deleted.iter().all(|key| message.contains(key)), "{message}");
        assert_eq!(fake.times("increment"), 250, "each once");
        assert_eq!(report.exit(), Exit::Failed);
    }
}

/// A deleted cell that events change all the time is dirty, and still not corrected again and again.
#[test]
fn a_deleted_cell_that_is_dirty_is_corrected_once() {
    let fake = Fake::with_plays(&["a", "b"]);
    fake.delete("a");
    fake.hold("b", 7);
    fake.before("create /revocations/", |fake| fake.produce("a"));
    let report = restored(&fake);
    assert_eq!((report.cells.corrected, fake.held("b")), (1, 1));
    assert_eq!(fake.times("increment plays/a"), 1);
    assert!(report.error().unwrap().message.contains("plays/a"));
    let outcomes = journal::outcomes(&fake);
    assert_eq!(outcomes.iter().filter(|(o, _)| o == "ignored").count(), 1);
}
