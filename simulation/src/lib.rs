//! Runs the production code of processor, restorator and archiver, and of builds of totals, unchanged, over a Kafka, a
//! ZooKeeper, a Cassandra and an object store in memory, on one thread and in virtual time. A seed decides every delay, order and fault.
//!
//! In reading order:
//!
//! - [`history`]: a history before it runs, drawn from a seed: events, operator commands, faults. `history/story.rs` has
//!   the faults that make one of the rules necessary, `history/archive.rs` what a history has of archive and totals.
//! - [`run()`](run::run): one history as it runs. `run/processors.rs`, `run/archivers.rs`, `run/totals.rs` and `run/operator.rs` start the product,
//!   `run/nemesis.rs` injects faults, `run/final_phase.rs` checks the end.
//! - `world`: the servers behind the product's ports. Their data comes from `testkit/`; delays, connections and faults are
//!   added here. [`world::checker`] knows the log, the tree and the table, and nothing of the product; it checks the
//!   invariants at every step.
//! - `executor`, `process`, `rng`: tasks and processes that freeze, lag and die, deterministically.
//! - [`trace`]: every tracepoint, hashed, counted, and waited for by faults.
//! - `fleet`, [`growth`]: processors without a history; what a fleet of each size asks of ZooKeeper, and the law that it follows.
//! - [`explore`], [`shrink`], `mutants`, [`coverage`], [`cli`]: many histories, smaller ones, rules removed, the report.
//!
//! Nothing depends on a clock, on thread scheduling or on hash order: the same history has the same trace everywhere.

mod named;
mod rng;
mod process;
mod executor;
pub mod trace;
pub mod world;
pub mod history;
pub mod coverage;
mod invariant_recorder;
pub mod run;
mod fleet;
pub mod growth;
pub mod shrink;
pub mod explore;
#[cfg(feature = "mutations")]
pub mod mutants;
pub mod cli;

#[cfg(test)]
mod tests;
