//! Names of nodes in ZooKeeper, and of members in Cassandra's list of clients.

use stitch_common::member::MemberId;
use stitch_protocol::path::name::read_entry;
use stitch_protocol::queue::{Position, position};

/// Any names are a queue: who waits, waits for another place in it.
pub(crate) fn queue(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names: Vec<String> = text.split('/').map(str::to_owned).collect();
    for name in &names {
        if let Position::Behind(other) = position(&names, name) {
            assert!(read_entry(name).is_some() && read_entry(other).is_some());
            assert_ne!(other, name);
        }
    }
}

/// A member's name is read as it is written, or not at all.
pub(crate) fn member(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(member) = MemberId::from_node_name(&text) {
        assert_eq!(member.to_string(), text);
    }
}
