//! The map of the ranges: one field per range, in the order of their tokens, and a legend that lists the ranges of each
//! kind.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use stitch_app::status::{LockKind, LockLine, LockState, Status};
use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use crate::freshness::{Freshness, State};

/// The kind of a range; of several that apply, the first is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Restoring,
    Locked,
    Uncertain,
    Unknown,
    Lagging,
    Idle,
    Counting,
}

impl Field {
    const EVERY: [Self; 7] = [
        Self::Counting,
        Self::Idle,
        Self::Lagging,
        Self::Uncertain,
        Self::Locked,
        Self::Restoring,
        Self::Unknown,
    ];

    /// The CSS class; `assets/operator.css` has its colour and sign.
    const fn class(self) -> &'static str {
        match self {
            Self::Restoring => "restoring",
            Self::Locked => "locked",
            Self::Uncertain => "uncertain",
            Self::Unknown => "unknown",
            Self::Lagging => "lagging",
            Self::Idle => "idle",
            Self::Counting => "counting",
        }
    }

    const fn word(self) -> &'static str {
        if matches!(self, Self::Restoring) {
            "being restored"
        } else {
            self.class()
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Restoring => "locked by the running restoration, new events wait",
            Self::Locked => "an exclusive lock is requested, or held by no running restoration",
            Self::Uncertain => "counts may be wrong until a restoration verifies them",
            Self::Unknown => "ZooKeeper or Kafka does not answer",
            Self::Lagging => "events have been waiting for too long",
            Self::Idle => "no events to count, so no processor holds it",
            Self::Counting => "held by a processor",
        }
    }
}

/// The ranges that the status names, by what it says of them.
#[derive(Debug, Default)]
struct View {
    restored: BTreeSet<RangeId>,
    locked: BTreeSet<RangeId>,
    /// Why counts are uncertain.
    uncertain: BTreeMap<RangeId, Vec<String>>,
    counted: BTreeSet<RangeId>,
    /// A dead member may have left requests in doubt in any range.
    dead_members: bool,
}

impl View {
    fn of(status: &Status) -> Self {
        let restorer = status.restoring.as_ref().map(|holder| &holder.member);
        let mut view = Self {
            locked: status.revocation_requests.iter().copied().collect(),
            uncertain: status.reasons(),
            dead_members: !status.dead_members.is_empty(),
            ..Self::default()
        };
        for lock in &status.locks {
            view.add(lock, restorer);
        }
        view
    }

    fn add(&mut self, lock: &LockLine, restorer: Option<&MemberId>) {
        let held = lock.state == LockState::Held;
        let ranges = match lock.kind {
            LockKind::Shared if held => &mut self.counted,
            LockKind::Shared => return,
            LockKind::Exclusive if held && restorer == Some(&lock.member) => &mut self.restored,
            LockKind::Exclusive => &mut self.locked,
        };
        ranges.insert(lock.range);
    }

    /// Why counts of the range are uncertain, for its field.
    fn reasons(&self, range: RangeId) -> String {
        let mut reasons = self.uncertain.get(&range).cloned().unwrap_or_default();
        if self.dead_members {
            reasons.insert(0, "dead member".to_owned());
        }
        reasons.dedup();
        reasons.join(", ")
    }

    fn field(&self, range: RangeId, freshness: State) -> Field {
        if self.restored.contains(&range) {
            return Field::Restoring;
        }
        if self.locked.contains(&range) {
            return Field::Locked;
        }
        if self.dead_members || self.uncertain.contains_key(&range) {
            return Field::Uncertain;
        }
        match freshness {
            State::Unknown => Field::Unknown,
            State::Lagging => Field::Lagging,
            // The status is more recent and says more about locks and doubts.
            State::Batch | State::Live | State::Uncertain | State::Restoring => {
                if self.counted.contains(&range) {
                    Field::Counting
                } else {
                    Field::Idle
                }
            }
        }
    }
}

/// Renders the map; `freshness` says which ranges lag.
pub(super) fn ranges(status: &Status, freshness: impl Fn(RangeId) -> Freshness) -> Markup {
    let view = View::of(status);
    let ranges = (0..status.ranges).map(RangeId);
    let fields: Vec<(RangeId, Field)> = ranges
        .map(|range| (range, view.field(range, freshness(range).state)))
        .collect();
    let of = |field| {
        let same = fields.iter().filter(move |(_, other)| *other == field);
        same.map(|(range, _)| *range).collect::<Vec<_>>()
    };
    html! {
        section.panel aria-labelledby="ranges" {
            h2 id="ranges" { (fields.len()) " ranges" }
            ul.legend role="list" {
                @for field in Field::EVERY {
                    @let ranges = of(field);
                    li class=(field.class()) data-ranges=(ranges.len()) {
                        b { (ranges.len()) " " (field.word()) } ": " (field.meaning())
                        @if !ranges.is_empty() { " · " span.which { (intervals(&ranges)) } }
                    }
                }
            }
            div.field tabindex="0" role="region" aria-label="Map of the ranges, in the order of their tokens" {
                ol.map role="list" {
                    @for (range, field) in &fields {
                        @let reasons = view.reasons(*range);
                        @if reasons.is_empty() {
                            li class=(field.class()) { (range) span { " " (field.word()) } }
                        } @else {
                            li class=(field.class()) title=(reasons) { (range) span { " " (field.word()) ": " (reasons) } }
                        }
                    }
                }
            }
        }
    }
}

/// `0–3 7`: consecutive ranges are written as an interval.
pub(super) fn intervals(ranges: &[RangeId]) -> String {
    let mut intervals: Vec<(u16, u16)> = Vec::new();
    for RangeId(range) in ranges {
        match intervals.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*range) => *last = *range,
            _ => intervals.push((*range, *range)),
        }
    }
    let texts = intervals.into_iter().map(|(first, last)| match last {
        last if last == first => first.to_string(),
        last => format!("{first}–{last}"),
    });
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
