//! An exhaustive model of the protocol: explores every history of a small Stitch, with the product's own predicates.
//!
//! The world is abstract: two processors, a restorator and three servers; nothing waits, and time is only an order of
//! events. But every decision in it is the product's: what may be sent ([`stitch_processor::engine::rule`], the lease), when
//! a lock is held (the lock queue), how far a checkpoint may go (the acknowledgement tracker), what is judged, read and
//! corrected (range totals, verdicts, cells at rest). So a change of these is explored as it is, and no rule is written twice.
//!
//! In reading order:
//!
//! - [`bounds`], [`fault`], [`rule`]: how large the world is, what may fail how often, and which rule is removed.
//! - [`state`]: one state of the world.
//! - [`cassandra`], [`zookeeper`]: what the servers do. [`processor`], [`restorator`]: what the processes may do, and what
//!   follows. [`audit`] asks the product what a restorator knows.
//! - [`properties`]: what must hold. They know the log and add it up themselves, and ask no predicate of the product.
//! - [`model`], [`explore`]: the model as the checker sees it, and a search.
//! - [`explorations`]: what `deploy/model` explores, and the smallest world in which the loss of each rule is found.

pub mod bounds;
pub mod fault;
pub mod rule;
pub mod state;
pub mod zookeeper;
pub mod processor;
pub mod cassandra;
pub mod audit;
pub mod properties;
pub mod restorator;
pub mod model;
pub mod explore;
pub mod explorations;

#[cfg(test)]
mod tests;
