//! Spells and parses the names of nodes that carry more than a number: lock entries, in-doubt markers, revocation
//! requests and doubts.
//!
//! Entries in the queue of a range are named as Apache Curator names them, so that its tools can read them.

use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use crate::contender::{Contender, Guid, Kind, Sequence};

const CURATOR: &str = "_c_";
const READ: &str = "-__READ__";
const WRITE: &str = "-__WRIT__";
const LOCK: &str = "lock-";
const MARKER: &str = "in-doubt-";
/// The length of a GUID in characters.
const GUID: usize = 36;

/// The prefix of an entry in the queue of a range: `_c_<guid>-__READ__` or `_c_<guid>-__WRIT__`. ZooKeeper adds the
/// sequence.
#[must_use]
pub(crate) fn range_entry(guid: Guid, kind: Kind) -> String {
    let infix = match kind {
        Kind::Shared => READ,
        Kind::Exclusive => WRITE,
    };
    format!("{CURATOR}{guid}{infix}")
}

/// The prefix of an entry in the queue of a lock that is exclusive only: `lock-<guid>-`.
#[must_use]
pub fn exclusive_entry(guid: Guid) -> String {
    format!("{LOCK}{guid}-")
}

/// Parses the name of a lock entry; `None` if it is another node (a marker, a checkpoint, a record).
#[must_use]
pub fn read_entry(name: &str) -> Option<Contender> {
    let (rest, kinds): (&str, &[(&str, Kind)]) = match name.strip_prefix(CURATOR) {
        Some(rest) => (rest, &[(READ, Kind::Shared), (WRITE, Kind::Exclusive)]),
        None => (name.strip_prefix(LOCK)?, &[("-", Kind::Exclusive)]),
    };
    let (guid, rest) = rest.split_at_checked(GUID)?;
    let (digits, kind) = kinds
        .iter()
        .find_map(|(infix, kind)| Some((rest.strip_prefix(infix)?, *kind)))?;
    Some(Contender {
        guid: Guid::parse(guid)?,
        kind,
        sequence: Sequence::parse(digits)?,
    })
}

/// `in-doubt-<member>-<n>`
#[must_use]
pub(crate) fn marker(member: &MemberId, number: u64) -> String {
    format!("{MARKER}{member}-{number}")
}

/// Parses the name of an in-doubt marker: its member and its number.
#[must_use]
pub(crate) fn read_marker(name: &str) -> Option<(MemberId, u64)> {
    let (member, number) = name.strip_prefix(MARKER)?.rsplit_once('-')?;
    let (member, number) = (MemberId::from_node_name(member)?, number.parse().ok()?);
    (marker(&member, number) == name).then_some((member, number))
}

/// `<r>-<seq of the WRIT node>`
#[must_use]
pub(crate) fn request(range: RangeId, sequence: Sequence) -> String {
    format!("{range}-{sequence}")
}

/// Parses the name of a revocation request: its range, and the sequence of the exclusive lock that waits.
#[must_use]
pub(crate) fn read_request(name: &str) -> Option<(RangeId, Sequence)> {
    let (range, sequence) = name.split_once('-')?;
    Some((super::range_of(range)?, Sequence::parse(sequence)?))
}

/// Parses the name of a doubt: its range, and the name of its cause.
#[must_use]
pub(crate) fn read_doubt(name: &str) -> Option<(RangeId, &str)> {
    let (range, cause) = name.split_once('-')?;
    Some((super::range_of(range)?, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guid() -> Guid {
        Guid::new(0x0123_4567_89ab_cdef, 7)
    }

    #[test]
    fn lock_entries_are_spelled_as_curator_spells_them() {
        let sequence = Sequence::new(12);
        let table = [
            (
                range_entry(guid(), Kind::Shared),
                Kind::Shared,
                "_c_01234567-89ab-cdef-0000-000000000007-__READ__0000000012",
            ),
            (
                range_entry(guid(), Kind::Exclusive),
                Kind::Exclusive,
                "_c_01234567-89ab-cdef-0000-000000000007-__WRIT__0000000012",
            ),
            (
                exclusive_entry(guid()),
                Kind::Exclusive,
                "lock-01234567-89ab-cdef-0000-000000000007-0000000012",
            ),
        ];
        for (prefix, kind, expected) in table {
            let name = format!("{prefix}{sequence}");
            assert_eq!(name, expected);
            let read = Contender {
                guid: guid(),
                kind,
                sequence,
            };
            assert_eq!(read_entry(&name), Some(read));
        }
    }

    #[test]
    fn names_of_other_nodes_are_not_parsed_as_lock_entries() {
        let others = [
            "",
            "checkpoint",
            "_c_",
            "lock-",
            "lock-x",
            "in-doubt-0123456789abcdef-0000000000000001-4",
            "20260801T000000000Z-0123456789abcdef-0000000000000001",
            "_c_01234567-89ab-cdef-0000-000000000007-__READ__",
            "_c_01234567-89ab-cdef-0000-000000000007-__READ__12",
            "_c_01234567-89ab-cdef-0000-000000000007-__OTHR__0000000012",
            "_c_01234567-89ab-cdef-0000-00000000000x-__READ__0000000012",
            "lock-01234567-89ab-cdef-0000-000000000007-+000000012",
            "_c_äääääääääääääääääääääää",
        ];
        for name in others {
            assert_eq!(read_entry(name), None, "{name}");
        }
    }

    #[test]
    fn a_marker_is_parsed_as_it_was_spelled() {
        let member = MemberId::new(-5, 0);
        let name = marker(&member, 12);
        assert_eq!(name, "in-doubt-fffffffffffffffb-0000000000000000-12");
        assert_eq!(read_marker(&name), Some((member, 12)));
        let others = [
            "in-doubt-",
            "in-doubt-00-1",
            "_c_x",
            "in-doubt-0000000000000001-1",
            "in-doubt-0000000000000001-0000000000000001-",
            "in-doubt-0000000000000001-0000000000000001-01",
        ];
        for name in others {
            assert_eq!(read_marker(name), None, "{name}");
        }
    }

    #[test]
    fn a_request_is_parsed_as_it_was_spelled() {
        for number in [0, 7, i32::MAX, i32::MIN, -1] {
            let (range, sequence) = (RangeId(4095), Sequence::new(number));
            assert_eq!(
                read_request(&request(range, sequence)),
                Some((range, sequence))
            );
        }
        for name in ["", "3", "3-", "x-0000000001", "3-1", "-0000000001"] {
            assert_eq!(read_request(name), None, "{name}");
        }
    }

    #[test]
    fn a_doubt_is_parsed_as_it_was_spelled() {
        assert_eq!(
            read_doubt("4095-given-up"),
            Some((RangeId(4095), "given-up"))
        );
        for name in ["", "3", "x-takeover", "03-takeover", "-takeover"] {
            assert_eq!(read_doubt(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_names_are_parsed_without_panic(name in "\\PC{0,60}") {
            for prefix in ["", CURATOR, LOCK, MARKER, "1-"] {
                let name = format!("{prefix}{name}");
                let _entry = read_entry(&name);
                let _marker = read_marker(&name);
                let _request = read_request(&name);
                let _doubt = read_doubt(&name);
            }
        }
    }
}
