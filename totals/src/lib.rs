//! Expected totals: what the event log adds up to, cell by cell, in the order of the table's scan and within a bound of
//! memory. The log itself is the first source; [`expected::ExpectedTotals`] is the seam for others.

pub mod memory;
pub mod place;
pub mod events;
pub mod ledger;
pub mod ledgers;
pub mod expected;
pub mod tail;
