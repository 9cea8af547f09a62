//! Restorations, locks, members, doubts, in-doubt markers and partitions as tables.

use std::collections::BTreeMap;

use maud::{Markup, html};
use stitch_app::status::{
    DoubtLine, LockKind, MemberLine, RestorationLine, RestorationOutcome, Status,
};
use stitch_common::member::MemberId;
use stitch_common::range::RangeId;

use super::map::intervals;
use super::time;
use crate::page::number;

/// A table with `rows`, or with the word "none".
fn table(title: &str, columns: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.panel.scroll tabindex="0" role="region" aria-label=(title) {
            table {
                caption { (title) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody {
                    @for row in rows { tr {
                        @for (index, cell) in row.iter().enumerate() {
                            @if index == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                        }
                    } }
                    @if rows.is_empty() { tr { th scope="row" colspan=(columns.len()) { "none" } } }
                }
            }
        }
    }
}

/// The running restoration with its progress, and the past ones.
pub(super) fn restorations(status: &Status) -> Markup {
    let running = status.restoring.as_ref();
    let line = status.restorations.iter().find(|line| {
        matches!(
            line.outcome,
            RestorationOutcome::Running | RestorationOutcome::Paused
        )
    });
    html! {
        section.panel aria-labelledby="running" {
            @match running {
                None => { h2 id="running" { "No restoration is running" } }
                Some(holder) => {
                    h2 id="running" { "A restoration is running" }
                    p { "Process " (holder.process_id) " on " (holder.host) ", since " (time(holder.started)) }
                    @if let Some(line) = line { (progress(line)) }
                }
            }
            @for line in status.control.lines() { p { "It is " (line) } }
        }
        (past(status))
    }
}

fn progress(line: &RestorationLine) -> Markup {
    let done = line.ranges_verified + line.ranges_unverified;
    html! {
        label {
            (done) " of " (line.ranges_in_scope) " ranges are done, "
            (number(i64::try_from(line.cells_corrected).ok())) " cells corrected"
            progress max=(line.ranges_in_scope) value=(done) {}
        }
    }
}

fn past(status: &Status) -> Markup {
    let columns = [
        "Started",
        "Ended",
        "Outcome",
        "Scope",
        "Ranges verified",
        "Unverified",
        "Cells corrected",
        "Host",
    ];
    let row = |line: &RestorationLine| {
        vec![
            time(line.started),
            line.ended.map_or_else(|| "–".to_owned(), time),
            line.outcome.to_string().replace('_', " "),
            line.scope.to_string(),
            line.ranges_verified.to_string(),
            line.ranges_unverified.to_string(),
            number(i64::try_from(line.cells_corrected).ok()),
            line.host.clone(),
        ]
    };
    let rows: Vec<_> = status.restorations.iter().map(row).collect();
    table("Restorations, the latest first", &columns, &rows)
}

/// Exclusive locks, held or waiting: shared ones are the rule, and are on the map.
pub(super) fn locks(status: &Status) -> Markup {
    let exclusive = status
        .locks
        .iter()
        .filter(|lock| lock.kind == LockKind::Exclusive);
    let rows: Vec<_> = exclusive
        .map(|lock| {
            vec![
                lock.range.to_string(),
                lock.state.to_string(),
                lock.member.to_string(),
                lock.since.map_or_else(|| "–".to_owned(), time),
            ]
        })
        .collect();
    table(
        "Exclusive locks",
        &["Range", "State", "Member", "Since"],
        &rows,
    )
}

pub(super) fn members(title: &str, members: &[MemberLine]) -> Markup {
    let row = |line: &MemberLine| {
        vec![
            line.member.to_string(),
            line.role.to_string(),
            line.host.clone(),
            line.process_id.to_string(),
            time(line.started),
            line.version.clone(),
        ]
    };
    let rows: Vec<_> = members.iter().map(row).collect();
    let columns = ["Member", "Role", "Host", "Process", "Since", "Version"];
    table(title, &columns, &rows)
}

/// Grouped by member: members are few, ranges are many.
pub(super) fn markers(status: &Status) -> Markup {
    let mut ranges: BTreeMap<&MemberId, Vec<RangeId>> = BTreeMap::new();
    for marker in &status.in_doubt_markers {
        ranges.entry(&marker.member).or_default().push(marker.range);
    }
    let rows: Vec<_> = ranges
        .into_iter()
        .map(|(member, mut ranges)| {
            ranges.sort_unstable();
            ranges.dedup();
            vec![member.to_string(), intervals(&ranges)]
        })
        .collect();
    table(
        "In-doubt markers: requests whose outcome is unknown",
        &["Member", "Ranges"],
        &rows,
    )
}

/// Grouped by cause and member: ranges are many.
pub(super) fn doubts(status: &Status) -> Markup {
    let mut groups: BTreeMap<_, Vec<&DoubtLine>> = BTreeMap::new();
    for doubt in &status.doubts {
        let group = (doubt.cause, doubt.member.as_ref());
        groups.entry(group).or_default().push(doubt);
    }
    let mut rows: Vec<_> = groups
        .into_iter()
        .map(|((cause, member), doubts)| {
            let ranges: Vec<RangeId> = doubts.iter().map(|doubt| doubt.range).collect();
            let since = doubts.iter().map(|doubt| doubt.since).min();
            let detail = doubts.first().map(|doubt| doubt.detail.clone());
            vec![
                intervals(&ranges),
                cause.to_string(),
                since.map_or_else(|| "–".to_owned(), time),
                member.map_or_else(|| "–".to_owned(), ToString::to_string),
                detail.unwrap_or_default(),
            ]
        })
        .collect();
    rows.extend(status.takeovers_pending.iter().map(|line| {
        let [pending, none] = ["takeover pending", "–"].map(str::to_owned);
        vec![
            intervals(&line.ranges),
            pending,
            none.clone(),
            none,
            line.detail(),
        ]
    }));
    rows.extend(status.backfills_pending.iter().map(|line| {
        let cause = format!("backfill of {} pending", line.counter);
        let ranges = intervals(&line.ranges);
        vec![ranges, cause, time(line.since), "–".to_owned(), line.help()]
    }));
    table(
        "Doubts: counts may be wrong until a restoration verifies them",
        &["Ranges", "Cause", "Since", "Recorded by", "For example"],
        &rows,
    )
}

pub(super) fn partitions(status: &Status) -> Markup {
    let rows: Vec<_> = status
        .partitions
        .iter()
        .map(|line| {
            let member = line.member.as_ref();
            vec![
                line.partition.to_string(),
                number(line.lowest.map(|offset| offset.0)),
                number(line.highest.map(|offset| offset.0)),
                member.map_or_else(|| "–".to_owned(), ToString::to_string),
                line.suspended.as_ref().map_or_else(String::new, |why| {
                    format!("suspended: {}. {}", why.message, why.help)
                }),
            ]
        })
        .collect();
    let columns = [
        "Partition",
        "Counted below",
        "In some ranges below",
        "Held by",
        "Not counted because",
    ];
    table("Partitions", &columns, &rows)
}
