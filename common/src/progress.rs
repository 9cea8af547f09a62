//! How far a command is, as it reports while it works.

/// Is told how far a command is.
pub trait Progress {
    /// A phase begins: what is done, what is counted, and how many of these there are if that is known.
    fn begin(&self, phase: &str, unit: &'static str, total: Option<u64>);

    /// So many more are done.
    fn advance(&self, by: u64);

    /// Something that the operator should know while waiting.
    fn note(&self, line: &str);

    /// The phase is over.
    fn end(&self);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _phase: &str, _unit: &'static str, _total: Option<u64>) {}
    fn advance(&self, _by: u64) {}
    fn note(&self, _line: &str) {}
    fn end(&self) {}
}
