//! Finds counts that have drifted and makes them right while the fleet keeps counting.
//!
//! A restoration computes from the log what every cell in scope should hold (`events`, `ledger`), reads what it does
//! hold, and adds the difference (`restoration`), under a lock that is held only for what is wrong and what never
//! rests. The modules stand in the order of the data.

pub mod options;
pub mod error;
pub mod site;
pub mod standing;
pub mod quiet;
pub mod cells;
pub mod plan;
pub mod failpoint;
pub mod limits;
pub mod journal;
pub mod unproven;
pub mod restoration;
pub mod refuse;
pub mod report;
pub mod visit;
pub mod command;
#[cfg(feature = "servers")]
pub mod real;
#[cfg(feature = "servers")]
pub mod cli;

#[cfg(test)]
mod testing;
