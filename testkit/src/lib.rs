//! What the tests of several crates share: the servers' data in memory, virtual time, and samples.
//!
//! [`zookeeper`], [`cassandra`], [`kafka`] and [`objects`] hold what a server stores and how it changes: a tree of nodes,
//! a table of replicated counters, a log, objects. They know no session, no connection and no fault. The simulation
//! builds servers from them that are slow, break and lose answers; the restorator's tests build servers that record each
//! request and change something just before one. [`objects`] has a store that fails as its user decides. [`time`] and
//! [`wait`] are what executors are made of, [`tokio_clock`] is for tests on Tokio. [`help`] checks what programs say of their commands.

pub mod help;
pub mod samples;
pub mod time;
pub mod tokio_clock;
pub mod wait;
pub mod zookeeper;
pub mod cassandra;
pub mod kafka;
pub mod objects;
