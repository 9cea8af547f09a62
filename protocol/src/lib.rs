//! What the fleet agrees on: the recipes over ZooKeeper, the namespace, the barrier and how a member leaves.
//!
//! `path` alone spells nodes, `queue` alone decides who holds a lock. The recipes are written against the port [`Session`](stitch_common::ports::Session) and a
//! [`Clock`](stitch_common::clock::Clock), start no task and keep no thread: whoever calls them drives them, heartbeats too.
//!
//! **Lost answers.** Every recipe expects that the answer to any request is lost. Reads are asked again. What creates
//! a node puts its maker into the name or the data, looks for it, and creates it again under the same name; what
//! deletes looks whether it is gone; transactions are checked by what they would have left. Pauses lie between, their
//! number is bounded, and the session's end ends them.
//!
//! **Cancellation.** Dropping a future of this module does not take its request back. What it may leave behind is said
//! at each function; where nothing is said it only reads.

#![warn(missing_docs)]

pub mod contender;
pub mod path;
pub mod queue;
pub mod envelope;
pub mod error;
pub mod namespace_session;
pub mod lock_entry;
pub mod lock;
pub mod membership;
pub mod range_lock;
pub mod revocation;
pub mod partition_lock;
pub mod checkpoint_node;
pub mod in_doubt;
pub mod definition_node;
pub mod log_node;
pub mod restoration;
pub mod inspect;
pub mod glance;
pub mod namespace;
pub mod quiescence;
pub mod leave;

pub use error::Error;
pub use namespace_session::NamespaceSession;
