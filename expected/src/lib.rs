//! Expected totals while a restoration works: what every event below a cut adds up to, cell by cell, while cuts move on and
//! the log is followed. A sum of parts: totals at an earlier cut, sorted runs, and sums in memory.
//!
//! | module | what it has |
//! |---|---|
//! | [`range_totals`] | one range, in memory: sums below its cut, dirty cells at or above it |
//! | [`totals_by_range`] | all ranges in scope above totals at a cut: within the memory that they reserve, else in sorted runs |
//! | [`base_totals`] | the totals at an earlier cut |
//! | [`base_part`] | the part of them that one range needs, on local disk |
//! | [`parts`] | all of it together, as one stream in the order of the scan, or looked up for single cells |
//! | [`log_follower`] | follows the log above the cut, for all ranges together |
//! | [`memory_pool`] | the bound that all of it shares |
//!
//! It decides nothing about what is right or wrong; that is the restorator's.

pub mod memory_pool;
pub mod range_totals;
pub mod expected_error;
pub mod totals_by_range;
pub mod base_totals;
pub mod base_part;
pub mod parts;
pub mod log_follower;
