//! `init`, `check` and the refusals of `run`, with the real binary on real servers (`STITCH_TEST_ZOOKEEPER`,
//! `STITCH_TEST_KAFKA`, `STITCH_TEST_CASSANDRA`), each test in a namespace of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::feed::{create_topic, delete_topic, records_of};
use stitch_harness::process::{Finished, Program};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::zookeeper::ZooKeeperClient;

const BOUND: Duration = Duration::from_secs(60);
const ADDED: &str = "[[counter]]\nname = \"added\"\non = [\"play\"]\nkey = \"track\"\n";

/// A namespace that is not created yet; its topic is.
async fn bare(name: &str) -> Result<TestNamespace> {
    TestNamespace::bare(&Servers::from_environment()?, &TestConfig::new(name)?).await
}

fn program(namespace: &TestNamespace, arguments: &[&str]) -> Result<Program> {
    let (command, more) = arguments.split_first().context("a command")?;
    let mut program = namespace.processor_command(command, more)?;
    program.path = env!("CARGO_BIN_EXE_stitch-processor").into();
    Ok(program)
}

async fn run(namespace: &TestNamespace, arguments: &[&str]) -> Result<Finished> {
    program(namespace, arguments)?.run(BOUND).await
}

/// Runs a command, and returns its exit code and the JSON object that is all of its standard output.
async fn run_json(namespace: &TestNamespace, arguments: &[&str]) -> Result<(i32, Value)> {
    let mut arguments = arguments.to_vec();
    arguments.extend(["--output", "json"]);
    let finished = run(namespace, &arguments).await?;
    let object = serde_json::from_str(&finished.output).with_context(|| format!("{finished:?}"))?;
    Ok((finished.code.context("an exit code")?, object))
}

/// Ensures that a command ended with this code and outcome.
fn ensure_outcome(answer: &(i32, Value), code: i32, outcome: &str) -> Result<()> {
    ensure!(
        answer.0 == code && answer.1["outcome"] == outcome,
        "{answer:?}"
    );
    let is_error = answer.1["error"]["help"]
        .as_str()
        .is_some_and(|text| !text.is_empty());
    ensure!(is_error == (code != 0), "{answer:?}");
    Ok(())
}

/// Creates the namespace.
async fn init(namespace: &TestNamespace) -> Result<()> {
    let answer = run_json(namespace, &["init", "--replication", "1"]).await?;
    ensure_outcome(&answer, 0, "created")
}

fn ensure_says(answer: &(i32, Value), words: &[&str]) -> Result<()> {
    let text = answer.1.to_string();
    for word in words {
        ensure!(text.contains(word), "\"{word}\" is not in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn init_without_the_keyspace_prints_the_statement_and_creates_nothing() -> Result<()> {
    let namespace = bare("cli_keyspace").await?;
    let printed = run(&namespace, &["init"]).await?;
    ensure!(printed.code == Some(2), "{printed:?}");
    ensure!(
        printed.output.contains("CREATE KEYSPACE") && printed.output.ends_with(";\n"),
        "{printed:?}"
    );
    let answer = run_json(&namespace, &["init"]).await?;
    ensure_outcome(&answer, 2, "keyspace_missing")?;
    let statement = answer.1["statement"].as_str().context("a statement")?;
    ensure!(statement.contains(namespace.keyspace()), "{statement}");
    let keeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let definition = format!("/stitch/{}/definition", namespace.name);
    ensure!(
        keeper.data(&definition).await.is_err(),
        "{definition} was created"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn init_creates_what_is_missing_and_is_harmless_when_run_again() -> Result<()> {
    let namespace = bare("cli_again").await?;
    let first = run_json(&namespace, &["init", "--replication", "1"]).await?;
    ensure_outcome(&first, 0, "created")?;
    ensure_says(&first, &[".counts", ".rejected", "/definition"])?;
    let rejected = format!("{}.rejected", namespace.topic());
    ensure!(records_of(&namespace.servers.kafka, &rejected)?.is_empty());
    let keeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let definition = format!("/stitch/{}/definition", namespace.name);
    let before = keeper.data(&definition).await?;
    for arguments in [
        &["init"][..],
        &["init", "--update"],
        &["init", "--replication", "1"],
    ] {
        ensure_outcome(&run_json(&namespace, arguments).await?, 0, "agrees")?;
    }
    ensure!(
        keeper.data(&definition).await? == before,
        "the definition was written again"
    );
    let text = run(&namespace, &["init"]).await?;
    ensure!(text.output.contains("is ready"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_inits_at_once_create_one_namespace() -> Result<()> {
    let namespace = bare("cli_at_once").await?;
    init(&namespace).await?;
    let keeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    keeper
        .delete(&format!("/stitch/{}/definition", namespace.name))
        .await?;
    let all = futures_util::future::join_all((0..4).map(|_| run_json(&namespace, &["init"]))).await;
    for answer in all {
        ensure!(answer?.0 == 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_reported_with_the_command_to_create_it() -> Result<()> {
    let namespace = bare("cli_topic").await?;
    delete_topic(&namespace.servers.kafka, namespace.topic()).await?;
    for command in ["init", "check"] {
        let answer = run_json(&namespace, &[command]).await?;
        ensure_outcome(
            &answer,
            2,
            if command == "init" { "error" } else { "wrong" },
        )?;
        ensure_says(&answer, &[namespace.topic(), "retention.ms=-1"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_definition_is_shown_and_accepted_by_neither_init_nor_run() -> Result<()> {
    let namespace = bare("cli_differs").await?;
    init(&namespace).await?;
    namespace.configure(&format!("{COUNTERS}\n[event]\ntime = \"at\""))?;
    for arguments in [&["init"][..], &["init", "--update"]] {
        let answer = run_json(&namespace, arguments).await?;
        ensure_outcome(&answer, 2, "differs")?;
        let differences = answer.1["differences"].as_array().context("differences")?;
        ensure!(differences.len() == 1, "{answer:?}");
        ensure_says(&answer, &["[event] time: here at, in the namespace"])?;
    }
    for (command, outcome) in [("run", "error"), ("check", "wrong")] {
        let answer = run_json(&namespace, &[command]).await?;
        ensure_outcome(&answer, 2, outcome)?;
        ensure_says(&answer, &["[event] time: here at, in the namespace"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_is_added_while_processors_run_and_check_names_those_to_restart() -> Result<()> {
    let namespace = bare("cli_added").await?;
    init(&namespace).await?;
    let mut counting = program(&namespace, &["run"])?.start()?;
    counting
        .until_says("counting as a new member", BOUND)
        .await?;
    namespace.configure(&format!("{COUNTERS}\n{ADDED}"))?;
    let answer = run_json(&namespace, &["init"]).await?;
    ensure_outcome(&answer, 2, "differs")?;
    ensure_says(&answer, &["counter \\\"added\\\"", "--update"])?;
    let answer = run_json(&namespace, &["run"]).await?;
    ensure_outcome(&answer, 2, "error")?;
    ensure_outcome(
        &run_json(&namespace, &["init", "--update"]).await?,
        0,
        "updated",
    )?;
    ensure_outcome(&run_json(&namespace, &["init"]).await?, 0, "agrees")?;
    let answer = run_json(&namespace, &["check"]).await?;
    ensure_outcome(&answer, 0, "ok")?;
    ensure_says(
        &answer,
        &[
            "before `init --update`",
            &format!("process {}", counting.pid()),
        ],
    )?;
    let stopped = counting.stop(BOUND).await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    namespace.configure(COUNTERS)?;
    let answer = run_json(&namespace, &["init", "--update"]).await?;
    ensure_outcome(&answer, 2, "differs")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_level_of_increments_is_raised_deliberately_and_never_lowered() -> Result<()> {
    let namespace = bare("cli_level").await?;
    init(&namespace).await?;
    let level = |name: &str| {
        let mut program = program(&namespace, &["init", "--update", "--output", "json"])?;
        let variable = "STITCH_CASSANDRA__WRITE_CONSISTENCY".to_owned();
        program.environment = vec![(variable, name.to_owned())];
        Ok::<_, anyhow::Error>(program)
    };
    for (name, outcome) in [
        ("ONE", "differs"),
        ("EACH_QUORUM", "updated"),
        ("EACH_QUORUM", "agrees"),
        ("LOCAL_QUORUM", "differs"),
    ] {
        let finished = level(name)?.run(BOUND).await?;
        let answer: Value = serde_json::from_str(&finished.output)?;
        ensure!(answer["outcome"] == outcome, "{name}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_of_the_same_name_is_recognized() -> Result<()> {
    let namespace = bare("cli_log").await?;
    let first = stitch_harness::events::bad_records()
        .into_iter()
        .map(|(_, record)| record);
    namespace.feed()?.send(first.clone()).await?;
    init(&namespace).await?;
    delete_topic(&namespace.servers.kafka, namespace.topic()).await?;
    let again = async {
        // Kafka deletes in the background: the name is taken for a moment.
        while create_topic(&namespace.servers.kafka, namespace.topic(), 4)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await?;
    namespace.feed()?.send(first.skip(3)).await?;
    for (command, outcome) in [("init", "differs"), ("check", "wrong"), ("run", "error")] {
        let answer = run_json(&namespace, &[command]).await?;
        ensure_outcome(&answer, 2, outcome)?;
        ensure_says(&answer, &["first record"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_each_server_that_is_out_of_reach() -> Result<()> {
    let namespace = bare("cli_check").await?;
    let answer = run_json(&namespace, &["check"]).await?;
    ensure_outcome(&answer, 0, "ok")?;
    ensure_says(
        &answer,
        &[
            "is not initialised",
            "three ticks",
            "internode_timeout is on",
            "required: Apache Cassandra 4.1.6 or later",
        ],
    )?;
    let mut program = program(&namespace, &["check", "--output", "json"])?;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    program.environment = vec![
        variable("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1"),
        variable("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "1000"),
        variable("STITCH_CASSANDRA__NODES", "[\"127.0.0.1:1\"]"),
        variable("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ];
    let finished = program.run(BOUND).await?;
    let answer = (
        finished.code.context("a code")?,
        serde_json::from_str(&finished.output)?,
    );
    ensure_outcome(&answer, 2, "wrong")?;
    for server in ["zookeeper", "cassandra", "kafka"] {
        let findings = answer.1["findings"].as_array().context("findings")?;
        let wrong = findings
            .iter()
            .filter(|finding| finding["verdict"] == "wrong");
        let mut messages = wrong.filter_map(|finding| finding["message"].as_str());
        ensure!(
            messages.any(|message| message.starts_with(server)),
            "{server}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_before_any_server_is_asked_is_one_object_too() -> Result<()> {
    let namespace = bare("cli_object").await?;
    for arguments in [&["init", "--replication", "many"][..], &["run", "--colour"]] {
        let answer = run_json(&namespace, arguments).await?;
        ensure_outcome(&answer, 2, "error")?;
        ensure!(answer.1["command"] == arguments[0], "{answer:?}");
    }
    std::fs::write(&namespace.config, "namespace = \"a\"\nname_space = 1\n")?;
    let answer = run_json(&namespace, &["check"]).await?;
    ensure_outcome(&answer, 2, "error")?;
    ensure_says(&answer, &["line 2", "name_space"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_a_running_processor_in_order() -> Result<()> {
    let namespace = bare("cli_signals").await?;
    init(&namespace).await?;
    let mut counting = program(&namespace, &["run", "--output", "json"])?.start()?;
    counting
        .until_says("counting as a new member", BOUND)
        .await?;
    let address = TestNamespace::address(&mut counting).await?;
    let health = stitch_harness::web::get(&address, "/health").await?;
    ensure!(health.0 == 200, "{health:?}");
    let stopped = counting.stop(BOUND).await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    let object: Value = serde_json::from_str(&stopped.output)?;
    ensure!(
        object["outcome"] == "stopped" && object["command"] == "run",
        "{object}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_interrupt_ends_a_processor_at_once_and_a_repeated_signal_does_not() -> Result<()>
{
    let namespace = bare("cli_signals_twice").await?;
    init(&namespace).await?;
    let zookeeper = Proxy::start(&namespace.servers.zookeeper).await?;
    let mut program = program(&namespace, &["run", "--output", "json"])?;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    program.environment.extend([
        variable("STITCH_ZOOKEEPER__CONNECT", &zookeeper.address()),
        variable("STITCH_PROCESSOR__STOP_TIMEOUT_MS", "9000"),
        variable("STITCH_LOG", "debug"),
    ]);
    let mut counting = program.start()?;
    counting
        .until_says("counting as a new member", BOUND)
        .await?;
    // Its clean stop waits for ZooKeeper.
    zookeeper.set(Mode::Blackhole);
    counting.signal(Signal::TERM)?;
    counting.until_says("stop requested", BOUND).await?;
    counting.signal(Signal::TERM)?;
    counting
        .until_says("another signal will end", BOUND)
        .await?;
    counting.signal(Signal::INT)?;
    let finished = counting.finish(Duration::from_secs(10)).await?;
    ensure!(finished.code == Some(130), "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output)?;
    ensure!(
        object["outcome"] == "error" && object["command"] == "run",
        "{object}"
    );
    Ok(())
}
