//! What counting, restoring and reading have in common: what an event, a cell, a range and progress *are*, the ports
//! through which all waiting goes, and the configuration.
//!
//! No client of a server is known here, and nothing is read or sent. What the fleet agrees on is in `stitch-protocol`,
//! what a program does in its own crate, and each server behind one adapter (`adapters/`).

pub mod user_error;
pub mod output;
pub mod progress;
pub mod invariant;
pub mod mutation;
pub mod offset;
pub mod token;
pub mod range;
pub mod cell;
pub mod definition;
pub mod event;
pub mod member;
pub mod checkpoint;
pub mod scope;
pub mod outcome;
pub mod clock;
pub mod wait;
pub mod lease;
pub mod ports;
pub mod config;
