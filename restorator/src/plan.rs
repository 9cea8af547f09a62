//! The plan (rule R1): what is wrong, found without any lock and without changing the store.

pub mod judge;
pub mod merge;
