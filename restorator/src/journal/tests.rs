use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use stitch_common::cell::{Counter, Granularity};
use stitch_testkit::samples::{offsets, slot_at};

fn corrections() -> Vec<(Cell, Drift)> {
    let cell = Cell {
        counter: Counter::new("plays", "a\nb"),
        slot: slot_at(Granularity::Hour, 0),
    };
    let drift = Drift::between(Count(3), Count(5)).unwrap();
    vec![(cell.clone(), drift), (cell, drift)]
}

fn lines(journal: &Journal) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(journal.path()).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn each_correction_is_one_line_with_its_time_cell_counts_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::create(&folder.path().join("new"), "run").unwrap();
    let when = DateTime::from_timestamp(1, 0).unwrap();
    let cut = offsets(&[(0, 7)]);
    for first in [1, 3] {
        let id = journal.corrections(when, RangeId(3), &cut, &corrections());
        assert_eq!(id.unwrap(), CorrectionId(first));
    }
    let lines = lines(&journal);
    assert_eq!(lines.len(), 5);
    assert_eq!(
        (&lines[0]["line"], &lines[0]["format"]),
        (&"header".into(), &1.into())
    );
    assert_eq!(lines[0]["restoration"], "run");
    let entry = &lines[2];
    assert_eq!(
        (&entry["line"], &entry["id"]),
        (&"correction".into(), &2.into())
    );
    assert_eq!(entry["key"], "a\nb");
    assert_eq!(entry["delta"], -2);
    assert_eq!(entry["cut"]["0"], 7);
    assert_eq!(entry["bucket"], "1970-01-01T00:00:00Z");
    assert_eq!(entry["when"], "1970-01-01T00:00:01Z");
}

#[test]
fn an_outcome_names_its_correction_and_its_delta() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::create(folder.path(), "run").unwrap();
    let when = DateTime::from_timestamp(1, 0).unwrap();
    let outcomes = [
        (CorrectionId(1), CorrectionOutcome::NotSent, Amount(-2)),
        (CorrectionId(2), CorrectionOutcome::Applied, Amount(7)),
    ];
    journal.outcomes(when, outcomes).unwrap();
    journal.sync().unwrap();
    let last = lines(&journal).pop().unwrap();
    assert_eq!((&last["line"], &last["id"]), (&"outcome".into(), &2.into()));
    assert_eq!(
        (&last["outcome"], &last["delta"]),
        (&"applied".into(), &7.into())
    );
}

#[test]
fn a_journal_is_its_owners_alone_and_never_an_existing_file_or_link() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let journal = Journal::create(&made, "run").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&made), mode(journal.path())), (0o700, 0o600));
    let journal = Journal::create(folder.path(), "run").unwrap();
    assert_eq!(mode(journal.path()), 0o600);
    assert!(Journal::create(folder.path(), "run").is_err(), "it exists");
    let elsewhere = folder.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, folder.path().join("next.jsonl")).unwrap();
    assert!(Journal::create(folder.path(), "next").is_err(), "a link");
    assert!(!elsewhere.exists());
}

#[test]
fn a_line_that_a_full_disk_cut_short_does_not_spoil_the_next() {
    use std::rc::Rc;
    struct Small(Rc<RefCell<Vec<u8>>>, bool);
    impl Lines for Small {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            let is_full = std::mem::take(&mut self.1);
            let fits = if is_full { 9 } else { lines.len() };
            self.0.borrow_mut().extend(&lines[..fits]);
            if is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let written = Rc::default();
    let journal = Journal::new("j".into(), Box::new(Small(Rc::clone(&written), true)));
    let when = DateTime::from_timestamp(1, 0).unwrap();
    let outcome = [(CorrectionId(1), CorrectionOutcome::Unknown, Amount(1))];
    assert!(journal.outcomes(when, outcome).is_err());
    journal.outcomes(when, outcome).unwrap();
    let text = String::from_utf8(written.take()).unwrap();
    let last = text.lines().last().unwrap();
    let last: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["outcome"], "unknown");
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    struct Full;
    impl Lines for Full {
        fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let journal = Journal::new("j/run.jsonl".into(), Box::new(Full));
    let when = DateTime::from_timestamp(1, 0).unwrap();
    let refused = journal.corrections(when, RangeId(0), &offsets(&[]), &corrections());
    assert!(refused.unwrap_err().to_string().contains("j/run.jsonl"));
}

/// Notes what is done with a journal's storage, in order; what is to fail does.
#[derive(Clone, Default)]
struct Notes(std::rc::Rc<RefCell<Vec<&'static str>>>, bool);

impl Lines for Notes {
    fn append(&mut self, _lines: &[u8]) -> io::Result<()> {
        self.0.borrow_mut().push("append");
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.borrow_mut().push("sync");
        match self.1 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

#[test]
fn corrections_are_durable_before_any_of_them_may_be_sent() {
    let when = DateTime::from_timestamp(1, 0).unwrap();
    let notes = Notes::default();
    let journal = Journal::new("j".into(), Box::new(notes.clone()));
    journal
        .corrections(when, RangeId(0), &offsets(&[]), &corrections())
        .unwrap();
    assert_eq!(notes.0.take(), ["append", "sync"]);
    let failing = Journal::new("j".into(), Box::new(Notes(notes.0, true)));
    let refused = failing.corrections(when, RangeId(0), &offsets(&[]), &corrections());
    assert!(refused.is_err(), "they may be lost");
}

#[test]
fn a_new_journal_is_synced_and_so_is_every_folder_that_got_an_entry() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().unwrap();
    let outer = root.path().join("a");
    let folder = outer.join("b");
    let synced = RefCell::new(Vec::new());
    let note = |file: &File| {
        let metadata = file.metadata()?;
        assert!(
            metadata.is_dir() || metadata.len() > 0,
            "the header is written before"
        );
        synced.borrow_mut().push(metadata.ino());
        Ok(())
    };
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let journal = Journal::create_synced(&folder, "first", &note).unwrap();
    let expected = [journal.path(), &folder, &outer, root.path()].map(inode);
    assert_eq!(synced.take(), expected);
    let journal = Journal::create_synced(&folder, "second", &note).unwrap();
    assert_eq!(synced.take(), [journal.path(), &folder].map(inode));
    let failing = |file: &File| match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::Other.into()),
        false => Ok(()),
    };
    assert!(Journal::create_synced(&folder, "third", &failing).is_err());
}
