//! Names of nodes in ZooKeeper, and of members in Cassandra's table of clients.

use stitch_common::member::MemberId;
use stitch_protocol::path::name::read_entry;
use stitch_protocol::queue::{Position, position};

/// Any names are a lock queue: an entry that waits, waits for another entry of it.
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

/// The name of a member node is parsed to the member that writes it, or not at all.
pub(crate) fn member(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(member) = MemberId::from_node_name(&text) {
        assert_eq!(member.to_string(), text);
    }
}
