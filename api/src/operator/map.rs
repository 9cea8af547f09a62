//! The ranges as a map: a field each, in the order of their tokens, with a legend that names the ranges of every kind.

use std::collections::BTreeSet;

use maud::{Markup, html};
use stitch_app::status::{LockKind, LockLine, LockState, Status};
use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use crate::freshness::{Freshness, State};

/// How it stands with a range, for whoever looks after all of them; the first that holds is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Restoring,
    Locked,
    Unproved,
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
        Self::Unproved,
        Self::Locked,
        Self::Restoring,
        Self::Unknown,
    ];

    /// Its class: colour and sign stand in `assets/operator.css`.
    const fn class(self) -> &'static str {
        match self {
            Self::Restoring => "restoring",
            Self::Locked => "locked",
            Self::Unproved => "unproved",
            Self::Unknown => "unknown",
            Self::Lagging => "lagging",
            Self::Idle => "idle",
            Self::Counting => "counting",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Restoring => "being restored",
            Self::Locked => "locked",
            Self::Unproved => "not proved",
            Self::Unknown => "unknown",
            Self::Lagging => "lagging",
            Self::Idle => "idle",
            Self::Counting => "counting",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Restoring => "a restoration has it locked, new events wait",
            Self::Locked => "an exclusive lock is asked for, or held by no restoration",
            Self::Unproved => "something may have made it wrong, until a restoration proves it",
            Self::Unknown => "ZooKeeper or Kafka cannot be asked how far it is",
            Self::Lagging => "events have been waiting for long",
            Self::Idle => "nothing to count in it, so no processor has taken it",
            Self::Counting => "a processor has it",
        }
    }
}

/// What is seen of ranges.
#[derive(Debug, Default)]
struct View {
    restored: BTreeSet<RangeId>,
    locked: BTreeSet<RangeId>,
    unverified: BTreeSet<RangeId>,
    counted: BTreeSet<RangeId>,
    /// A member that is gone may have left something anywhere.
    dead_members: bool,
}

impl View {
    fn of(status: &Status) -> Self {
        let restorer = status.restoring.as_ref().map(|holder| &holder.member);
        let mut view = Self {
            locked: status.revocation_requests.iter().copied().collect(),
            unverified: status.unverified.clone(),
            dead_members: !status.dead_members.is_empty(),
            ..Self::default()
        };
        view.unverified
            .extend(status.in_doubt_markers.iter().map(|marker| marker.range));
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

    fn field(&self, range: RangeId, told: State) -> Field {
        if self.restored.contains(&range) {
            return Field::Restoring;
        }
        if self.locked.contains(&range) {
            return Field::Locked;
        }
        if self.dead_members || self.unverified.contains(&range) {
            return Field::Unproved;
        }
        match told {
            State::Unknown => Field::Unknown,
            State::Lagging => Field::Lagging,
            // Of locks and doubts more is seen here, and later.
            State::Live | State::Uncertain | State::Restoring => {
                if self.counted.contains(&range) {
                    Field::Counting
                } else {
                    Field::Idle
                }
            }
        }
    }
}

/// The map, with what is told of how far each range is.
pub(super) fn ranges(status: &Status, told: impl Fn(RangeId) -> Freshness) -> Markup {
    let view = View::of(status);
    let ranges = (0..status.ranges).map(RangeId);
    let fields: Vec<(RangeId, Field)> = ranges
        .map(|range| (range, view.field(range, told(range).state)))
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
                        li class=(field.class()) { (range) span { " " (field.word()) } }
                    }
                }
            }
        }
    }
}

/// `0–3 7`: ranges that are next to each other are told together.
pub(super) fn intervals(ranges: &[RangeId]) -> String {
    let mut intervals: Vec<(u16, u16)> = Vec::new();
    for RangeId(range) in ranges {
        match intervals.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*range) => *last = *range,
            _ => intervals.push((*range, *range)),
        }
    }
    let told = intervals.into_iter().map(|(first, last)| match last {
        last if last == first => first.to_string(),
        last => format!("{first}–{last}"),
    });
    told.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
