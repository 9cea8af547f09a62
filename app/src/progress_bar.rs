//! Shows the progress of a command on standard error: bars on a terminal, plain lines elsewhere.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_common::printable::printable_lines;
use stitch_common::progress::Progress;

use crate::stderr::Stderr;

/// Progress on standard error: a bar on a terminal, otherwise lines.
#[must_use]
pub fn on_stderr() -> Box<dyn Progress> {
    if io::stderr().is_terminal() {
        Box::new(Bar::default())
    } else {
        Box::new(Lines::new(Stderr, SystemClock))
    }
}

/// A progress bar on a terminal.
#[derive(Debug, Default)]
pub struct Bar {
    current: RefCell<Option<ProgressBar>>,
}

impl Progress for Bar {
    fn begin(&self, phase: &str, unit: &'static str, total: Option<u64>) {
        self.end();
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let counted = if total.is_some() {
            "{wide_bar} {human_pos}/{human_len} {unit}, {per_sec}, {eta} left"
        } else {
            "{spinner} {human_pos} {unit}, {per_sec}"
        };
        let template = format!("{{msg}} {}", counted.replace("{unit}", unit));
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.set_message(phase.to_owned());
        *self.current.borrow_mut() = Some(bar);
    }

    fn advance(&self, by: u64) {
        if let Some(bar) = &*self.current.borrow() {
            bar.inc(by);
        }
    }

    fn note(&self, line: &str) {
        let line = printable_lines(line);
        match &*self.current.borrow() {
            Some(bar) => bar.println(line),
            None => ProgressBar::no_length().println(line),
        }
    }

    fn end(&self) {
        if let Some(bar) = self.current.borrow_mut().take() {
            bar.finish();
        }
    }
}

/// Plain lines: one when a phase begins, one every few seconds, one when it ends.
#[derive(Debug)]
pub struct Lines<W, C> {
    out: RefCell<W>,
    clock: C,
    current: RefCell<Option<Phase>>,
}

#[derive(Debug)]
struct Phase {
    name: String,
    unit: &'static str,
    total: Option<u64>,
    done: u64,
    begun: Moment,
    reported: Moment,
}

const LINE_EVERY: Duration = Duration::from_secs(5);

impl<W: Write, C: Clock> Lines<W, C> {
    /// Writes lines to `out`.
    pub const fn new(out: W, clock: C) -> Self {
        Self {
            out: RefCell::new(out),
            clock,
            current: RefCell::new(None),
        }
    }

    fn line(&self, line: &str) {
        // As one write: standard error takes or loses it as a whole.
        let line = format!("{}\n", printable_lines(line));
        let written = self.out.borrow_mut().write_all(line.as_bytes());
        if let Err(error) = written {
            tracing::debug!(%error, "cannot report progress");
        }
    }
}

impl Phase {
    fn line(&self, now: Moment) -> String {
        let Self {
            name, unit, done, ..
        } = self;
        let of = match self.total {
            Some(total) => Cow::Owned(format!(" of {}", HumanCount(total))),
            None => Cow::Borrowed(""),
        };
        let seconds = now.since(self.begun).as_secs();
        let rate = done.checked_div(seconds);
        let rate = rate.map(|rate| format!(", {}/s", HumanCount(rate)));
        let left = match (self.total, done.checked_div(seconds.max(1))) {
            (Some(total), Some(rate)) if rate > 0 && total > *done => {
                format!(", about {} s left", (total - done) / rate)
            }
            (Some(_) | None, Some(_) | None) => String::new(),
        };
        let done = HumanCount(*done);
        format!(
            "{name}: {done}{of} {unit}{}{left}",
            rate.unwrap_or_default()
        )
    }
}

impl<W: Write, C: Clock> Progress for Lines<W, C> {
    fn begin(&self, phase: &str, unit: &'static str, total: Option<u64>) {
        self.end();
        let now = self.clock.now();
        *self.current.borrow_mut() = Some(Phase {
            name: phase.to_owned(),
            unit,
            total,
            done: 0,
            begun: now,
            reported: now,
        });
    }

    fn advance(&self, by: u64) {
        let mut due = None;
        if let Some(phase) = &mut *self.current.borrow_mut() {
            phase.done += by;
            let now = self.clock.now();
            if now.since(phase.reported) >= LINE_EVERY {
                phase.reported = now;
                due = Some(phase.line(now));
            }
        }
        if let Some(line) = due {
            self.line(&line);
        }
    }

    fn note(&self, line: &str) {
        self.line(line);
    }

    fn end(&self) {
        if let Some(phase) = self.current.borrow_mut().take() {
            let now = self.clock.now();
            let took = now.since(phase.begun).as_secs_f64();
            self.line(&format!("{} (took {took:.2} s)", phase.line(now)));
        }
    }
}
