use super::*;
use crate::user_error::UserError;

fn with(variables: &[(&str, &str)]) -> Result<Config, UserError> {
    let environment = variables.iter().copied().collect();
    Config::parse("stitch.toml", LEAST, &environment)
}

#[test]
fn a_variable_is_a_toml_value_or_else_a_string() {
    let config = with(&[
        ("STITCH_CASSANDRA__NODES", "[\"a:1\", \"b:2\"]"),
        ("STITCH_CASSANDRA__KEYSPACE", "counts"),
        ("STITCH_ZOOKEEPER__CONNECT", "zk-1:2181,zk-2:2181"),
        ("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "4000"),
        ("STITCH_KAFKA__TOPIC", "\"quoted\""),
        ("STITCH_Restorator__journal", "/var/lib/stitch"),
        ("STITCH_NAMESPACE", "other"),
    ])
    .unwrap();
    assert_eq!(config.cassandra.nodes, ["a:1", "b:2"]);
    assert_eq!(config.cassandra.keyspace, "counts");
    assert_eq!(config.zookeeper.connect, "zk-1:2181,zk-2:2181");
    assert_eq!(config.zookeeper.session_timeout, Duration::from_secs(4));
    assert_eq!(config.kafka.topic, "quoted");
    assert_eq!(config.restorator.journal, Path::new("/var/lib/stitch"));
    assert_eq!(config.namespace, "other");
}

#[test]
fn properties_of_librdkafka_can_be_set_without_dots_in_the_name() {
    let config = with(&[
        ("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", "k:9092"),
        ("STITCH_KAFKA__CLIENT__SESSION_TIMEOUT_MS", "9000"),
        ("STITCH_KAFKA__CLIENT__SASL.USERNAME", "me"),
        ("STITCH_KAFKA__CLIENT__LOG_LEVEL", "7"),
    ])
    .unwrap();
    assert_eq!(config.kafka.client["bootstrap.servers"], "k:9092");
    assert_eq!(config.kafka.client["session.timeout.ms"], "9000");
    assert_eq!(config.kafka.client["sasl.username"], "me");
    assert_eq!(config.kafka.client["log_level"], "7");
    assert_eq!(config.kafka.client["group.id"], "stitch-plays");
}

#[test]
fn the_counters_can_be_set_as_a_whole() {
    let counters = "[{name = \"bytes\", on = [\"get\"], key = \"host\", amount_from = \"size\"}]";
    let config = with(&[("STITCH_COUNTER", counters)]).unwrap();
    assert_eq!(config.definitions.counters.len(), 1);
    assert!(config.definitions.counter("bytes").is_some());
}

#[test]
fn variables_of_other_programs_are_ignored() {
    let config = with(&[
        ("STITCH_LOG", "debug"),
        ("STITCH_ZOOKEEPER_PORT", "2181"),
        ("STITCH_PROCESSOR_SERVICE_HOST", "10.0.0.1"),
    ]);
    assert_eq!(config, with(&[]));
}

#[test]
fn an_invalid_variable_is_named() {
    for (variable, value, problem) in [
        ("STITCH_KAFKA__TOPPIC", "events", "toppic"),
        ("STITCH_CASANDRA__NODES", "[\"a:1\"]", "casandra"),
        ("STITCH_KAFKA__TOPIC", "", "topic"),
        ("STITCH_KAFKA__TOPIC__NAME", "x", "no section"),
        ("STITCH_COUNTER__NAME", "x", "no section"),
        ("STITCH_RANGES__BITS", "13", "13"),
        ("STITCH_RANGES__BITS", "many", "many"),
        ("STITCH_CASSANDRA__NODES", "[]", "is empty"),
        ("STITCH_CASSANDRA__NODES", "a:1", "invalid type"),
        ("STITCH_CASSANDRA__", "a:1", "level is empty"),
        ("STITCH_CASSANDRA_NODES", "[\"a:1\"]", "two underscores"),
        (
            "STITCH_KAFKA__CLIENT__ENABLE_AUTO_COMMIT",
            "true",
            "Stitch itself",
        ),
    ] {
        let failure = with(&[(variable, value)]).unwrap_err();
        assert!(
            failure.message.contains(variable),
            "{variable}={value}: {failure}"
        );
        assert!(
            failure.message.contains(problem),
            "{variable}={value}: {failure}"
        );
        assert!(
            !failure.message.contains("line"),
            "{variable}={value}: {failure}"
        );
    }
    let twice = [("STITCH_KAFKA__TOPIC", "a"), ("STITCH_kafka__topic", "b")];
    let failure = with(&twice).unwrap_err();
    assert!(
        failure
            .message
            .contains("STITCH_kafka__topic and STITCH_KAFKA__TOPIC")
    );
}

#[test]
fn the_file_can_be_named_by_a_variable_and_the_command_line_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.toml"), LEAST).unwrap();
    std::fs::write(path("b.toml"), LEAST.replace("plays\"\n[z", "b\"\n[z")).unwrap();
    let variable = path("a.toml").display().to_string();
    let environment: Environment = [("STITCH_CONFIG", variable.as_str())].into_iter().collect();
    let named = Config::load(None, &environment).unwrap();
    assert_eq!(named.namespace, "plays");
    let given = Config::load(Some(&path("b.toml")), &environment).unwrap();
    assert_eq!(given.namespace, "b");
}
