//! Coverage: what happened in the histories, as evidence that they exercise the rules.

use std::io::{self, Write};

use crate::history::{Fault, Story};
use crate::trace::Tracepoint;

/// One column per tracepoint, for faults during a restoration, and one for faults outside.
const COLUMNS: usize = Tracepoint::COUNT + 1;

/// Counts over one history or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    histories: u64,
    /// How often each tracepoint occurred, and in how many histories.
    points: [(u64, u64); Tracepoint::COUNT],
    /// How often each fault happened at each step.
    faults: Box<[[u64; COLUMNS]; Fault::COUNT]>,
    /// How many histories followed each story.
    stories: [u64; Story::COUNT],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            histories: 0,
            points: [(0, 0); Tracepoint::COUNT],
            faults: Box::new([[0; COLUMNS]; Fault::COUNT]),
            stories: [0; Story::COUNT],
        }
    }
}

/// The rules, each with the tracepoints that show that a history has exercised it.
pub const RULES: &[(&str, &[Tracepoint])] = &[
    (
        "P1",
        &[
            Tracepoint::PartitionQueued,
            Tracepoint::Revoked,
            Tracepoint::PartitionReleased,
        ],
    ),
    ("P2", &[Tracepoint::SharedQueued, Tracepoint::IncrementSent]),
    (
        "P3",
        &[Tracepoint::Disconnected, Tracepoint::SessionExpired],
    ),
    (
        "P4",
        &[
            Tracepoint::Unknown,
            Tracepoint::NotApplied,
            Tracepoint::Refused,
            Tracepoint::BegunInPart,
        ],
    ),
    (
        "P5",
        &[Tracepoint::CheckpointWritten, Tracepoint::MarkerCreated],
    ),
    (
        "P6",
        &[Tracepoint::RevocationRequested, Tracepoint::SharedReleased],
    ),
    (
        "P7",
        &[Tracepoint::PartitionReleased, Tracepoint::PartitionQueued],
    ),
    (
        "P8",
        &[Tracepoint::MemberDeleted, Tracepoint::ConnectionUnlisted],
    ),
    (
        "R1",
        &[
            Tracepoint::BaselineTaken,
            Tracepoint::Planned,
            Tracepoint::Converged,
        ],
    ),
    (
        "R2",
        &[Tracepoint::Queued, Tracepoint::Asked, Tracepoint::Granted],
    ),
    ("R3", &[Tracepoint::Cut]),
    ("R4", &[Tracepoint::Dirty]),
    ("R5", &[Tracepoint::ReadUnderLock]),
    (
        "R6",
        &[
            Tracepoint::Journaled,
            Tracepoint::CorrectionSent,
            Tracepoint::AppliedAll,
        ],
    ),
    ("R7", &[Tracepoint::Verified]),
    ("R8", &[Tracepoint::Released, Tracepoint::Recorded]),
    ("memory", &[Tracepoint::CutMoved]),
    ("at rest", &[Tracepoint::CorrectedAtRest]),
    (
        "doubt",
        &[Tracepoint::DoubtRecorded, Tracepoint::DoubtRemoved],
    ),
    (
        "archive",
        &[
            Tracepoint::SegmentSent,
            Tracepoint::SegmentArchived,
            Tracepoint::LogDeleted,
        ],
    ),
    ("totals", &[Tracepoint::TotalsPublished]),
    ("gap", &[Tracepoint::GapRefused]),
    (
        "batch",
        &[
            Tracepoint::BatchLoading,
            Tracepoint::BatchCellsSent,
            Tracepoint::BatchScanned,
            Tracepoint::BatchPublished,
        ],
    ),
    (
        "quiescence",
        &[Tracepoint::ConnectionsProbed, Tracepoint::MarkerDeleted],
    ),
];

impl Coverage {
    /// Adds the counts of one history.
    pub(crate) fn add_history(&mut self, counts: &[u32; Tracepoint::COUNT], story: Option<Story>) {
        self.histories += 1;
        if let Some(story) = story {
            self.stories[story.index()] += 1;
        }
        for (sum, count) in self.points.iter_mut().zip(counts) {
            sum.0 += u64::from(*count);
            sum.1 += u64::from(*count > 0);
        }
    }

    pub(crate) fn add_fault(&mut self, fault: Fault, step: Option<Tracepoint>) {
        let column = step.map_or(COLUMNS - 1, Tracepoint::index);
        self.faults[fault.index()][column] += 1;
    }

    /// Adds the counts of other histories.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        for (sum, more) in self.stories.iter_mut().zip(&other.stories) {
            *sum += more;
        }
        for (sum, more) in self.points.iter_mut().zip(&other.points) {
            sum.0 += more.0;
            sum.1 += more.1;
        }
        for (row, more) in self.faults.iter_mut().zip(other.faults.iter()) {
            for (sum, more) in row.iter_mut().zip(more) {
                *sum += more;
            }
        }
    }

    /// How many histories have exercised a rule: the histories in which its rarest tracepoint occurred.
    pub fn exercised(&self, points: &[Tracepoint]) -> u64 {
        let histories = points.iter().map(|point| self.points[point.index()].1);
        histories.min().unwrap_or_default()
    }

    /// How often a fault happened.
    pub fn happened(&self, fault: Fault) -> u64 {
        self.faults[fault.index()].iter().sum()
    }

    /// How many of the pairs of fault and step occurred, and how many there are.
    pub fn pairs(&self) -> (usize, usize) {
        let steps: Vec<usize> = self.steps().map(Tracepoint::index).collect();
        let row = |row: &[u64; COLUMNS]| steps.iter().filter(|step| row[**step] > 0).count();
        let seen = self.faults.iter().map(row).sum();
        (seen, steps.len() * Fault::COUNT)
    }

    fn steps(&self) -> impl Iterator<Item = Tracepoint> {
        // The correction itself is not a point between two steps.
        let steps = Tracepoint::EVERY.iter().copied();
        steps.filter(|point| point.is_step() && *point != Tracepoint::CorrectionSent)
    }

    /// Writes it as text.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "rule       histories  in which all of these occurred")?;
        for (rule, points) in RULES {
            let names: Vec<_> = points.iter().map(|point| point.name()).collect();
            writeln!(
                out,
                "{rule:<10} {:>9}  {}",
                self.exercised(points),
                names.join(", ")
            )?;
        }
        writeln!(out, "\nstep                 times  histories")?;
        for step in self.steps() {
            let (times, histories) = self.points[step.index()];
            writeln!(out, "{:<15} {times:>10} {histories:>10}", step.name())?;
        }
        writeln!(
            out,
            "\nfault                            times  at how many of the steps"
        )?;
        for fault in Fault::EVERY {
            let row = &self.faults[fault.index()];
            let at = self.steps().filter(|step| row[step.index()] > 0).count();
            writeln!(
                out,
                "{:<28} {:>9} {at:>6}",
                fault.name(),
                self.happened(*fault)
            )?;
        }
        writeln!(out, "\nhistories  story")?;
        for story in Story::EVERY {
            let histories = self.stories[story.index()];
            writeln!(out, "{histories:>9}  {}", story.name())?;
        }
        let (seen, all) = self.pairs();
        writeln!(out, "\npairs of fault and step: {seen} of {all}")
    }
}
