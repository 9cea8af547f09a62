//! Real servers, real processes, faults, and an independent recount: shared by the tests, the demo, the benchmark and the
//! torture.
//!
//! Where to start: [`test_namespace`] creates a namespace and starts the product's programs in it; `tests/scene.rs` and
//! `harness/demo/src/story.rs` show how it is used. A test counts events, injects faults, restores, and then requires
//! that [`recount`] finds every cell right.
//!
//! | module | what for |
//! |---|---|
//! | [`servers`] | the servers that `deploy/local` started: addresses; freeze, thaw, kill, start |
//! | [`secure`], [`kafka_acls`] | clients of servers that are secured; rights of Kafka's users |
//! | [`process`] | a program of the product: start, stop, freeze, kill, read its output |
//! | [`streams`] | a program whose standard output or standard error cannot be written |
//! | [`test_namespace`] | topic, table and configuration of one test, and the product's programs in it |
//! | [`events`], [`feed`] | generated events, usable or not; a producer, as fast as possible or as live traffic |
//! | [`connect_files`] | what a sink of Kafka Connect would have kept |
//! | [`lag`], [`zookeeper`], [`web`] | what a user or an operator can see: consumer lag, nodes, HTTP pages |
//! | [`proxy`] | network faults: cut, delay, black hole, lost requests and replies |
//! | [`object_server`], [`small_disk`] | an S3 server of a test's own; a disk that is soon full |
//! | [`corruptor`] | cells that are changed behind the product's back |
//! | [`recount`] | the whole log counted again, and compared with every cell |
//!
//! The harness shares no code with the product that it checks: which cells an event counts, and where a bucket starts, is
//! implemented here a second time, from the documentation alone. Programs on top of it: `harness/demo`, `harness/bench`,
//! `harness/torture`. Its own tests on real servers: `harness/tests/judges.rs`.

pub mod servers;
pub mod secure;
pub mod kafka_acls;
pub mod process;
pub mod process_usage;
pub mod machine;
pub mod load_generator;
pub mod streams;
pub mod transaction;
pub mod test_namespace;
pub mod events;
pub mod connect_files;
pub mod feed;
pub mod lag;
pub mod zookeeper;
pub mod web;
pub mod proxy;
pub mod object_server;
pub mod small_disk;
pub mod corruptor;
pub mod recount;
