//! Takeovers that are pending: what a member that ended early had begun, until a successor counts on and records its doubts.

use std::io::{self, Write};

use serde::Serialize;
use stitch_common::member::MemberId;
use stitch_common::offset::{Offset, Partition};
use stitch_common::range::{RangeBits, RangeId};
use stitch_protocol::checkpoint_node::PartitionSnapshot;

/// Events of a partition that its former owner may have applied, while no checkpoint and no doubt says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TakeoverLine {
    pub partition: Partition,
    /// The first of the events.
    pub begin: Offset,
    /// The offset after the last of them.
    pub end: Offset,
    /// The former owner; none if its successor has written a checkpoint since.
    pub member: Option<MemberId>,
    /// The ranges in which it may have applied some of them.
    pub ranges: Vec<RangeId>,
}

impl TakeoverLine {
    pub(super) fn of(partition: &PartitionSnapshot, bits: RangeBits) -> Option<Self> {
        let (checkpoint, end) = partition.pending_takeover()?;
        let concerned = bits.ranges().filter(|range| checkpoint.of(*range) < end);
        let ranges: Vec<RangeId> = concerned.collect();
        let begin = ranges.iter().map(|range| checkpoint.of(*range)).min()?;
        let stored = partition.checkpoint.as_ref();
        let writer = stored.and_then(|stored| stored.writer.as_ref());
        let former = writer.map(|writer| &writer.member);
        Some(Self {
            partition: partition.partition,
            begin,
            end,
            member: former
                .filter(|former| partition.holder.as_ref() != Some(*former))
                .cloned(),
            ranges,
        })
    }
}

impl TakeoverLine {
    /// Which events, and whose.
    #[must_use]
    pub fn detail(&self) -> String {
        let by = self.member.as_ref();
        let by = by.map_or_else(String::new, |member| format!(" by {member}"));
        let Self {
            partition,
            begin,
            end,
            ..
        } = self;
        format!("partition {partition}, offsets {begin} to {end}{by}")
    }
}

pub(super) fn write(takeovers: &[TakeoverLine], out: &mut dyn Write) -> io::Result<()> {
    super::text::section(
        "takeovers pending (what a member that ended early had begun, until a successor counts on)",
        takeovers.is_empty(),
        out,
    )?;
    for line in takeovers {
        let word = if line.ranges.len() == 1 {
            "range"
        } else {
            "ranges"
        };
        let ranges: Vec<_> = line.ranges.iter().map(ToString::to_string).collect();
        writeln!(out, "  {}, {word} {}", line.detail(), ranges.join(" "))?;
    }
    Ok(())
}
