//! An exhaustive model of the protocol: every history of a small Stitch, with the product's own predicates.
//!
//! The world is abstract: two processors, a restorator and three servers, all waiting taken out, time reduced to what
//! comes before what. But whoever decides in it asks the product: what may be sent ([`stitch_processor::engine::rule`],
//! the lease), when a lock is held (the lock queue), how far progress may pass (the track), what is judged, read and
//! corrected (ledger, verdicts, what is read under the lock). So a change of these is explored as it stands, and no rule
//! is written down twice.
//!
//! What holds is asked in words of the world alone ([`proof`]): the model knows the log and adds it up by itself. To see
//! that it can find anything, each rule can be taken out of it ([`rule`]).

pub mod bounds;
pub mod fault;
pub mod rule;
pub mod state;
pub mod keeper;
pub mod processor;
pub mod process;
pub mod partition;
pub mod store;
pub mod audit;
pub mod restorator;
pub mod chunk;
pub mod unlocked;
pub mod proof;
pub mod model;
pub mod explore;
pub mod known;

#[cfg(test)]
mod tests;
