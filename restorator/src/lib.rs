//! Finds counts that have drifted and makes them right while the fleet keeps counting.
//!
//! A restoration computes from the log what every cell in scope should hold (`events`, `totals`), reads what it does
//! hold, and adds the difference (`restoration`), under a lock that is held only for what is wrong and what never
//! rests. The modules stand in the order of the data.

pub mod options;
pub mod error;
pub mod rule;
pub mod context;
pub mod lease_keeper;
pub mod quiescence;
pub mod cells;
pub mod plan;
pub mod failpoint;
pub mod limits;
pub mod journal;
pub mod unverified;
pub mod restoration;
pub mod preflight;
pub mod report;
pub mod membership;
pub mod command;
#[cfg(feature = "servers")]
pub mod wiring;
#[cfg(feature = "servers")]
pub mod cli;

#[cfg(test)]
mod testing;
