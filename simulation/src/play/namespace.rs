//! The namespace that every history starts with, and the configuration of its programs.

use std::rc::Rc;
use std::time::Duration;

use stitch_common::config::{Config, Environment};
use stitch_common::ports::CreateMode;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_protocol::path::Paths;

use crate::cassandra::{KEEPALIVE, REQUEST_TIMEOUT};
use crate::history::History;
use crate::keeper::NAMESPACE;
use crate::world::World;

const CONFIG: &str = r#"
namespace = "n"
[zookeeper]
connect = "z:2181"
[cassandra]
nodes = ["c:9042"]
keyspace = "k"
[kafka]
topic = "events"
[kafka.client]
"bootstrap.servers" = "k:9092"
"group.id" = "g"
[[counter]]
name = "a"
on = ["e"]
key = "a"
amount_from = "n"
granularities = ["all", "hour"]
[[counter]]
name = "b"
on = ["e"]
key = "b"
amount_from = "n"
granularities = ["all"]
"#;

thread_local! {
    /// Parsed once a thread: parsing takes longer than many a history.
    static PARSED: Config = Config::parse("simulation", CONFIG, &Environment::default())
        .expect("the configuration of the simulation is a valid one");
}

/// The configuration of every program of this history: the timeouts are short, all else is as in production.
pub(super) fn config(history: &History) -> Rc<Config> {
    let mut config = PARSED.with(Clone::clone);
    let bits = stitch_common::range::RangeBits::new(history.bits);
    config.definitions.range_bits = bits.expect("few ranges");
    config.cassandra.request_timeout = REQUEST_TIMEOUT;
    config.cassandra.keepalive_interval = KEEPALIVE;
    config.cassandra.keepalive_timeout = KEEPALIVE;
    config.processor.requests_in_flight_max = history.in_flight;
    config.processor.drain_timeout = Duration::from_millis(300);
    config.processor.stop_timeout = Duration::from_micros(history.stop_timeout);
    config.processor.checkpoint_interval = Duration::from_millis(100);
    config.restorator.ranges_in_flight_max = history.side_by_side;
    config.restorator.dirty_cells_target = history.unjudged;
    // In a crowd a range has to be let go although events never pause.
    let range_timeout_ms = if history.crowd { 800 } else { 4000 };
    config.restorator.range_timeout = Duration::from_millis(range_timeout_ms);
    if let Some(portion) = history.portion {
        config.restorator.cells_per_lock_max = portion;
    }
    config.restorator.quiescence_timeout = Duration::from_secs(20);
    Rc::new(config)
}

/// As `init` leaves it.
pub(super) fn make(world: &World, config: &Config, partitions: usize) {
    world
        .topic
        .records
        .borrow_mut()
        .resize_with(partitions, Vec::new);
    let paths = Paths::new(NAMESPACE);
    let record = NamespaceRecord {
        generation: 1,
        definitions: config.definitions.clone(),
        log: crate::kafka::identity(world),
        table: crate::cassandra::table(),
    };
    let mut tree = world.keeper.tree.borrow_mut();
    let directories = paths
        .directories()
        .into_iter()
        .map(|path| (path, Vec::new()));
    for (path, data) in directories.chain([(paths.definition(), envelope::seal(&record))]) {
        tree.create(0, &path, &data, CreateMode::Persistent)
            .expect("the tree is empty");
    }
}
