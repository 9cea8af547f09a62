//! The status as text.

use std::collections::BTreeMap;
use std::io::{self, Write};

use chrono::{DateTime, Utc};

use stitch_common::printable::printable;

use super::{DoubtLine, LockKind, LockLine, MemberLine, RestorationLine, Status};

pub(super) fn write(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "namespace {}: generation {}, counters {}",
        status.namespace,
        status.generation,
        status.counters.join(" ")
    )?;
    members(&status.members, "members", out)?;
    members(
        &status.dead_members,
        "dead members (their requests may still be in flight)",
        out,
    )?;
    partitions(status, out)?;
    super::takeover::write(&status.takeovers_pending, out)?;
    super::backfill::write(&status.backfills_pending, out)?;
    locks(&status.locks, out)?;
    section("in-doubt markers", status.in_doubt_markers.is_empty(), out)?;
    for marker in &status.in_doubt_markers {
        writeln!(
            out,
            "  range {:<5} {} number {}",
            marker.range.0, marker.member, marker.number
        )?;
    }
    if !status.revocation_requests.is_empty() {
        let ranges: Vec<_> = status
            .revocation_requests
            .iter()
            .map(ToString::to_string)
            .collect();
        writeln!(out, "ranges with revocation requests: {}", ranges.join(" "))?;
    }
    doubts(&status.doubts, out)?;
    match &status.restoring {
        None => writeln!(out, "restoration running: none")?,
        Some(holder) => writeln!(
            out,
            "restoration running: {} on {}, process {}, since {}",
            holder.member,
            holder.host,
            holder.process_id,
            time(holder.started)
        )?,
    }
    for line in status.control.lines() {
        writeln!(out, "  {}", printable(&line))?;
    }
    restorations(&status.restorations, out)
}

/// A heading; says `none` if nothing follows it.
pub(super) fn section(title: &str, empty: bool, out: &mut dyn Write) -> io::Result<()> {
    let none = if empty { " none" } else { "" };
    writeln!(out, "{title}:{none}")
}

pub(super) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn members(members: &[MemberLine], title: &str, out: &mut dyn Write) -> io::Result<()> {
    section(title, members.is_empty(), out)?;
    for line in members {
        writeln!(
            out,
            "  {} {:<10} on {}, process {}, since {}, session {} ms, version {}",
            line.member,
            line.role,
            line.host,
            line.process_id,
            time(line.started),
            line.session_timeout_ms,
            line.version
        )?;
    }
    Ok(())
}

fn partitions(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    section("partitions", status.partitions.is_empty(), out)?;
    for line in &status.partitions {
        let mut checkpoint = match (line.lowest, line.highest) {
            (Some(lowest), Some(highest)) if lowest == highest => {
                format!("acknowledged below {lowest}")
            }
            (Some(lowest), Some(highest)) => {
                format!("acknowledged below {lowest}, in some ranges below {highest}")
            }
            (None, _) | (_, None) => "nothing counted yet".to_owned(),
        };
        if let Some(ceiling) = line.ceiling.filter(|_| line.ceiling > line.highest) {
            checkpoint.push_str(&format!(", none begun from {ceiling} on"));
        }
        let holder = match &line.member {
            Some(member) => format!("held by {member}"),
            None => "not held".to_owned(),
        };
        writeln!(out, "  {:<5} {checkpoint}, {holder}", line.partition.0)?;
        if let Some(suspended) = &line.suspended {
            writeln!(
                out,
                "        SUSPENDED since {} by {} on {}: {}\n        help: {}",
                time(suspended.since),
                suspended.member,
                suspended.host,
                suspended.message,
                suspended.help
            )?;
        }
    }
    Ok(())
}

/// Shared locks are the rule, one for each range and processor: they are counted. Exclusive ones are listed.
fn locks(locks: &[LockLine], out: &mut dyn Write) -> io::Result<()> {
    section("range locks", locks.is_empty(), out)?;
    let mut shared = BTreeMap::new();
    for line in locks {
        if line.kind == LockKind::Shared {
            *shared.entry((&line.member, line.state)).or_insert(0) += 1;
        } else {
            let since = line.since.map(time).unwrap_or_default();
            writeln!(
                out,
                "  range {:<5} exclusive, {} by {} since {since}",
                line.range.0, line.state, line.member
            )?;
        }
    }
    for ((member, state), ranges) in shared {
        writeln!(out, "  {ranges} ranges shared, {state} by {member}")?;
    }
    Ok(())
}

/// One line for the doubts of several ranges that differ in nothing else that is said of them.
fn doubts(doubts: &[DoubtLine], out: &mut dyn Write) -> io::Result<()> {
    section(
        "doubts (counts may be wrong until a restoration verifies them)",
        doubts.is_empty(),
        out,
    )?;
    let mut groups = BTreeMap::<_, Vec<String>>::new();
    for line in doubts {
        let about = (line.cause, line.member.as_ref(), line.detail.as_str());
        let since = time(line.since);
        let ranges = groups.entry((about, since)).or_default();
        ranges.push(line.range.to_string());
    }
    for (((cause, member, detail), since), ranges) in groups {
        let word = if ranges.len() == 1 { "range" } else { "ranges" };
        let member = member.map_or_else(String::new, |member| format!(" by {member}"));
        writeln!(
            out,
            "  {cause} since {since}{member}, {word} {}: {}",
            ranges.join(" "),
            printable(detail)
        )?;
    }
    Ok(())
}

fn restorations(restorations: &[RestorationLine], out: &mut dyn Write) -> io::Result<()> {
    section("restorations, latest first", restorations.is_empty(), out)?;
    for line in restorations {
        let ended = line.ended.map_or_else(|| "-".to_owned(), time);
        writeln!(
            out,
            "  {} to {ended} on {}: {}; {}; {} of {} ranges verified, {} not, {} cells corrected",
            time(line.started),
            line.host,
            line.scope,
            line.outcome,
            line.ranges_verified,
            line.ranges_in_scope,
            line.ranges_unverified,
            line.cells_corrected
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
