//! TLS of the clients of ZooKeeper and Cassandra: certificates in PEM files, which are read again when they change, and
//! what it means that a handshake fails.
//!
//! Start with [`client_config()`]. Kafka's client has a TLS of its own, and the API's server is `stitch-app`'s.

pub mod pem_files;
pub mod client_config;
pub mod handshake_error;
pub mod refusal;

pub use client_config::client_config;
pub use handshake_error::explain;
pub use pem_files::{PemFiles, Stamp};
pub use refusal::refusal;
