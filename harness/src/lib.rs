//! What tests, demo and benchmark share: servers, processes, faults, a generator and an independent recount.
//!
//! It judges the product, so it shares no code with it: what an event counts, where a bucket starts and what stands
//! in the table are worked out here a second time, from the description of the product alone.

pub mod servers;

pub mod process;

pub mod proxy;

pub mod events;

pub mod feed;

pub mod lag;

pub mod recount;

pub mod corruptor;

pub mod keeper;

pub mod web;

pub mod test_namespace;
