//! The Cassandra adapter: implements the ports of `stitch_common::ports` to the counter store. The only crate that
//! depends on the driver.
//!
//! Start with [`ScyllaCql`], which opens the two sessions of a member:
//! - [`ScyllaStore`] increments, reads and scans cells; increments only under a valid permit, and at admitted nodes;
//! - [`ScyllaNodes`] queries the nodes one by one for the quiescence barrier, and never changes a count.
//!
//! [`ScyllaReader`] reads counts for the API, and [`ScyllaBatch`] loads batch counts. [`Schema`] creates the table, and checks that an existing one is as wanted
//! and owned by this namespace. [`classify`] decides what a driver's error says about an increment; `statements` and
//! [`schema`] have every CQL string.
//!
//! Not here: when to send, when to read, and what the barrier makes of its samples. The crates above the ports decide
//! that.

pub mod schema;
pub mod table;
#[cfg(test)]
mod token;
mod statements;
pub mod classify;
mod permissions;
mod denial;
mod connect;
pub mod release;
mod client_registration;
mod page_size;
mod own_address;
mod admitted;
pub mod session;
mod read;
mod scan;
pub mod batch;
pub mod reader;
pub mod nodes;

pub use batch::{ScyllaBatch, ScyllaScan};
pub use nodes::ScyllaNodes;
pub use page_size::{ROWS_MAX, ROWS_MIN};
pub use reader::{BucketSpan, ScyllaReader};
pub use release::{REQUIRED_SERVER, Release};
pub use schema::{
    BATCH as BATCH_TABLE, Replication, SpeculativeRetry, TABLE as COUNTS_TABLE, TableOwner,
    set_speculative_retry,
};
pub use session::{ScyllaCql, ScyllaStore, connect_batch_schema};
pub use table::{EnsureOutcome, Schema, SchemaError};
