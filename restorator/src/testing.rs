//! Servers in memory behind the ports, for the tests of whole commands. Their data comes from `testkit/`; they record each
//! request, and a test can change something just before one.

pub(crate) mod cassandra;
pub(crate) mod clock;
pub(crate) mod kafka;
pub(crate) mod world;
pub(crate) mod zookeeper;
