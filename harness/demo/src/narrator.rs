//! Prints the story: numbered chapters, plain sentences, one table.

use std::io::{self, Write};

use stitch_harness::recount::{Verdict, Wrong};
use tokio::time::Instant;

/// Prints the story.
pub(crate) struct Narrator<W> {
    out: W,
    chapter: u32,
    begin: Instant,
}

impl<W: Write> Narrator<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            chapter: 0,
            begin: Instant::now(),
        }
    }

    /// Begins the next chapter.
    pub(crate) fn chapter(&mut self, title: &str) -> io::Result<()> {
        self.chapter += 1;
        let elapsed = self.begin.elapsed().as_secs();
        let (chapter, minutes, seconds) = (self.chapter, elapsed / 60, elapsed % 60);
        writeln!(self.out, "\n{chapter}. {title}  [{minutes}:{seconds:02}]")?;
        self.out.flush()
    }

    /// Prints a sentence or two.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "   {text}")?;
        self.out.flush()
    }

    /// Prints the first and the last lines of a command's output.
    pub(crate) fn quote(&mut self, command: &str, output: &str) -> io::Result<()> {
        const HEAD: usize = 8;
        const TAIL: usize = 8;
        writeln!(self.out, "   $ {command}")?;
        let lines: Vec<&str> = output.lines().collect();
        let left_out = lines.len().saturating_sub(HEAD + TAIL);
        for (index, line) in lines.iter().enumerate() {
            if left_out == 0 || index < HEAD || index >= HEAD + left_out {
                writeln!(self.out, "   | {line}")?;
            } else if index == HEAD {
                writeln!(self.out, "   | … {left_out} lines …")?;
            }
        }
        self.out.flush()
    }

    /// Prints how many cells are wrong in each way.
    pub(crate) fn ways(&mut self, verdict: &Verdict) -> io::Result<()> {
        for (way, cells) in verdict.ways() {
            let what = match way {
                Wrong::Phantom => "should not exist",
                Wrong::Missing => "are missing",
                Wrong::TooLittle => "have too little",
                Wrong::TooMuch => "have too much",
            };
            writeln!(self.out, "   {cells:>9} {what}")?;
        }
        self.out.flush()
    }

    /// Prints right and wrong cells before and after the restoration.
    pub(crate) fn table(&mut self, before: &Verdict, after: &Verdict) -> io::Result<()> {
        let out = &mut self.out;
        writeln!(out, "\n   {:<12} {:^19}   {:^19}", "", "before", "after")?;
        let columns = format!("{:>9} {:>9}", "right", "wrong");
        writeln!(out, "   {:<12} {columns}   {columns}", "granularity")?;
        let empty = stitch_harness::recount::Tally::default();
        for (granularity, now) in &after.tallies {
            let then = before.tallies.get(granularity).unwrap_or(&empty);
            row(out, granularity.name(), *then, *now)?;
        }
        row(out, "total", before.total(), after.total())?;
        out.flush()
    }

    /// Prints why the demo failed.
    pub(crate) fn failed(&mut self, error: &anyhow::Error) -> io::Result<()> {
        writeln!(self.out, "\nThe demo failed: {error:#}")?;
        self.out.flush()
    }
}

fn row(
    out: &mut impl Write,
    name: &str,
    then: stitch_harness::recount::Tally,
    now: stitch_harness::recount::Tally,
) -> io::Result<()> {
    writeln!(
        out,
        "   {name:<12} {:>9} {:>9}   {:>9} {:>9}",
        then.right, then.wrong, now.right, now.wrong
    )
}
