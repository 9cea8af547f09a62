use super::*;

/// Part of [`LEAST`], its replacement, part of the error's message, part of its help.
#[rustfmt::skip]
const WRONG: &[(&str, &str, &str, &str)] = &[
    // What is missing.
    ("namespace = \"plays\"", "", "namespace is missing", "namespace ="),
    ("connect = \"127.0.0.1:2181\"", "", "line 3: zookeeper.connect is missing", "connect ="),
    ("nodes = [\"127.0.0.1:9042\"]", "", "line 5: cassandra.nodes is missing", "nodes ="),
    ("keyspace = \"stitch\"", "", "line 5: cassandra.keyspace is missing", "keyspace ="),
    ("topic = \"events\"", "", "line 8: kafka.topic is missing", "topic ="),
    ("\"group.id\" = \"stitch-plays\"", "", "line 10: kafka.client.group.id is missing", "group.id"),
    ("\"bootstrap.servers\" = \"127.0.0.1:9092\"", "", "bootstrap.servers is missing", "9092"),
    ("name = \"plays\"", "", "line 13: counter.name is missing", "name ="),
    ("on = [\"play\"]", "", "line 13: counter.on is missing", "on ="),
    ("key = \"track\"", "", "line 13: counter.key is missing", "key ="),
    ("[[counter]]", "counter = []\n[processor]", "counter", "deploy/stitch.toml"),
    // What is unknown or of another type.
    ("connect =", "conect =", "line 4: zookeeper.conect: unknown field", "deploy/stitch.toml"),
    ("[zookeeper]", "[zokeeper]", "line 3: zokeeper: unknown field", "deploy/stitch.toml"),
    ("name = \"plays\"", "nam = \"plays\"", "line 14: counter.nam: unknown", "deploy/stitch.toml"),
    ("topic = \"events\"", "topic = 7", "line 9: kafka.topic: invalid type", "deploy/stitch.toml"),
    ("key = \"track\"", "key = \"track\"\namount = 1.5", "counter.amount: invalid type", "correct"),
    ("topic = \"events\"", "topic = ", "line 9: no valid TOML", "deploy/stitch.toml"),
    ("topic = \"events\"", "topic = \"a\"\ntopic = \"b\"", "line 10: no valid TOML", "deploy"),
    ("topic = \"events\"", "topic.name = \"events\"", "line 9: kafka.topic: invalid type", "correct"),
    ("\"plays\"\n[z", "\"plays\"\nhttp = 7\n[z", "line 3: http: invalid type", "correct"),
    ("[[counter]]", "[counter]", "line 13: counter: invalid type", "correct"),
    // What is empty.
    ("[\"127.0.0.1:9042\"]", "[]", "line 6: cassandra.nodes is empty", "nodes ="),
    ("on = [\"play\"]", "on = []", "line 15: counter.on is empty", "on ="),
    ("on = [\"play\"]", "on = [\"\"]", "line 15: counter.on has an empty", "on ="),
    ("key = \"track\"", "key = \"\"", "line 16: counter.key is empty", "key ="),
    ("name = \"plays\"", "name = \"\"", "line 14: counter.name is empty", "name ="),
    ("\"stitch-plays\"", "\"\"", "kafka.client.group.id is missing", "group.id"),
    ("key = \"track\"", "key = \"t\"\ngranularities = []", "line 17: counter.granularities", "hour"),
    ("key = \"track\"", "key = \"t\"\namount_from = \"\"", "line 17: counter.amount_from", "bytes"),
    // What cannot be.
    ("\"plays\"\n[z", "\"\"\n[z", "line 2: namespace is empty", "namespace ="),
    ("\"plays\"\n[z", "\"a/b\"\n[z", "line 2: namespace cannot be", "slash"),
    ("\"plays\"\n[z", "\"a\\u200Bb\"\n[z", "line 2: namespace has a character that is invisible", "namespace ="),
    ("\"plays\"\n[z", "\"plays \"\n[z", "line 2: namespace has a blank", "namespace ="),
    ("\"plays\"\n[z", "\"..\"\n[z", "line 2: namespace cannot be", "slash"),
    ("127.0.0.1:2181", "127.0.0.1", "line 4: zookeeper.connect has no port: \"127.0.0.1\"", "2181"),
    ("127.0.0.1:2181", "a:2181,", "line 4: zookeeper.connect has an empty address", "2181"),
    ("127.0.0.1:2181", "a:2181/x,b:2181", "line 4: zookeeper.connect has an address after a slash", "2181"),
    ("127.0.0.1:9042", "a:port", "line 6: cassandra.nodes has a port that is not", "9042"),
    ("127.0.0.1:9042", "::1:9042", "line 6: cassandra.nodes has an IPv6 address without brackets", "9042"),
    ("127.0.0.1:9042", "a:9042\", \"A:9042", "line 6: cassandra.nodes names a:9042 twice", "9042"),
    ("127.0.0.1:2181", "a:0", "line 4: zookeeper.connect has a port that is not", "2181"),
    ("127.0.0.1:9092", "a:x", "bootstrap.servers has a port that is not", "9092"),
    ("\"stitch\"", "\"my-keyspace\"", "line 7: cassandra.keyspace = \"my-keyspace\"", "letters"),
    ("\"stitch\"", "\"1st\"", "line 7: cassandra.keyspace = \"1st\"", "letters"),
    ("\"stitch\"", "\"\"", "line 7: cassandra.keyspace is empty", "keyspace ="),
    ("\"stitch\"", "\"Stitch\"", "line 7: cassandra.keyspace = \"Stitch\"", "small letter"),
    ("\"events\"", "\"my events\"", "line 9: kafka.topic = \"my events\"", "letters"),
    ("\"events\"", "\"\"", "line 9: kafka.topic is empty", "topic ="),
    ("[kafka]", "user = \"u\"\n[kafka]", "cassandra.password is missing", "password ="),
    ("[kafka]", "password = \"p\"\n[kafka]", "cassandra.user is missing", "user ="),
    ("[kafka]", "write_consistency = \"ANY\"\n[kafka]", "line 8: cassandra.write_", "LOCAL_QUORUM"),
    ("[kafka]", "request_timeout_ms = 0\n[kafka]", "cassandra.request_timeout_ms = 0", "5000"),
    ("[kafka]", "connections_per_node = 0\n[kafka]", "connections_per_node = 0", "default is 2"),
    ("[kafka]", "local_datacenter = \"\"\n[kafka]", "local_datacenter is empty", "leave it out"),
    ("[[counter]]", "\"isolation.level\" = \"x\"\n[[counter]]",
     "line 13: kafka.client.isolation.level is set by Stitch", "leave the line out"),
    ("[[counter]]", "\"debug\" = [\"x\"]\n[[counter]]", "line 13: kafka.client.debug: invalid type: found an array", "correct"),
    ("[[counter]]", "\"linger.ms\" = 0.5\n[[counter]]", "line 13: kafka.client.linger.ms: invalid type", "correct"),
    ("[[counter]]", "sasl.username = \"x\"\n[[counter]]", "kafka.client.sasl: found a section", "in quotes"),
    ("[[counter]]", "\"session.timeout.ms\" = \"1s\"\n[[counter]]", "session.timeout.ms = \"1s\"", "45000"),
    ("[[counter]]", "\"session.timeout.ms\" = \"045000\"\n[[counter]]", "session.timeout.ms = \"045000\"", "45000"),
    ("[[counter]]", "\"session.timeout.ms\" = \" 45000\"\n[[counter]]", "session.timeout.ms = \" 45000\"", "45000"),
    ("[[counter]]", "\"session.timeout.ms\" = 4000000\n[[counter]]",
     "line 13: kafka.client.session.timeout.ms = 4000000 is not within", "45000"),
    ("[[counter]]", "\"fetch.min.bytes\" = 0o17\n[[counter]]",
     "line 13: kafka.client.fetch.min.bytes = \"0o17\" is not a plain number", "decimal"),
    ("[[counter]]", "\"message.timeout.ms\" = \"5m\"\n[[counter]]",
     "line 13: kafka.client.message.timeout.ms = \"5m\" is not a plain number", "decimal"),
    ("[[counter]]", "\"client.rack\" = \" a\"\n[[counter]]",
     "line 13: kafka.client.client.rack begins with a blank", "drops"),
    ("[[counter]]", "[ranges]\nbits = 13\n[[counter]]", "line 14: ranges.bits = 13", "default is 6"),
    ("[[counter]]", "[ranges]\nbits = -1\n[[counter]]", "line 14: ranges.bits = -1", "default is 6"),
    ("[[counter]]", "[event]\ntime = \"\"\n[[counter]]", "line 14: event.time is empty", "time ="),
    ("key = \"track\"", "key = \"t\"\ngranularities = [\"hour\",\n\"week\"]",
     "line 18: counter.granularities: there is no granularity \"week\"", "all, day, hour, minute, month, quarter, year"),
    ("key = \"track\"", "key = \"t\"\namount = 1\namount_from = \"b\"",
     "counter \"plays\" has both amount and amount_from", "keep"),
    ("key = \"track\"", "key = \"t\"\n[[counter]]\nname = \"plays\"\non = [\"x\"]\nkey = \"y\"",
     "line 17: counter \"plays\" is defined twice", "name of its own"),
    ("[[counter]]", "[processor]\nwindow_mib_max = 0\n[[counter]]", "processor.window_mib_max = 0", "default is 64"),
    ("[[counter]]", "[processor]\nstop_timeout_ms = 45000\n[[counter]]",
     "line 14: processor.stop_timeout_ms = 45000 is not below", "session.timeout.ms"),
    ("[[counter]]", "[processor]\nstop_timeout_ms = 1000\ndrain_timeout_ms = 1000\n[[counter]]",
     "line 15: processor.drain_timeout_ms = 1000 is not below", "stop_timeout_ms"),
    ("[[counter]]", "[restorator]\njournal = \"\"\n[[counter]]", "restorator.journal is empty", "journal ="),
    ("[[counter]]", "[restorator]\nread_level = \"QUORUM\"\n[[counter]]", "restorator.read_level: unknown", "deploy"),
    ("[[counter]]", "[restorator]\nquiescence_timeout_ms = -1\n[[counter]]",
     "restorator.quiescence_timeout_ms = -1 is not within", "default"),
    ("[[counter]]", "[restorator]\nquiescence_timeout_ms = \"5000\"\n[[counter]]",
     "restorator.quiescence_timeout_ms: invalid type: found a string, expected an integer", "correct"),
    ("[[counter]]", "[restorator]\nquiescence_timeout_ms = 99999999999999999999\n[[counter]]",
     "restorator.quiescence_timeout_ms: the integer has more", "correct"),
    ("[[counter]]", "[http]\nlisten = \"localhost\"\n[[counter]]",
     "line 14: http.listen = \"localhost\"", "127.0.0.1"),
    ("[[counter]]", "[api]\nlisten = \"8080\"\n[[counter]]", "line 14: api.listen = \"8080\"", "127.0.0.1:8080"),
    ("[[counter]]", "[api]\noperator_listen = \"127.0.0.1:8080\"\n[[counter]]",
     "line 14: api.operator_listen = \"127.0.0.1:8080\" is in use already: api.listen is 127.0.0.1:8080", "another port"),
    ("[[counter]]", "[api]\nlisten = \"0.0.0.0:80\"\noperator_listen = \"10.0.0.7:80\"\n[[counter]]",
     "line 15: api.operator_listen = \"10.0.0.7:80\" is in use already: api.listen is 0.0.0.0:80", "another port"),
    ("[[counter]]", "[api]\nconsistency = \"EACH_QUORUM\"\n[[counter]]",
     "line 14: api.consistency = \"EACH_QUORUM\"", "LOCAL_QUORUM"),
    ("[[counter]]", "[api]\npoints_max = 0\n[[counter]]", "api.points_max = 0", "default is 1000"),
    ("[[counter]]", "[api]\ncors_origins = [\"https://a.org/\"]\n[[counter]]",
     "line 14: api.cors_origins has an entry that no browser sends: \"https://a.org/\"", "\"https://a.org\""),
    ("[[counter]]", "[api]\ncors_origins = [\"*\",\n\"https://b\u{fc}cher.org\"]\n[[counter]]",
     "line 15: api.cors_origins has an entry that is no origin", "xn--"),
    ("[[counter]]", "[api]\ntokens = [\"short\"]\n[[counter]]",
     "line 14: api.tokens has an entry that is too short", "openssl"),
    ("[[counter]]", "[api]\ntokens = [\"0123456789 abcdef\"]\n[[counter]]",
     "api.tokens has an entry that cannot be sent", "openssl"),
    ("[[counter]]", "[api]\ntls_certificate = \"a\"\n[[counter]]", "line 13: api.tls_key is missing", "tls_key ="),
    ("[[counter]]", "[api]\ntls_key = \"a\"\n[[counter]]",
     "line 13: api.tls_certificate is missing", "tls_certificate ="),
];

#[test]
fn every_wrong_configuration_is_reported_with_file_line_key_and_help() {
    for (right, wrong, what, help) in WRONG {
        assert_eq!(LEAST.matches(right).count(), 1, "ambiguous: {right}");
        let failure = parse(&LEAST.replacen(right, wrong, 1)).expect_err(wrong);
        assert!(failure.message.contains(what), "{wrong:?}: {failure}");
        assert!(failure.help.contains(help), "{wrong:?}: {failure}");
        let placed = failure.message.starts_with("stitch.toml, line")
            || failure.message.ends_with(" is missing");
        assert!(placed, "{wrong:?}: {failure}");
    }
}

#[test]
fn a_file_without_any_counter_is_reported() {
    let (without, _) = LEAST.split_once("[[counter]]").unwrap();
    let failure = parse(without).unwrap_err();
    assert!(failure.message.contains("counter is missing"), "{failure}");
    let empty = format!("counter = []\n{without}");
    let failure = parse(&empty).unwrap_err();
    assert!(
        failure.message.contains("line 1: counter is empty"),
        "{failure}"
    );
}
