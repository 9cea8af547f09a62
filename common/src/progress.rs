//! Progress reports of a running command.

/// Receives the progress of a command.
pub trait Progress {
    /// Begins a phase: its name, the unit that is counted, and their total if it is known.
    fn begin(&self, phase: &str, unit: &'static str, total: Option<u64>);

    /// Adds finished units.
    fn advance(&self, by: u64);

    /// Shows a message to the operator.
    fn note(&self, line: &str);

    /// Ends the phase.
    fn end(&self);
}

/// Reports nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _phase: &str, _unit: &'static str, _total: Option<u64>) {}
    fn advance(&self, _by: u64) {}
    fn note(&self, _line: &str) {}
    fn end(&self) {}
}
