//! Each server has one door: one module that imports its client.

use anyhow::Result;

use crate::tree::{TrackedFile, none, tracked};

/// A client's crate, as code spells it, and the module that may import it.
const DOORS: [(&str, &str); 3] = [
    ("rdkafka", "common/src/event_log"),
    ("scylla", "common/src/counter_store"),
    ("zookeeper_client", "common/src/coordination"),
];

/// The harness and the tests judge the product through clients of their own.
const JUDGES: [&str; 3] = ["harness/", "tests/", "common/tests/"];

fn strangers(files: &[TrackedFile]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (client, door) in DOORS {
            let allowed = file.path.starts_with(door)
                || JUDGES.iter().any(|judge| file.path.starts_with(judge));
            let path = format!("{client}::");
            let code = file.text.lines().map(str::trim_start);
            let mut code = code.filter(|line| !line.starts_with("//"));
            if !allowed && code.any(|line| line.contains(&path)) {
                found.push(format!("{} uses {client}", file.path));
            }
        }
    }
    found
}

#[test]
fn only_the_door_to_a_server_imports_its_client() -> Result<()> {
    let rule = "Kafka is reached through common::event_log, Cassandra through common::counter_store, ZooKeeper \
        through common::coordination; everybody else takes the port";
    none(strangers(&tracked()?), rule);
    Ok(())
}

#[test]
fn a_stranger_at_the_door_is_found() {
    let file = |path: &str| TrackedFile {
        path: path.to_owned(),
        text: "use rdkafka::Message;\n".to_owned(),
    };
    let files = [
        file("processor/src/pipeline.rs"),
        file("common/src/event_log.rs"),
        file("common/src/counter_store/read.rs"),
    ];
    assert_eq!(
        strangers(&files),
        [
            "processor/src/pipeline.rs uses rdkafka",
            "common/src/counter_store/read.rs uses rdkafka"
        ]
    );
}
