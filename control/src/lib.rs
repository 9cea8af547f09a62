//! What operators and restorations agree on in ZooKeeper.
//!
//! - [`control_record`]: what operators want of the restoration that runs, and of those to come; which command may change
//!   it, and how. Pure. [`control_node`] reads and changes it, and [`command_queue`] does so for a server.
//! - [`restoration_record`], [`audit_record`]: what restorations and audits have found and done; the latest ones are kept
//!   ([`record_folder`]). No count depends on them. [`verification`] says by them when counts were last verified.
//!
//! The lock of restorations is in `stitch-protocol`.

#![warn(missing_docs)]

pub mod restoration_id;
pub mod audit_tally;
pub mod record_folder;
pub mod control_record;
pub mod restoration_record;
pub mod audit_record;
pub mod control_node;
pub mod command_queue;
pub mod verification;
