//! What the histories have tried, so that nobody believes in histories in which nothing happened.

use std::io::{self, Write};

use crate::history::{Fault, Theme};
use crate::notes::Phase;

/// One column for each step of a restoration, and one for no restoration.
const COLUMNS: usize = Phase::COUNT + 1;

/// What happened, over one history or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    histories: u64,
    /// How often each phase was seen, and in how many histories.
    phases: [(u64, u64); Phase::COUNT],
    /// How often each fault happened at which step.
    faults: Box<[[u64; COLUMNS]; Fault::COUNT]>,
    /// How many histories took up each story.
    themes: [u64; Theme::COUNT],
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            histories: 0,
            phases: [(0, 0); Phase::COUNT],
            faults: Box::new([[0; COLUMNS]; Fault::COUNT]),
            themes: [0; Theme::COUNT],
        }
    }
}

/// A rule, and what shows that a history has come to where it counts.
pub const RULES: &[(&str, &[Phase])] = &[
    ("P1", &[Phase::Taken, Phase::Revoked, Phase::Returned]),
    ("P2", &[Phase::Shared, Phase::Sent]),
    ("P3", &[Phase::Unlinked, Phase::Expired]),
    ("P4", &[Phase::Unknown, Phase::NotApplied, Phase::Refused]),
    ("P5", &[Phase::Told, Phase::Marked]),
    ("P6", &[Phase::Requested, Phase::Yielded]),
    ("P7", &[Phase::Returned, Phase::Taken]),
    ("P8", &[Phase::DeclaredDead, Phase::Unlisted]),
    ("R1", &[Phase::Begun, Phase::Audited, Phase::ClosedIn]),
    ("R2", &[Phase::Queued, Phase::Asked, Phase::Granted]),
    ("R3", &[Phase::Cut]),
    ("R4", &[Phase::Touched]),
    ("R5", &[Phase::ReadUnderLock]),
    (
        "R6",
        &[Phase::Journaled, Phase::Corrected, Phase::AppliedAll],
    ),
    ("R7", &[Phase::Verified]),
    ("R8", &[Phase::Released, Phase::Recorded]),
    ("portions", &[Phase::Again]),
    ("calm", &[Phase::Calming, Phase::Unmarked]),
];

impl Coverage {
    /// Takes up one history's counts.
    pub(crate) fn count(&mut self, counts: &[u32; Phase::COUNT], theme: Option<Theme>) {
        self.histories += 1;
        if let Some(theme) = theme {
            self.themes[theme.index()] += 1;
        }
        for (sum, count) in self.phases.iter_mut().zip(counts) {
            sum.0 += u64::from(*count);
            sum.1 += u64::from(*count > 0);
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault, step: Option<Phase>) {
        let column = step.map_or(COLUMNS - 1, Phase::index);
        self.faults[fault.index()][column] += 1;
    }

    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        for (sum, more) in self.themes.iter_mut().zip(&other.themes) {
            *sum += more;
        }
        for (sum, more) in self.phases.iter_mut().zip(&other.phases) {
            sum.0 += more.0;
            sum.1 += more.1;
        }
        for (row, more) in self.faults.iter_mut().zip(other.faults.iter()) {
            for (sum, more) in row.iter_mut().zip(more) {
                *sum += more;
            }
        }
    }

    /// In how many histories all that shows a rule was seen.
    #[must_use]
    pub fn exercised(&self, phases: &[Phase]) -> u64 {
        let histories = phases.iter().map(|phase| self.phases[phase.index()].1);
        histories.min().unwrap_or_default()
    }

    /// How often a fault happened.
    #[must_use]
    pub fn happened(&self, fault: Fault) -> u64 {
        self.faults[fault.index()].iter().sum()
    }

    /// How many of the pairs of fault and step were seen, and how many there are.
    #[must_use]
    pub fn pairs(&self) -> (usize, usize) {
        let steps: Vec<usize> = self.steps().map(Phase::index).collect();
        let row = |row: &[u64; COLUMNS]| steps.iter().filter(|step| row[**step] > 0).count();
        let seen = self.faults.iter().map(row).sum();
        (seen, steps.len() * Fault::COUNT)
    }

    fn steps(&self) -> impl Iterator<Item = Phase> {
        // The correction itself is no point between two steps.
        let steps = Phase::EVERY.iter().copied();
        steps.filter(|phase| phase.is_step() && *phase != Phase::Corrected)
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// `out` fails.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "rule   histories in which all of it was seen")?;
        for (rule, phases) in RULES {
            let names: Vec<_> = phases.iter().map(|phase| phase.name()).collect();
            writeln!(
                out,
                "{rule:<8} {:>7}  {}",
                self.exercised(phases),
                names.join(", ")
            )?;
        }
        writeln!(out, "\nstep                 times  histories")?;
        for step in self.steps() {
            let (times, histories) = self.phases[step.index()];
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
        for theme in Theme::EVERY {
            let histories = self.themes[theme.index()];
            writeln!(out, "{histories:>9}  {}", theme.name())?;
        }
        let (seen, all) = self.pairs();
        writeln!(out, "\npairs of fault and step: {seen} of {all}")
    }
}
