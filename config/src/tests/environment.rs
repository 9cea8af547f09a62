use super::*;
use stitch_common::user_error::UserError;

fn with(variables: &[(&str, &str)]) -> Result<Config, UserError> {
    let environment = variables.iter().copied().collect();
    Config::parse("stitch.toml", LEAST, &environment)
}

#[test]
fn a_variable_is_what_its_key_wants() {
    let config = with(&[
        ("STITCH_CASSANDRA__NODES", "[\"a:1\", \"b:2\"]"),
        ("STITCH_CASSANDRA__KEYSPACE", "counts"),
        ("STITCH_ZOOKEEPER__CONNECT", "zk-1:2181,zk-2:2181"),
        ("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "4_000"),
        ("STITCH_KAFKA__TOPIC", "7"),
        ("STITCH_Restorator__journal", "/var/lib/stitch"),
        ("STITCH_NAMESPACE", "true"),
    ])
    .unwrap();
    assert_eq!(config.cassandra.nodes.to_string(), "a:1,b:2");
    assert_eq!(config.cassandra.keyspace, "counts");
    assert_eq!(config.zookeeper.connect.to_string(), "zk-1:2181,zk-2:2181");
    assert_eq!(config.zookeeper.session_timeout, Duration::from_secs(4));
    assert_eq!(config.kafka.topic, "7");
    assert_eq!(config.restorator.journal, Path::new("/var/lib/stitch"));
    assert_eq!(config.namespace, "true");
}

#[test]
fn a_text_is_the_variable_character_by_character() {
    for text in [
        "20240501",
        "'abc'",
        "\"abc\"",
        "true",
        "1e5",
        "0x10",
        "007",
        "1_000",
        "2024-05-01",
        "[\"a\"]",
        "{a = 1}",
        " a b ",
        "#a",
        "a#b",
        "$x",
        "ä€",
        "\\n",
        "inf",
        "a = 1",
        "a,b",
    ] {
        let config = with(&[
            ("STITCH_CASSANDRA__USER", "me"),
            ("STITCH_CASSANDRA__PASSWORD", text),
            // Kafka's client would drop a blank in front.
            ("STITCH_KAFKA__CLIENT__SASL_PASSWORD", text.trim_start()),
        ]);
        let config = config.unwrap();
        let credentials = config.cassandra.credentials.unwrap();
        assert_eq!(credentials.password.expose(), text);
        assert_eq!(config.kafka.client["sasl.password"], text.trim_start());
    }
}

#[test]
fn a_list_is_separated_by_commas_or_a_toml_array() {
    let tokens = |value: &str| {
        let config = with(&[("STITCH_API__TOKENS", value)])?;
        let tokens = config.api.tokens.iter();
        Ok(tokens.map(|token| token.expose().to_owned()).collect())
    };
    let one: Result<Vec<String>, UserError> = tokens("0123456789abcdef0123");
    assert_eq!(one.unwrap(), ["0123456789abcdef0123"]);
    let two: Vec<String> = tokens("0123456789abcdef, fedcba9876543210\n").unwrap();
    assert_eq!(two, ["0123456789abcdef", "fedcba9876543210"]);
    assert_eq!(
        tokens("[\"0123456789abcdef\", 'fedcba9876543210']").unwrap(),
        two
    );
    for wrong in [
        "",
        ",",
        "0123456789abcdef,",
        "[\"0123456789abcdef\"",
        "[7]",
        "a, b",
    ] {
        let error = tokens(wrong).unwrap_err();
        assert!(error.message.contains("STITCH_API__TOKENS"), "{error}");
    }
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
        ("STITCH_LOG_FORMAT", "json"),
        ("STITCH_PROCESSOR_SERVICE_HOST", "10.0.0.1"),
        ("STITCH_API_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("STITCH_KAFKA_CLIENT_SERVICE_HOST", "10.0.0.1"),
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
        ("STITCH_RANGES__BITS", "many", "expected an integer"),
        ("STITCH_RANGES__BITS", "6\n", "expected an integer"),
        ("STITCH_RANGES__BITS", "\"6\"", "expected an integer"),
        ("STITCH_RANGES__BITS", "", "expected an integer"),
        ("STITCH_CASSANDRA__NODES", "[]", "is empty"),
        ("STITCH_CASSANDRA__NODES", "a", "has no port"),
        ("STITCH_CASSANDRA__NODES", "a:1,", "empty address"),
        ("STITCH_KAFKA__TOPIC", "events\n", "line end"),
        ("STITCH_NAMESPACE", " plays", "blank"),
        ("STITCH_CASSANDRA__KEYSPACE", "Stitch", "without quotes"),
        ("STITCH_CASSANDRA__LOCAL_DATACENTER", "dc1 ", "blank"),
        ("STITCH_RESTORATOR__JOURNAL", "a\tb", "control character"),
        ("STITCH_HTTP__LISTEN", " 127.0.0.1:0", "not an IP address"),
        ("STITCH_KAFKA__CLIENT__GROUP_ID", "stitch\n", "line end"),
        (
            "STITCH_KAFKA__CLIENT__SASL_PASSWORD",
            " x",
            "begins with a blank",
        ),
        ("STITCH_KAFKA__CLIENT__RETRIES", "010", "plain number"),
        (
            "STITCH_API__CORS_ORIGINS",
            "https://a.org,HTTP://b.org:80",
            "no browser sends",
        ),
        (
            "STITCH_KAFKA__CLIENT",
            "{\"group.id\" = \"x\"}",
            "expected a section",
        ),
        ("STITCH_CASSANDRA_PASSWORD", "x", "two underscores"),
        ("STITCH_API_TOKENS", "x", "two underscores"),
        ("STITCH_KAFKA_CLIENT_SASL_PASSWORD", "x", "two underscores"),
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
            !failure.message.contains(", line"),
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
