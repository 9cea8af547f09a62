//! Damaged ZooKeeper nodes: each is reported by name with help, and nothing is corrected.

use stitch_common::member::MemberId;
use stitch_common::offset::Partition;
use stitch_common::output::{Exit, Report};
use stitch_common::ports::Fingerprint;
use stitch_common::user_error::UserError;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope::Payload;
use stitch_protocol::membership::MemberRecord;
use stitch_protocol::path::Paths;
use stitch_protocol::restoration::LockHolder;

use crate::options::Limits;
use crate::testing::world::{Fake, OTHER};

/// Contents of a damaged node: empty, incomplete, one character changed, written by a later version.
fn damages(data: &[u8]) -> Vec<Vec<u8>> {
    let mut flipped = data.to_vec();
    if let Some(byte) = flipped.first_mut() {
        *byte ^= 1;
    }
    let json = br#"{"format":999,"body":{}}"#;
    let mut newer = json.to_vec();
    newer.extend_from_slice(format!(" {:08x}", crc32fast::hash(json)).as_bytes());
    vec![Vec::new(), b"{}".to_vec(), flipped, newer]
}

fn refused(fake: &Fake) -> UserError {
    match fake.run(Limits::default()) {
        Err(failure) => failure,
        Ok(report) => {
            assert_ne!(report.exit(), Exit::Success, "the damage was not noticed");
            report.error().expect("a run that failed says why").clone()
        }
    }
}

/// A namespace with a wrong cell.
fn namespace() -> Fake {
    let fake = Fake::with_plays(&["a"]);
    fake.dead_member();
    fake.hold("a", 5);
    fake
}

/// Damages one node in each of these ways, and expects it to be reported by name.
fn damaged(path: &str, help: &str) {
    let whole = namespace();
    let node = whole.zookeeper.borrow().tree.get(path).cloned();
    for data in damages(&node.map_or_else(|| b"x".to_vec(), |node| node.data)) {
        let fake = namespace();
        fake.put(path, &data);
        let failure = refused(&fake);
        let text = format!("{} {}", failure.message, failure.help);
        assert!(text.contains(path) && text.contains(help), "{text}");
        assert_eq!((fake.held("a"), fake.times("increment")), (5, 0), "{path}");
        assert!(!fake.exists("__WRIT__"), "{path}");
    }
}

#[test]
fn a_damaged_definition_is_reported_and_nothing_is_corrected() {
    let path = Paths::new("n").definition();
    damaged(&path, NamespaceRecord::HELP);
}

#[test]
fn a_damaged_member_is_reported_and_nothing_is_corrected() {
    let path = Paths::new("n").member(&MemberId::new(OTHER, 0));
    damaged(&path, MemberRecord::HELP);
}

#[test]
fn a_damaged_checkpoint_is_reported_and_nothing_is_corrected() {
    let path = Paths::new("n").checkpoint(Partition(0));
    damaged(&path, "A checkpoint is lost");
}

#[test]
fn a_damaged_first_record_is_reported_and_nothing_is_corrected() {
    let path = Paths::new("n").first_record(Partition(0));
    damaged(&path, Fingerprint::HELP);
}

#[test]
fn a_damaged_holder_of_the_restoration_lock_is_reported_and_nothing_is_corrected() {
    let directory = Paths::new("n").restorations();
    let path = format!("{directory}/lock-00000000-0000-0000-0000-000000000000-0000000000");
    damaged(&path, LockHolder::HELP);
}

/// Records of past restorations are for people: no count depends on them.
#[test]
fn a_damaged_record_of_a_restoration_is_reported_and_does_not_stop_the_run() {
    let fake = Fake::with_plays(&["a"]);
    fake.hold("a", 5);
    let path = format!("{}/20260101T000000000Z-x", Paths::new("n").restorations());
    fake.put(&path, b"damaged");
    let report = fake.run(Limits::default()).unwrap();
    assert_eq!((report.outcome(), fake.held("a")), ("verified", 1));
    let names_it = |note: &String| note.contains(&path) && note.contains("by hand");
    assert!(report.notes.iter().any(names_it), "{:?}", report.notes);
}
