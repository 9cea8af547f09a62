//! Cassandra: the only importer of its driver.
//!
//! [`ScyllaCql`] makes the two sessions that a member has: [`ScyllaStore`], which increments and reads, and
//! [`ScyllaNodes`], which looks at the nodes one by one and never changes the store. [`ScyllaReader`] reads counts for
//! people who look at them. [`Schema`] makes the table and says whether one that exists is ours. What a driver's error
//! says about an increment stands in [`classify`].

pub mod schema;
pub mod table;
#[cfg(test)]
mod token;
mod statements;
pub mod classify;
mod connect;
mod listed;
pub mod session;
mod read;
mod scan;
pub mod reader;
pub mod nodes;

pub use nodes::ScyllaNodes;
pub use reader::{BucketSpan, ScyllaReader};
pub use schema::{Claim, Replication};
pub use session::{ScyllaCql, ScyllaStore};
pub use table::{Ensured, Schema, SchemaError};
