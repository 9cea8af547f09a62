//! Finds counts that have drifted and makes them right while the fleet keeps counting.
//!
//! A restoration computes from the log what every cell in scope should hold (`events`, `totals`), reads what it does
//! hold, and adds the difference (`restoration`), under a lock that is held only for what is wrong and what never
//! rests. The modules stand in the order of the data.

pub mod options;
mod error;
mod rule;
mod context;
mod lease_keeper;
mod quiescence;
mod cells;
pub mod plan;
pub mod failpoint;
mod limits;
pub mod journal;
mod unverified;
pub mod restoration;
mod preflight;
pub mod report;
pub mod membership;
pub mod command;
#[cfg(feature = "servers")]
mod wiring;
#[cfg(feature = "servers")]
pub mod cli;

#[cfg(test)]
mod testing;
