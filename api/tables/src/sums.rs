//! What was read: the sum of a window, and which layers an answer has.

use stitch_batch::layer::Layer;
use stitch_common::cell::Count;

/// The sum of a window, and the layer that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sum {
    pub count: Count,
    pub layer: Layer,
}

/// The layers that an answer has points of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayersUsed {
    pub batch: bool,
    pub realtime: bool,
}

impl LayersUsed {
    pub fn of<'a>(sums: impl IntoIterator<Item = &'a Sum>) -> Self {
        let mut used = Self::default();
        for sum in sums {
            used.batch |= sum.layer == Layer::Batch;
            used.realtime |= sum.layer == Layer::Realtime;
        }
        used
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            batch: self.batch || other.batch,
            realtime: self.realtime || other.realtime,
        }
    }
}
