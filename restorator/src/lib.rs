//! Finds counts that have drifted and makes them right while the fleet keeps counting.

pub mod options;
