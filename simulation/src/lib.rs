//! Runs the production code of processor and restorator, unchanged, in a deterministic world: over a Kafka, a ZooKeeper
//! and a Cassandra in memory, on one thread and in virtual time, with whatever goes wrong drawn from a seed.
//!
//! [`history`] says what is to happen; [`play()`](play::play) lets it happen; a checker that knows the log, and nothing
//! of the product, looks at every step; [`shrink()`](shrink::shrink) makes a history that fails smaller. Nothing here
//! reads a clock, a thread's chance or an order of hashing: the same history gives the same trace on every machine.

mod rng;
mod executor;
mod process;
mod slot;
pub mod notes;
pub mod history;
mod world;
mod keeper;
mod cassandra;
mod kafka;
pub mod checker;
mod watch;
#[cfg(feature = "mutations")]
mod steps;
mod fault;
pub mod play;
pub mod coverage;
pub mod shrink;
pub mod explore;
#[cfg(feature = "mutations")]
pub mod mutants;
pub mod cli;

#[cfg(test)]
mod tests;
