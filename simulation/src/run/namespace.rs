//! The namespace in which every history starts, and the configuration of its programs.

use std::rc::Rc;
use std::time::Duration;

use stitch_common::ports::CreateMode;
use stitch_common::range::RangeBits;
use stitch_config::{Config, Environment};
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::envelope;
use stitch_protocol::path::Paths;
use stitch_testkit::kafka::Log;

use crate::history::History;
use crate::world::cassandra::{KEEPALIVE, REQUEST_TIMEOUT, table_identity};
use crate::world::{GENERATION, NAMESPACE, World};

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
    /// Parsed once per thread: parsing takes longer than many histories.
    static PARSED: Config = Config::parse("simulation", CONFIG, &Environment::default())
        .expect("the configuration of the simulation is valid");
}

/// The configuration of every program of this history: with short timeouts, otherwise as in production.
pub(crate) fn config(history: &History) -> Rc<Config> {
    let mut config = PARSED.with(Clone::clone);
    let bits = RangeBits::new(history.bits);
    config.definitions.range_bits = bits.expect("few ranges");
    config.cassandra.request_timeout = REQUEST_TIMEOUT;
    config.cassandra.keepalive_interval = Duration::from_micros(KEEPALIVE);
    config.cassandra.keepalive_timeout = Duration::from_micros(KEEPALIVE);
    config.processor.requests_in_flight_max = history.in_flight;
    config.processor.window_bytes_max = history.window;
    config.processor.turn_counters_max = history.turn_counters;
    config.processor.drain_timeout = Duration::from_millis(300);
    config.processor.stop_timeout = Duration::from_micros(history.stop_timeout);
    config.processor.checkpoint_interval = Duration::from_millis(100);
    config.restorator.requests_in_flight_max = history.in_flight;
    config.restorator.ranges_in_flight_max = history.ranges_in_flight;
    config.restorator.dirty_cells_target = history.dirty_cells_target;
    config.restorator.memory_bytes_max = history.memory;
    config.archive.segment_age = Duration::from_micros(history.segment_age);
    config.archive.segment_bytes = history.segment_bytes;
    // Sorted runs have no names there.
    config.totals.spill = std::env::temp_dir();
    // Under a steady load a range must be given back although events never pause.
    let range_timeout_ms = if history.steady_load { 800 } else { 4000 };
    config.restorator.range_timeout = Duration::from_millis(range_timeout_ms);
    config.restorator.quiescence_timeout = Duration::from_secs(20);
    Rc::new(config)
}

/// The configuration of programs with the defaults of production, but with this many ranges.
pub(crate) fn defaults(bits: RangeBits) -> Rc<Config> {
    let mut config = PARSED.with(Clone::clone);
    config.definitions.range_bits = bits;
    config.totals.spill = std::env::temp_dir();
    Rc::new(config)
}

/// Creates the namespace as `init` does.
pub(crate) fn create(world: &World, config: &Config, partitions: usize) {
    *world.kafka.log.borrow_mut() = Log::new(partitions);
    let paths = Paths::new(NAMESPACE);
    let record = NamespaceRecord {
        generation: GENERATION,
        definitions: config.definitions.clone(),
        log: world.kafka.log.borrow().identity(),
        table: table_identity(),
        write_consistency: config.cassandra.write_consistency,
        raised_from: None,
    };
    let mut tree = world.zookeeper.tree.borrow_mut();
    let directories = paths
        .directories()
        .into_iter()
        .map(|path| (path, Vec::new()));
    for (path, data) in directories.chain([(paths.definition(), envelope::seal(&record))]) {
        tree.create(0, &path, &data, CreateMode::Persistent)
            .expect("the tree is empty");
    }
}
