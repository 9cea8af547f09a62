use std::path::Path;
use std::time::Duration;

use super::*;
use stitch_common::cell::Granularity;
use stitch_common::definition::AmountSource;

mod audit;
mod batch;
mod documented;
mod environment;
mod secrets;
mod secure;
mod totals;
mod wrong;

/// A minimal configuration.
const LEAST: &str = r#"
namespace = "plays"
[zookeeper]
connect = "127.0.0.1:2181"
[cassandra]
nodes = ["127.0.0.1:9042"]
keyspace = "stitch"
[kafka]
topic = "events"
[kafka.client]
"bootstrap.servers" = "127.0.0.1:9092"
"group.id" = "stitch-plays"
[[counter]]
name = "plays"
on = ["play"]
key = "track"
"#;

fn parse(text: &str) -> Result<Config, stitch_common::user_error::UserError> {
    Config::parse("stitch.toml", text, &Environment::default())
}

#[test]
fn the_required_keys_are_enough() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.namespace, "plays");
    assert_eq!(config.kafka.group_id(), "stitch-plays");
    assert_eq!(config.kafka.dead_letter_topic(), "events.rejected");
    assert_eq!(config.definitions.range_bits.count(), 64);
    let counter = config.definitions.counter("plays").unwrap();
    assert_eq!(counter.granularities, Granularity::DEFAULT);
    assert_eq!(counter.amount, AmountSource::Fixed(1));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:0");
}

#[test]
fn properties_may_be_strings_numbers_and_booleans() {
    let more = "[kafka.client]\n\"socket.keepalive.enable\" = true\n\"fetch.min.bytes\" = 7\n\"debug\" = \"cgrp\"\n\"linger.ms\" = \"0.5\"\n\"queued.min.messages\" = 1_000";
    let config = parse(&LEAST.replace("[kafka.client]", more)).unwrap();
    assert_eq!(config.kafka.client["socket.keepalive.enable"], "true");
    assert_eq!(config.kafka.client["fetch.min.bytes"], "7");
    assert_eq!(config.kafka.client["debug"], "cgrp");
    assert_eq!(config.kafka.client["linger.ms"], "0.5");
    assert_eq!(config.kafka.client["queued.min.messages"], "1000");
}

#[test]
fn a_property_of_two_names_is_taken_by_either_and_refused_by_both() {
    let with = |lines: &str| {
        let client = format!("[kafka.client]\n{lines}");
        parse(&LEAST.replace("[kafka.client]", &client))
    };
    let config = with("\"message.timeout.ms\" = 7000").unwrap();
    assert_eq!(config.kafka.client["delivery.timeout.ms"], "7000");
    for lines in [
        "\"message.timeout.ms\" = 7000\n\"delivery.timeout.ms\" = 8000",
        "\"metadata.broker.list\" = \"elsewhere:9092\"",
    ] {
        let error = with(lines).unwrap_err();
        assert!(error.message.contains("is given twice"), "{error}");
    }
}

#[test]
fn properties_that_would_break_the_protocol_are_refused_by_name() {
    for name in [
        "group.instance.id",
        "check.crcs",
        "api.version.request",
        "broker.version.fallback",
        "isolation.level",
        "auto.offset.reset",
    ] {
        let line = format!("[kafka.client]\n\"{name}\" = \"x\"");
        let error = parse(&LEAST.replace("[kafka.client]", &line)).unwrap_err();
        assert!(error.message.contains(name), "{error}");
        assert!(error.help.contains("leave the line out"), "{error}");
    }
}

#[test]
fn a_short_kafka_session_shortens_the_default_stop_timeout() {
    let session = "[kafka.client]\n\"session.timeout.ms\" = 6000";
    let config = parse(&LEAST.replace("[kafka.client]", session)).unwrap();
    assert_eq!(config.processor.stop_timeout, Duration::from_secs(3));
    assert_eq!(config.processor.drain_timeout, Duration::from_millis(1500));
    let config = parse(LEAST).unwrap();
    assert_eq!(config.processor.stop_timeout, Duration::from_secs(20));
    assert_eq!(config.processor.drain_timeout, Duration::from_secs(2));
}

#[test]
fn servers_are_the_same_however_their_list_is_written() {
    let servers = |zookeeper: &str, cassandra: &str| {
        let text = LEAST
            .replace("\"127.0.0.1:2181\"", zookeeper)
            .replace("[\"127.0.0.1:9042\"]", cassandra);
        let config = parse(&text).unwrap();
        (
            config.zookeeper.connect.to_string(),
            config.cassandra.nodes.to_string(),
        )
    };
    let wanted = ("a:2181,b:2181".to_owned(), "a:9042,[::1]:9042".to_owned());
    assert_eq!(
        servers("\"a:2181,b:2181\"", "[\"a:9042\", \"[::1]:9042\"]"),
        wanted
    );
    assert_eq!(
        servers("\" a:2181, B:2181\\n\"", "[\"a:9042 \", \"[0::1]:9042\"]"),
        wanted
    );
}

#[test]
fn brokers_are_passed_on_without_blanks() {
    let config = parse(&LEAST.replace("127.0.0.1:9092", "a:9092, SASL_SSL://b:9093 ,c\\n"));
    assert_eq!(
        config.unwrap().kafka.client["bootstrap.servers"],
        "a:9092,SASL_SSL://b:9093,c:9092"
    );
}

#[test]
fn a_file_of_another_system_means_the_same_and_its_lines_are_the_same() {
    let config = parse(LEAST).unwrap();
    let windows = format!("\u{feff}{}", LEAST.replace('\n', "\r\n"));
    assert_eq!(parse(&windows).unwrap(), config);
    let wrong = windows.replace("\"events\"", "\"my events\"");
    let error = parse(&wrong).unwrap_err();
    assert!(
        error.message.contains("stitch.toml, line 9: kafka.topic"),
        "{error}"
    );
    // A key is what stands between its quotes.
    let error = parse(&LEAST.replace("topic =", "\" topic\" =")).unwrap_err();
    assert!(
        error
            .message
            .contains("line 9: kafka. topic: unknown field"),
        "{error}"
    );
}

#[test]
fn the_listener_for_operators_has_an_address_of_its_own() {
    let with = |listen: &str, operators: &str| {
        let api = format!("[api]\nlisten = \"{listen}\"\noperator_listen = \"{operators}\"\n");
        parse(&LEAST.replacen("[[counter]]", &format!("{api}[[counter]]"), 1))
    };
    for (listen, operators) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("0.0.0.0:8080", "127.0.0.1:8081"),
        ("127.0.0.1:8080", "127.0.0.2:8080"),
        ("127.0.0.1:8080", "[::]:8080"),
    ] {
        let api = with(listen, operators).unwrap().api;
        assert_eq!(api.operator_listen, Some(operators.parse().unwrap()));
    }
    for (listen, operators) in [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("127.0.0.1:8080", "0.0.0.0:8080"),
        ("[::]:8080", "[::1]:8080"),
    ] {
        let error = with(listen, operators).unwrap_err();
        for key in ["api.listen", "api.operator_listen"] {
            assert!(error.message.contains(key), "{error}");
        }
    }
}

#[test]
fn a_missing_file_is_named_with_the_ways_to_name_another() {
    let failure = Config::load(Some(Path::new("/no/such.toml")), &Environment::default());
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("/no/such.toml"), "{failure}");
    assert!(failure.help.contains("STITCH_CONFIG"), "{failure}");
}

#[test]
fn a_level_is_above_another_if_it_promises_more_wherever_the_replicas_are() {
    use crate::WriteConsistency::{All, EachQuorum, LocalOne, LocalQuorum, One, Quorum};
    let above = [
        (LocalQuorum, vec![LocalOne, One]),
        (Quorum, vec![LocalOne, One]),
        (EachQuorum, vec![LocalOne, LocalQuorum, Quorum, One]),
        (All, vec![LocalOne, LocalQuorum, EachQuorum, Quorum, One]),
        (One, vec![]),
        (LocalOne, vec![]),
    ];
    for (level, below) in above {
        let found: Vec<_> = crate::WriteConsistency::EVERY
            .into_iter()
            .map(|(other, _)| other)
            .filter(|other| level.is_above(*other))
            .collect();
        assert_eq!(found, below, "{level:?}");
    }
}
