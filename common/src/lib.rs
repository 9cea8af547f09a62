//! The domain: the types that counting, restoring and reading share, and the ports to the servers.
//!
//! Start with [`cell`] (what is counted), [`definition`] and [`event`] (what a record increments), and [`range`] (the unit
//! of locking). [`digest`] is what records add up to in any order. [`offset`] and [`checkpoint`] say how far the log has been counted, [`outcome`] what became of a write,
//! [`lease`] how long a process may send. [`ports`] has the traits of ZooKeeper, Cassandra and Kafka, [`clock`] that of
//! time; everything that waits goes through them. [`output`] and [`user_error`] are how every command reports; [`printable`] and [`secret`] say what of it may be shown. [`invariant`] and [`mutation`] serve the tests of the protocol.
//!
//! Not here: the configuration (`stitch-config`), clients of servers (one crate each below `adapters/`), the agreement of members through ZooKeeper
//! (`stitch-protocol`), command lines and logs (`stitch-app`), and the programs. Nothing in this crate opens a connection,
//! and it builds in seconds.

pub mod printable;
pub mod secret;
pub mod plain_number;
pub mod address;
pub mod user_error;
pub mod output;
pub mod progress;
pub mod invariant;
pub mod mutation;
pub mod offset;
pub mod digest;
pub mod token;
pub mod range;
pub mod cell;
pub mod time;
pub mod definition;
pub mod event;
pub mod member;
pub mod checkpoint;
pub mod scope;
pub mod outcome;
pub mod clock;
pub mod rate_limit;
pub mod liveness;
pub mod wait;
pub mod lease;
pub mod ports;
pub mod log_history;
pub mod server_failure;
