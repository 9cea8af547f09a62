//! Batch counts: what the program that loads them and those that read them agree on.
//!
//! [`record`] is what ZooKeeper's node `/batch` says: which generation is published, and which load was begun. A
//! [`batch_lock`] lets one process load at a time. [`batch_node`] reads the record, and writes it only under that lock.
//!
//! [`layer`] says which of batch and real time answers for a point.
//!
//! The loading is in `stitch-batch-program`; this crate needs no server's client.

#![warn(missing_docs)]

mod rule;
pub mod record;
pub mod batch_lock;
pub mod batch_node;
pub mod layer;
