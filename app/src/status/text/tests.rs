use chrono::DateTime;

use stitch_common::checkpoint::{Ceiling, Checkpoint, StoredCheckpoint, Writer};
use stitch_common::member::MemberId;
use stitch_common::offset::{Offset, Partition};
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::checkpoint_node::PartitionSnapshot;
use stitch_protocol::doubt::DoubtCause;

use super::*;
use crate::status::{BackfillLine, TakeoverLine};

fn written(write: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn doubt(
    range: u16,
    cause: DoubtCause,
    second: i64,
    member: Option<i64>,
    detail: &str,
) -> DoubtLine {
    DoubtLine {
        range: RangeId(range),
        cause,
        since: DateTime::from_timestamp(second, 0).unwrap(),
        member: member.map(|session| MemberId::new(session, 0)),
        detail: detail.to_owned(),
    }
}

#[test]
fn doubts_are_shown_with_cause_time_member_and_detail_once_for_ranges_that_share_them() {
    let doubts = [
        doubt(
            3,
            DoubtCause::Takeover,
            60,
            Some(1),
            "partition 0, offsets 5 to 9",
        ),
        doubt(
            5,
            DoubtCause::Takeover,
            60,
            Some(1),
            "partition 0, offsets 5 to 9",
        ),
        doubt(5, DoubtCause::GivenUp, 120, Some(1), "a\u{9b}b"),
        doubt(
            7,
            DoubtCause::Takeover,
            61,
            Some(1),
            "partition 0, offsets 5 to 9",
        ),
        doubt(8, DoubtCause::Invariant, 0, None, "its record is damaged"),
    ];
    let member = MemberId::new(1, 0);
    let text = written(|out| super::doubts(&doubts, out));
    let mut lines = text.lines();
    let heading = lines.next().unwrap();
    assert!(
        heading.starts_with("doubts (") && heading.ends_with("):"),
        "{text}"
    );
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    let mut expected = [
        format!(
            "  takeover since 1970-01-01 00:01:00Z by {member}, ranges 3 5: partition 0, offsets 5 to 9"
        ),
        format!(
            "  takeover since 1970-01-01 00:01:01Z by {member}, range 7: partition 0, offsets 5 to 9"
        ),
        format!("  given-up since 1970-01-01 00:02:00Z by {member}, range 5: a\\u{{9b}}b"),
        "  invariant since 1970-01-01 00:00:00Z, range 8: its record is damaged".to_owned(),
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert!(written(|out| super::doubts(&[], out)).ends_with(": none\n"));
}

/// Counted below 5 in range 0 and below 9 in range 1; begun below 7 by member 1, who had found a ceiling of 6.
fn partition(holder: Option<i64>) -> PartitionSnapshot {
    let of = |range: RangeId| Offset(if range.0 == 0 { 5 } else { 9 });
    PartitionSnapshot {
        partition: Partition(3),
        checkpoint: Some(StoredCheckpoint {
            progress: Checkpoint::from_ranges(RangeBits::new(1).unwrap(), of),
            ceiling: Ceiling::At(Offset(7)),
            inherited: Ceiling::At(Offset(6)),
            writer: Some(Writer {
                member: MemberId::new(1, 0),
                sequence: 1,
            }),
        }),
        holder: holder.map(|session| MemberId::new(session, 0)),
        suspension: None,
    }
}

#[test]
fn a_takeover_that_is_pending_is_shown_with_partition_offsets_former_owner_and_ranges() {
    let bits = RangeBits::new(1).unwrap();
    let of = |holder| TakeoverLine::of(&partition(holder), bits);
    let former = MemberId::new(1, 0);
    let text = |holder| {
        let lines: Vec<_> = of(holder).into_iter().collect();
        let text = written(|out| super::super::takeover::write(&lines, out));
        text.lines().last().unwrap().to_owned()
    };
    let waiting = format!("  partition 3, offsets 5 to 7 by {former}, range 0");
    assert_eq!(text(None), waiting);
    assert_eq!(
        text(Some(2)),
        waiting,
        "its successor has written nothing yet"
    );
    // The owner records the doubts of what it found, up to 6.
    assert_eq!(text(Some(1)), "  partition 3, offsets 5 to 6, range 0");
    let json = serde_json::to_value(of(None).unwrap()).unwrap();
    assert_eq!(
        (&json["partition"], &json["begin"], &json["end"]),
        (&3.into(), &5.into(), &7.into())
    );
    assert_eq!(json["ranges"], serde_json::json!([0]));
    assert_eq!(json["member"], former.to_string());
    let mut clean = partition(None);
    clean.checkpoint.as_mut().unwrap().ceiling = Ceiling::AtCheckpoint;
    assert_eq!(TakeoverLine::of(&clean, bits), None);
    assert!(written(|out| super::super::takeover::write(&[], out)).ends_with(": none\n"));
}

#[test]
fn a_backfill_that_is_pending_is_shown_with_counter_time_ranges_and_what_ends_it() {
    let line = BackfillLine {
        counter: "likes".to_owned(),
        since: DateTime::from_timestamp(60, 0).unwrap(),
        ranges: [0, 1, 2, 7].map(RangeId).to_vec(),
    };
    let text = written(|out| super::super::backfill::write(std::slice::from_ref(&line), out));
    let expected = "  likes since 1970-01-01 00:01:00Z, ranges 0-2 7: \
                    `stitch-restorator run --now --counter likes` counts it";
    assert_eq!(text.lines().last(), Some(expected));
    assert_eq!(written(|out| super::super::backfill::write(&[], out)), "");
}
