//! All that is measured.

use anyhow::Result;

use super::phases::{self, Growth};
use super::shape::Shape;

/// What was measured of all fleets.
#[derive(Clone, Debug, Default)]
pub struct Results {
    pub growths: Vec<Growth>,
}

impl Results {
    /// Measures the fleets that are published, and calls `done` after each.
    ///
    /// # Errors
    /// Something is not as it should be in time.
    pub fn measure(mut done: impl FnMut(Shape)) -> Result<Self> {
        let mut results = Self::default();
        for shape in Shape::published() {
            results.growths.push(phases::measure(shape)?);
            done(shape);
        }
        Ok(results)
    }
}
