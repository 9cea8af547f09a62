//! Cassandra: the only importer of its driver.

pub mod token;
