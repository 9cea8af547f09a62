//! Expected totals: what the event log adds up to, cell by cell, within a bound of memory.
//!
//! | module | what it has |
//! |---|---|
//! | [`event_reader`] | one record of the log → contributions to counters in scope |
//! | [`scan_key`] | counters and cells in the order of the table's scan, for the merge-join with it |
//! | [`sorted`] | totals of any size, as streams in the order of the scan: sorted runs on disk, and their merge |
//! | [`totals_folder`], [`manifest`], [`totals_file`] | totals at a cut in an object store: Parquet files, and what they are totals of |
//! | [`records`], [`log_records`] | the records of the topic, from the archive where it reaches, else from the log, and never past a gap |
//! | [`contributions`] | what records contribute, added up and accounted for |
//! | [`cluster`] | the seam: whatever adds up archived records elsewhere |
//! | [`build`] | totals at a cut = earlier totals and the records since; verified by building them again |
//!
//! It decides nothing about what is right or wrong; that is the restorator's.

pub mod scan_key;
pub mod sorted;
pub mod digest;
pub mod totals_error;
mod rule;
pub mod manifest;
pub mod totals_folder;
pub mod totals_file;
pub mod event_reader;
pub mod log_records;
pub mod records;
pub mod contributions;
pub mod totals_cells;
pub mod cluster;
pub mod build;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
