//! A small world in memory, behind the ports, for the tests of whole commands.

pub(crate) mod clock;
pub(crate) mod keeper;
pub(crate) mod log;
pub(crate) mod store;
pub(crate) mod world;
