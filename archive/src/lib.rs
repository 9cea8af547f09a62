//! The archive: every record of the event topic in an object store, in segments that chain without a gap.
//!
//! A partition's archive is a *chain of segments*. A segment holds the records of an interval `[from, to)` of positions,
//! is named by `from`, and is put whole and only if there is none of its name; the next one is named by `to`. So there is
//! no other state: *complete up to X* is where the chain ends, and several archivers need no lock.
//!
//! - [`names`] spells every object's name;
//! - [`segment`] is the format of a segment: it writes and reads Parquet, and [`digest`](stitch_common::digest) is what a segment adds up to;
//! - [`parquet_part`] decodes one row group of a Parquet file: segments and totals are read by it;
//! - [`origin`] is where a partition's chain begins;
//! - [`chain`] follows it, with the help of an index object for every 1,000 segments;
//! - [`reader`] reads it: totals are made from that.
//! - [`verify`] reads everything, to see whether the archive is whole;
//! - [`status`] is how far it is behind the log;
//! - [`connect`] reads files of Kafka Connect, [`sealing`] compares them with the log while that has their records, and
//!   [`import`] makes segments of them;
//! - [`store_check`] is whether a store can be trusted not to overwrite, and `check` the part of that command that is about
//!   stores;
//! - [`archiver`] copies the topic; [`identity`] is whether the log is the one that was archived.
//!
//! Not here: what a record means. The archive holds records as Kafka holds them, so that a counter which is added next
//! year can count them.

pub mod names;
pub mod parquet_part;
pub mod segment;
mod error;
mod rule;
pub mod origin;
pub mod chain;
pub mod reader;
pub mod store_check;
pub mod identity;
pub mod metrics;
pub mod archiver;
pub mod verify;
pub mod status;
pub mod connect;
pub mod sealing;
pub mod import;
#[cfg(feature = "servers")]
pub mod check;
#[cfg(feature = "servers")]
pub mod cli;

pub use error::ArchiveError;
