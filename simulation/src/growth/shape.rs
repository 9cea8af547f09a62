//! The sizes of a fleet.

/// A fleet and its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    pub processors: usize,
    pub partitions: usize,
    pub range_bits: u8,
}

/// The shape that every axis passes through.
const MIDDLE: Shape = Shape {
    processors: 4,
    partitions: 120,
    range_bits: 6,
};

impl Shape {
    /// The shapes that are published: one axis at a time, around one in the middle.
    #[must_use]
    pub fn published() -> Vec<Self> {
        let processors = [1, 4, 16, 64].map(|processors| Self {
            processors,
            ..MIDDLE
        });
        let partitions = [12, 1200].map(|partitions| Self {
            partitions,
            ..MIDDLE
        });
        let bits = [8, 10, 12].map(|range_bits| Self {
            range_bits,
            ..MIDDLE
        });
        processors
            .into_iter()
            .chain(partitions)
            .chain(bits)
            .collect()
    }

    /// How many ranges there are.
    #[must_use]
    pub fn ranges(self) -> usize {
        1 << self.range_bits
    }

    /// The processors that have partitions.
    #[must_use]
    pub fn active(self) -> usize {
        self.processors.min(self.partitions)
    }

    /// Whether it differs from the middle in nothing but what `of` changes.
    pub(super) fn is_on_axis(self, of: impl Fn(&mut Self, Self)) -> bool {
        let mut middle = MIDDLE;
        of(&mut middle, self);
        middle == self
    }
}
