//! The protocol of the fleet: what processors, restorator and API agree on in ZooKeeper, and the quiescence barrier.
//! Everything is written against the ports of [`stitch_common`] and a [`Clock`](stitch_common::clock::Clock); nothing
//! starts a task or keeps a thread: the caller drives every future, heartbeats too.
//!
//! The modules, in the order of reading:
//!
//! - **Nodes.** [`path`] alone spells paths and names, [`envelope`] encodes records, [`error`] says what can go wrong.
//! - **Session.** [`retry`] repeats requests whose answers are lost, [`namespace_session`] is one session in one namespace.
//!   `rule` has the rules that the simulation can remove.
//! - **Locks.** [`contender`] and [`queue`] decide who holds a lock, [`lock`] waits for it; [`range_lock`] and
//!   [`partition_lock`] are those of ranges and partitions, and [`revocation`] asks holders to yield.
//! - **Members.** [`membership`]: join, heartbeat, leave, list.
//! - **Records.** [`doubt`]s, [`in_doubt`] markers; the past of added counters ([`backfill`]); why a partition is not counted ([`suspension`]); the
//!   [`checkpoint_node`] of each partition, fenced by its lock; the
//!   [`definition_node`] of the namespace; the first records of its log ([`log_node`]); the lock of
//!   [`restoration`]s; a [`snapshot`] of it all, and what it says of [`uncertainty`].
//! - **Procedures.** [`namespace`]: validate the configuration and join. [`start_offset`]: where a partition is counted
//!   on, and when it must not be. [`quiescence`]: the barrier. [`cleanup`]: what dead members left behind. [`leave`].
//!
//! **Lost answers.** Every recipe expects that the answer to any request is lost. Reads are repeated. To create a node,
//! its maker is put into its name or data; after a lost answer the node is looked for, and created again under the same
//! name. Deletions check whether the node is gone, transactions are checked by what they would have changed. There are
//! pauses between attempts, their number is bounded, and the session's end ends them.
//!
//! **Errors.** Every recipe fails when ZooKeeper does: [`Error::Unanswered`], [`Error::Refused`], [`Error::SessionOver`].
//! A function's *Errors* name the others.
//!
//! **Cancellation.** Dropping a future does not take its request back. Each function says what it may leave behind;
//! where it says nothing it only reads.

#![warn(missing_docs)]

pub mod contender;
pub mod path;
pub mod queue;
pub mod error;
pub mod envelope;
pub mod retry;
mod rule;
pub mod namespace_session;
pub mod lock;
pub mod range_lock;
pub mod partition_lock;
pub mod revocation;
pub mod membership;
pub mod doubt;
pub mod in_doubt;
pub mod backfill;
pub mod suspension;
pub mod origin_node;
pub mod checkpoint_node;
pub mod definition_node;
pub mod log_node;
pub mod restoration;
pub mod uncertainty;
pub mod snapshot;
pub mod namespace;
pub mod start_offset;
pub mod known_nodes;
pub mod quiescence;
pub mod cleanup;
pub mod leave;

pub use error::Error;
pub use namespace_session::NamespaceSession;
