//! The Cassandra adapter: implements the ports of `stitch_common::ports` to the counter store. The only crate that
//! depends on the driver.
//!
//! Start with [`ScyllaCql`], which opens the two sessions of a member:
//! - [`ScyllaStore`] increments, reads and scans cells; increments only under a valid permit, and at admitted nodes;
//! - [`ScyllaNodes`] queries the nodes one by one for the quiescence barrier, and never changes a count.
//!
//! [`ScyllaReader`] reads counts for the API. [`Schema`] creates the table, and checks that an existing one is as wanted
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
mod connect;
mod client_registration;
mod page_size;
mod own_address;
mod admitted;
pub mod session;
mod read;
mod scan;
pub mod reader;
pub mod nodes;

/// The server that Stitch needs: earlier ones lack the setting `native_transport_timeout` (CASSANDRA-19534), and still
/// earlier ones `system_views.clients.client_options` and `system_views.gossip_info`. Without these no barrier can be
/// awaited, and connecting is refused. Tests run against 5.0; of 4.1 only the tables and settings were compared.
pub const REQUIRED_SERVER: &str = "Apache Cassandra 4.1.6 or later";

pub use nodes::ScyllaNodes;
pub use reader::{BucketSpan, ScyllaReader};
pub use schema::{Replication, TableOwner};
pub use session::{ScyllaCql, ScyllaStore};
pub use table::{EnsureOutcome, Schema, SchemaError};
