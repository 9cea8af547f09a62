//! `init`, `check` and the refusals of `run`, with the real binary on real servers (`STITCH_TEST_ZOOKEEPER`,
//! `STITCH_TEST_KAFKA`, `STITCH_TEST_CASSANDRA`), each test in a namespace of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::feed::{create_topic, delete_topic, records_of};
use stitch_harness::process::{Finished, Program};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::zookeeper::ZooKeeperClient;

const BOUND: Duration = Duration::from_secs(60);
const ADDED: &str = "[[counter]]\nname = \"added\"\non = [\"play\"]\nkey = \"track\"\n";

/// A namespace that is not made yet; its topic is.
async fn bare(name: &str) -> Result<TestNamespace> {
    TestNamespace::bare(&Servers::from_environment()?, &TestConfig::new(name)?).await
}

fn program(stage: &TestNamespace, arguments: &[&str]) -> Result<Program> {
    let (command, more) = arguments.split_first().context("a command")?;
    let mut program = stage.processor_command(command, more)?;
    program.path = env!("CARGO_BIN_EXE_stitch-processor").into();
    Ok(program)
}

async fn finished(stage: &TestNamespace, arguments: &[&str]) -> Result<Finished> {
    program(stage, arguments)?.run(BOUND).await
}

/// Exit code and the object; nothing else stands on standard output.
async fn asked(stage: &TestNamespace, arguments: &[&str]) -> Result<(i32, Value)> {
    let mut arguments = arguments.to_vec();
    arguments.extend(["--output", "json"]);
    let finished = finished(stage, &arguments).await?;
    let object = serde_json::from_str(&finished.output).with_context(|| format!("{finished:?}"))?;
    Ok((finished.code.context("an exit code")?, object))
}

/// It ended with this code and outcome.
fn ended(answer: &(i32, Value), code: i32, outcome: &str) -> Result<()> {
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

fn says(answer: &(i32, Value), words: &[&str]) -> Result<()> {
    let text = answer.1.to_string();
    for word in words {
        ensure!(text.contains(word), "\"{word}\" is not in {text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_keyspace_init_prints_the_statement_and_makes_nothing() -> Result<()> {
    let stage = bare("cli_keyspace").await?;
    let told = finished(&stage, &["init"]).await?;
    ensure!(told.code == Some(2), "{told:?}");
    ensure!(
        told.output.contains("CREATE KEYSPACE") && told.output.ends_with(";\n"),
        "{told:?}"
    );
    let answer = asked(&stage, &["init"]).await?;
    ended(&answer, 2, "keyspace_missing")?;
    let statement = answer.1["statement"].as_str().context("a statement")?;
    ensure!(statement.contains(stage.keyspace()), "{statement}");
    let keeper = ZooKeeperClient::connect(&stage.servers.zookeeper).await?;
    let definition = format!("/stitch/{}/definition", stage.name);
    ensure!(
        keeper.data(&definition).await.is_err(),
        "{definition} was made"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_what_is_missing_and_is_harmless_when_run_again() -> Result<()> {
    let stage = bare("cli_again").await?;
    let first = asked(&stage, &["init", "--replication", "1"]).await?;
    ended(&first, 0, "created")?;
    says(&first, &[".counts", ".rejected", "/definition"])?;
    let rejected = format!("{}.rejected", stage.topic());
    ensure!(records_of(&stage.servers.kafka, &rejected)?.is_empty());
    let keeper = ZooKeeperClient::connect(&stage.servers.zookeeper).await?;
    let definition = format!("/stitch/{}/definition", stage.name);
    let before = keeper.data(&definition).await?;
    for arguments in [
        &["init"][..],
        &["init", "--update"],
        &["init", "--replication", "1"],
    ] {
        ended(&asked(&stage, arguments).await?, 0, "agrees")?;
    }
    ensure!(
        keeper.data(&definition).await? == before,
        "the definition was written again"
    );
    let text = finished(&stage, &["init"]).await?;
    ensure!(text.output.contains("is ready"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_inits_at_once_make_one_namespace() -> Result<()> {
    let stage = bare("cli_at_once").await?;
    ended(
        &asked(&stage, &["init", "--replication", "1"]).await?,
        0,
        "created",
    )?;
    let keeper = ZooKeeperClient::connect(&stage.servers.zookeeper).await?;
    keeper
        .delete(&format!("/stitch/{}/definition", stage.name))
        .await?;
    let all = futures_util::future::join_all((0..4).map(|_| asked(&stage, &["init"]))).await;
    for answer in all {
        ensure!(answer?.0 == 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_told_with_the_way_to_make_it() -> Result<()> {
    let stage = bare("cli_topic").await?;
    delete_topic(&stage.servers.kafka, stage.topic()).await?;
    for command in ["init", "check"] {
        let answer = asked(&stage, &[command]).await?;
        ended(
            &answer,
            2,
            if command == "init" { "error" } else { "wrong" },
        )?;
        says(&answer, &[stage.topic(), "retention.ms=-1"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_definition_is_shown_and_neither_init_nor_run_takes_it() -> Result<()> {
    let stage = bare("cli_differs").await?;
    ended(
        &asked(&stage, &["init", "--replication", "1"]).await?,
        0,
        "created",
    )?;
    stage.configure(&format!("{COUNTERS}\n[event]\ntime = \"at\""))?;
    for arguments in [&["init"][..], &["init", "--update"]] {
        let answer = asked(&stage, arguments).await?;
        ended(&answer, 2, "differs")?;
        let differences = answer.1["differences"].as_array().context("differences")?;
        ensure!(differences.len() == 1, "{answer:?}");
        says(&answer, &["[event] time: here at, in the namespace"])?;
    }
    for (command, outcome) in [("run", "error"), ("check", "wrong")] {
        let answer = asked(&stage, &[command]).await?;
        ended(&answer, 2, outcome)?;
        says(&answer, &["[event] time: here at, in the namespace"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_counter_is_taken_up_while_processors_run_and_check_names_those_to_restart()
-> Result<()> {
    let stage = bare("cli_added").await?;
    ended(
        &asked(&stage, &["init", "--replication", "1"]).await?,
        0,
        "created",
    )?;
    let mut counting = program(&stage, &["run"])?.start()?;
    counting
        .until_says("counting as a new member", BOUND)
        .await?;
    stage.configure(&format!("{COUNTERS}\n{ADDED}"))?;
    let answer = asked(&stage, &["init"]).await?;
    ended(&answer, 2, "differs")?;
    says(&answer, &["counter \\\"added\\\"", "--update"])?;
    let answer = asked(&stage, &["run"]).await?;
    ended(&answer, 2, "error")?;
    ended(&asked(&stage, &["init", "--update"]).await?, 0, "updated")?;
    ended(&asked(&stage, &["init"]).await?, 0, "agrees")?;
    let answer = asked(&stage, &["check"]).await?;
    ended(&answer, 0, "ok")?;
    says(
        &answer,
        &[
            "before `init --update`",
            &format!("process {}", counting.pid()),
        ],
    )?;
    let stopped = counting.stop(BOUND).await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    stage.configure(COUNTERS)?;
    let answer = asked(&stage, &["init", "--update"]).await?;
    ended(&answer, 2, "differs")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_of_the_same_name_is_told_from_the_first() -> Result<()> {
    let stage = bare("cli_log").await?;
    let first = stitch_harness::events::bad_records()
        .into_iter()
        .map(|(_, record)| record);
    stage.feed()?.send(first.clone()).await?;
    ended(
        &asked(&stage, &["init", "--replication", "1"]).await?,
        0,
        "created",
    )?;
    delete_topic(&stage.servers.kafka, stage.topic()).await?;
    let again = async {
        // Kafka deletes in the background: the name is taken for a moment.
        while create_topic(&stage.servers.kafka, stage.topic(), 4)
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(BOUND, again).await?;
    stage.feed()?.send(first.skip(3)).await?;
    for (command, outcome) in [("init", "differs"), ("check", "wrong"), ("run", "error")] {
        let answer = asked(&stage, &[command]).await?;
        ended(&answer, 2, outcome)?;
        says(&answer, &["first record"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_each_server_that_is_out_of_reach() -> Result<()> {
    let stage = bare("cli_check").await?;
    let answer = asked(&stage, &["check"]).await?;
    ended(&answer, 0, "ok")?;
    says(
        &answer,
        &[
            "is not initialised",
            "three ticks",
            "internode_timeout is on",
        ],
    )?;
    let mut program = program(&stage, &["check", "--output", "json"])?;
    let nowhere = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    program.environment = vec![
        nowhere("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1"),
        nowhere("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "1000"),
        nowhere("STITCH_CASSANDRA__NODES", "[\"127.0.0.1:1\"]"),
        nowhere("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ];
    let finished = program.run(BOUND).await?;
    let answer = (
        finished.code.context("a code")?,
        serde_json::from_str(&finished.output)?,
    );
    ended(&answer, 2, "wrong")?;
    for server in ["zookeeper", "cassandra", "kafka"] {
        let findings = answer.1["findings"].as_array().context("findings")?;
        let wrong = findings
            .iter()
            .filter(|finding| finding["verdict"] == "wrong");
        let mut of_server = wrong.filter_map(|finding| finding["message"].as_str());
        ensure!(
            of_server.any(|what| what.starts_with(server)),
            "{server}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_before_any_server_is_asked_is_one_object_too() -> Result<()> {
    let stage = bare("cli_object").await?;
    for arguments in [&["init", "--replication", "many"][..], &["run", "--colour"]] {
        let answer = asked(&stage, arguments).await?;
        ended(&answer, 2, "error")?;
        ensure!(answer.1["command"] == arguments[0], "{answer:?}");
    }
    std::fs::write(&stage.config, "namespace = \"a\"\nname_space = 1\n")?;
    let answer = asked(&stage, &["check"]).await?;
    ended(&answer, 2, "error")?;
    says(&answer, &["line 2", "name_space"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_a_running_processor_in_order() -> Result<()> {
    let stage = bare("cli_signals").await?;
    ended(
        &asked(&stage, &["init", "--replication", "1"]).await?,
        0,
        "created",
    )?;
    let mut counting = program(&stage, &["run", "--output", "json"])?.start()?;
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
async fn a_second_wish_ends_a_command_at_once_and_two_signals_of_one_do_not() -> Result<()> {
    let stage = bare("cli_signals_twice").await?;
    let mut program = program(&stage, &["check", "--output", "json"])?;
    let given = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    program.environment = vec![
        given("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1"),
        given("STITCH_ZOOKEEPER__SESSION_TIMEOUT_MS", "60000"),
        given("STITCH_LOG", "debug"),
    ];
    let mut checking = program.start()?;
    checking.until_says("signals are handled", BOUND).await?;
    checking.signal(Signal::TERM)?;
    checking.until_says("asked to stop", BOUND).await?;
    checking.signal(Signal::TERM)?;
    checking.until_says("another signal ends", BOUND).await?;
    checking.signal(Signal::INT)?;
    let finished = checking.finish(Duration::from_secs(10)).await?;
    ensure!(finished.code == Some(130), "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output)?;
    ensure!(
        object["outcome"] == "error" && object["command"] == "check",
        "{object}"
    );
    Ok(())
}
