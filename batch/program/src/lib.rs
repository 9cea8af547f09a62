//! The program `stitch-batch`: brings totals into the table of batch counts, and publishes them.
//!
//! In the order of a run, all of it against ports:
//!
//! - [`exclusive`] has the lock of the loads; [`current_totals`] are what is loaded;
//! - [`patience`] repeats requests that Cassandra did not answer;
//! - [`table_cells`] is what a table holds, as a stream of cells in the order of its scan;
//! - [`difference`] joins that stream, or the totals that were loaded before, with the totals to load;
//! - [`load`] writes the cells that differ, and [`read_back`] scans the table and compares digests;
//! - [`generation`] is the procedure: load, read back, publish, each step recorded, so that it can be killed anywhere;
//! - [`comparison`] holds the closed buckets of both tables against each other;
//! - `cli` is the command line, with the clients of real servers; its `main` is all that the binary calls.

mod rule;
pub mod batch_error;
pub mod exclusive;
pub mod current_totals;
pub mod patience;
pub mod table_cells;
pub mod difference;
pub mod load;
pub mod read_back;
pub mod generation;
pub mod comparison;
#[cfg(feature = "servers")]
pub mod cli;
#[cfg(test)]
mod testing;
