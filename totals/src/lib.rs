//! Expected totals: what the event log adds up to, cell by cell, in the order of the table's scan and within a bound of
//! memory. The log itself is the first source; [`expected::ExpectedTotals`] is the seam for others.

pub mod memory_pool;
pub mod scan_key;
pub mod event_reader;
pub mod range_totals;
pub mod totals_by_range;
pub mod expected;
pub mod log_follower;
