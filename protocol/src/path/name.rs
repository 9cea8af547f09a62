//! The names of nodes that carry more than a number: places in lock queues, marks and requests, spelled and read.
//!
//! Places in the queue of a range are named as Apache Curator names them, so that its tools read them.

use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use super::super::marks::Mark;
use super::super::queue::{Contender, Guid, Kind, Sequence};
use super::super::requests::Request;

const CURATOR: &str = "_c_";
const READ: &str = "-__READ__";
const WRITE: &str = "-__WRIT__";
const LOCK: &str = "lock-";
const MARK: &str = "unsettled-";
/// Characters of a GUID.
const GUID: usize = 36;

/// The beginning of a name in the queue of a range: `_c_<guid>-__READ__` or `_c_<guid>-__WRIT__`. ZooKeeper adds the
/// sequence.
#[must_use]
pub(in super::super) fn range_place(guid: Guid, kind: Kind) -> String {
    let infix = match kind {
        Kind::Shared => READ,
        Kind::Exclusive => WRITE,
    };
    format!("{CURATOR}{guid}{infix}")
}

/// The beginning of a name in the queue for a lock that is exclusive only: `lock-<guid>-`.
#[must_use]
pub(in super::super) fn exclusive_place(guid: Guid) -> String {
    format!("{LOCK}{guid}-")
}

/// Reads the name of a place in a queue; `None` if it is something else (a mark, progress, a record).
#[must_use]
pub(in super::super) fn read_place(name: &str) -> Option<Contender> {
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

/// `unsettled-<session>-<n>`
#[must_use]
pub(in super::super) fn mark(mark: &Mark) -> String {
    format!("{MARK}{}-{}", mark.member, mark.number)
}

/// Reads the name of a mark of `range`.
#[must_use]
pub(in super::super) fn read_mark(range: RangeId, name: &str) -> Option<Mark> {
    let (member, number) = name.strip_prefix(MARK)?.split_once('-')?;
    let read = Mark {
        range,
        member: MemberId::from_node_name(member)?,
        number: number.parse().ok()?,
    };
    (mark(&read) == name).then_some(read)
}

/// `<r>-<seq of the WRIT node>`
#[must_use]
pub(in super::super) fn request(request: Request) -> String {
    format!("{}-{}", request.range, request.sequence)
}

/// Reads the name of a request.
#[must_use]
pub(in super::super) fn read_request(name: &str) -> Option<Request> {
    let (range, sequence) = name.split_once('-')?;
    Some(Request {
        range: super::range_of(range)?,
        sequence: Sequence::parse(sequence)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guid() -> Guid {
        Guid::new(0x0123_4567_89ab_cdef, 7)
    }

    #[test]
    fn places_are_spelled_as_curator_spells_them() {
        let sequence = Sequence::new(12);
        let table = [
            (
                range_place(guid(), Kind::Shared),
                Kind::Shared,
                "_c_01234567-89ab-cdef-0000-000000000007-__READ__0000000012",
            ),
            (
                range_place(guid(), Kind::Exclusive),
                Kind::Exclusive,
                "_c_01234567-89ab-cdef-0000-000000000007-__WRIT__0000000012",
            ),
            (
                exclusive_place(guid()),
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
            assert_eq!(read_place(&name), Some(read));
        }
    }

    #[test]
    fn what_does_not_queue_is_no_place() {
        let others = [
            "",
            "progress",
            "_c_",
            "lock-",
            "lock-x",
            "unsettled-0123456789abcdef-4",
            "20260801T000000000Z-0123456789abcdef",
            "_c_01234567-89ab-cdef-0000-000000000007-__READ__",
            "_c_01234567-89ab-cdef-0000-000000000007-__READ__12",
            "_c_01234567-89ab-cdef-0000-000000000007-__OTHR__0000000012",
            "_c_01234567-89ab-cdef-0000-00000000000x-__READ__0000000012",
            "lock-01234567-89ab-cdef-0000-000000000007-+000000012",
            "_c_äääääääääääääääääääääää",
        ];
        for name in others {
            assert_eq!(read_place(name), None, "{name}");
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let written = Mark {
            range: RangeId(7),
            member: MemberId::of_session(-5),
            number: 12,
        };
        assert_eq!(mark(&written), "unsettled-fffffffffffffffb-12");
        assert_eq!(read_mark(RangeId(7), &mark(&written)), Some(written));
        let others = [
            "unsettled-",
            "unsettled-00-1",
            "_c_x",
            "unsettled-0000000000000001-",
            "unsettled-0000000000000001-01",
        ];
        for name in others {
            assert_eq!(read_mark(RangeId(7), name), None, "{name}");
        }
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for number in [0, 7, i32::MAX, i32::MIN, -1] {
            let written = Request {
                range: RangeId(4095),
                sequence: Sequence::new(number),
            };
            assert_eq!(read_request(&request(written)), Some(written));
        }
        for name in ["", "3", "3-", "x-0000000001", "3-1", "-0000000001"] {
            assert_eq!(read_request(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_reading_panic(name in "\\PC{0,60}") {
            for prefix in ["", CURATOR, LOCK, MARK, "1-"] {
                let name = format!("{prefix}{name}");
                let _place = read_place(&name);
                let _mark = read_mark(RangeId(0), &name);
                let _request = read_request(&name);
            }
        }
    }
}
