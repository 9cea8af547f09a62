//! Exit codes, JSON and metrics: the interface of the commands.

use std::time::Duration;

use anyhow::{Result, ensure};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{PATIENT, TestConfig, TestNamespace};
use stitch_harness::web::{get, metric};
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{
    BOUND, all_right, count, expect_refusal, json_object, restorator_json, restore, some_events,
    test_namespace,
};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn init_changes_nothing_when_everything_agrees_and_names_what_does_not() -> Result<()> {
    let namespace = test_namespace("init").await?;
    let again = namespace.processor_command("init", &["--output", "json"])?;
    let finished = again.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    namespace.configure(&stitch_harness::events::COUNTERS.replace("\"plays\"", "\"listens\""))?;
    let differs = namespace.processor_command("init", &["--output", "json"])?;
    let finished = differs.run(BOUND).await?;
    expect_refusal(finished.code, &json_object(&finished)?, &["listens"])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keyspace_and_replication_init_prints_the_statement_to_run() -> Result<()> {
    let namespace = TestNamespace::bare(
        &Servers::from_environment()?,
        &TestConfig::new("no_keyspace")?,
    )
    .await?;
    let finished = namespace.processor_command("init", &[])?.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let output = finished.output + &finished.errors;
    ensure!(output.contains("CREATE KEYSPACE"), "{output}");
    ensure!(output.contains(namespace.keyspace()), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_an_added_counter_is_restored() -> Result<()> {
    let namespace = test_namespace("added").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let added = "\n[[counter]]\nname = \"likes\"\non = [\"like\"]\nkey = \"track\"\n";
    namespace.configure(&(stitch_harness::events::COUNTERS.to_owned() + added))?;
    let update = namespace.processor_command("init", &["--update"])?;
    let finished = update.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    // It keeps counting without the new counter: what would be verified now would not stay right.
    count(&namespace, some_events(2, 500)?).await?;
    let (code, answer) =
        restorator_json(&namespace, "run", &["--now", "--counter", "likes"]).await?;
    expect_refusal(code, &answer, &["restart", "processor"])?;
    namespace.stop([processor]).await?;
    let processor = namespace.processor("renewed").await?;
    count(&namespace, some_events(3, 500)?).await?;
    let pending = async || {
        let (_, status) = restorator_json(&namespace, "status", &[]).await?;
        anyhow::Ok((
            status["backfills_pending"].clone(),
            status["uncertain"].clone(),
        ))
    };
    let (backfills, uncertain) = pending().await?;
    let ranges = backfills[0]["ranges"].as_array();
    ensure!(
        ranges.is_some_and(|ranges| !ranges.is_empty()),
        "{backfills}"
    );
    ensure!(
        backfills[0]["counter"] == "likes" && backfills[0]["ranges"] == uncertain,
        "{backfills}"
    );
    let (code, answer) =
        restorator_json(&namespace, "run", &["--now", "--counter", "likes"]).await?;
    ensure!(code == Some(0), "run exited with {code:?}: {answer}");
    let none = serde_json::json!([]);
    ensure!(
        pending().await? == (none.clone(), none),
        "its past is counted"
    );
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_plan_and_status_exit_with_their_codes_and_print_one_object_each() -> Result<()> {
    let namespace = test_namespace("answers").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    for command in ["check", "plan", "status"] {
        let (code, answer) = restorator_json(&namespace, command, &[]).await?;
        ensure!(code == Some(0), "{command} exited with {code:?}: {answer}");
        ensure!(answer["outcome"].is_string(), "{answer}");
    }
    let check = namespace.processor_command("check", &["--output", "json"])?;
    let finished = check.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    json_object(&finished)?;
    let run = restore(&namespace).await?;
    for name in ["judged", "wrong", "corrected", "unjudged"] {
        ensure!(run["cells"][name].is_u64(), "cells.{name}: {run}");
    }
    let ranges = run["ranges"].as_array().map(Vec::len);
    ensure!(ranges.is_some(), "ranges: {run}");
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_configuration_names_the_key_and_the_file() -> Result<()> {
    let namespace = test_namespace("wrong_config").await?;
    let good = std::fs::read_to_string(&namespace.config)?;
    std::fs::write(&namespace.config, format!("nmespace = \"x\"\n{good}"))?;
    let (code, answer) = restorator_json(&namespace, "status", &[]).await?;
    expect_refusal(code, &answer, &["nmespace", "stitch.toml"])
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_servers_are_named() -> Result<()> {
    let namespace = test_namespace("no_server").await?;
    for (section, name) in [
        ("[zookeeper]\nconnect = \"127.0.0.1:1\"", "zookeeper"),
        ("[cassandra]\nnodes = [\"127.0.0.1:1\"]", "cassandra"),
        (
            "[kafka.client]\n\"bootstrap.servers\" = \"127.0.0.1:1\"",
            "kafka",
        ),
    ] {
        namespace.configure(&format!("{}\n{section}", stitch_harness::events::COUNTERS))?;
        let (code, answer) = restorator_json(&namespace, "plan", &[]).await?;
        expect_refusal(code, &answer, &[name])?;
    }
    Ok(())
}

/// A whole rack that comes back from a power cut starts its programs in any order.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_waits_for_each_server_and_counts_once_it_answers() -> Result<()> {
    let namespace = test_namespace("awaited").await?;
    let servers = Servers::from_environment()?;
    let zookeeper = Proxy::start(&servers.zookeeper).await?;
    let cassandra = Proxy::cassandra(&servers.cassandra[0]).await?;
    let kafka = Proxy::kafka(&servers.kafka).await?;
    for (key, proxy, name) in [
        ("STITCH_ZOOKEEPER__CONNECT", zookeeper, "ZooKeeper"),
        ("STITCH_CASSANDRA__NODES", cassandra, "Cassandra"),
        ("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", kafka, "Kafka"),
    ] {
        proxy.set(Mode::Refuse);
        let mut program = namespace.processor_command("run", &[])?;
        program.environment = vec![(key.to_owned(), proxy.address())];
        let mut processor = program.start()?;
        let address = TestNamespace::address(&mut processor).await?;
        let said = processor
            .until_says("waiting for the servers", BOUND)
            .await?;
        ensure!(said.contains(name), "{said}");
        let (health, _) = get(&address, "/health").await?;
        let (ready, _) = get(&address, "/ready").await?;
        ensure!((health, ready) == (200, 503), "{name}: {health} {ready}");
        proxy.set(Mode::Pass);
        processor
            .until_says("counting as a new member", BOUND)
            .await?;
        namespace.stop([processor]).await?;
    }
    Ok(())
}

/// A roll-out starts it while servers are restarted, and nothing else starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn an_init_that_finds_a_server_away_is_done_once_it_answers() -> Result<()> {
    let namespace = test_namespace("init_awaited").await?;
    let servers = Servers::from_environment()?;
    for (key, server) in [
        ("STITCH_ZOOKEEPER__CONNECT", &servers.zookeeper),
        ("STITCH_CASSANDRA__NODES", &servers.cassandra[0]),
        ("STITCH_KAFKA__CLIENT__BOOTSTRAP_SERVERS", &servers.kafka),
    ] {
        // Of bytes only: the servers may demand TLS.
        let proxy = Proxy::start(server).await?;
        proxy.set(Mode::Refuse);
        let mut program = namespace.processor_command("init", &[])?;
        program.environment = vec![(key.to_owned(), proxy.address())];
        let mut init = program.start()?;
        init.until_says("waiting for a server", BOUND).await?;
        proxy.set(Mode::Pass);
        let finished = init.finish(BOUND).await?;
        ensure!(finished.code == Some(0), "{key}: {finished:?}");
        ensure!(finished.output.contains("is ready"), "{finished:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_reports_its_health_and_its_counts() -> Result<()> {
    let namespace = test_namespace("health").await?;
    namespace.configure(&format!("{}{PATIENT}", stitch_harness::events::COUNTERS))?;
    let mut processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let address = TestNamespace::address(&mut processor).await?;
    for page in ["/health", "/ready"] {
        let (status, body) = get(&address, page).await?;
        ensure!(status == 200, "{page}: {status} {body}");
    }
    // Gauges are updated periodically, not with every event.
    let seen = async {
        loop {
            let (_, metrics) = get(&address, "/metrics").await?;
            if metric(&metrics, "stitch_lag_events") == Some(0.0) {
                return anyhow::Ok(metrics);
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    let metrics = timeout(BOUND, seen).await??;
    let value = |name| metric(&metrics, name);
    ensure!(value("stitch_events_total") == Some(500.0), "{metrics}");
    let cells = value("stitch_cells_applied_total").unwrap_or_default();
    ensure!(cells > 500.0, "{metrics}");
    for none in [
        "stitch_suspect_cells_total",
        "stitch_blocked_events",
        "stitch_refused_ranges",
    ] {
        ensure!(value(none) == Some(0.0), "{none}: {metrics}");
    }
    namespace.stop([processor]).await
}

/// The alert "nothing counts" and dashboards go by that.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_without_a_session_shows_nothing_as_held() -> Result<()> {
    let namespace = test_namespace("held").await?;
    let zookeeper = Proxy::start(&Servers::from_environment()?.zookeeper).await?;
    let mut program = namespace.processor_command("run", &[])?;
    program.environment = vec![("STITCH_ZOOKEEPER__CONNECT".to_owned(), zookeeper.address())];
    let mut processor = program.start()?;
    let address = TestNamespace::address(&mut processor).await?;
    count(&namespace, some_events(1, 300)?).await?;
    let until_held = async |is_held: bool| {
        let seen = async {
            loop {
                let (_, metrics) = get(&address, "/metrics").await?;
                let held = metric(&metrics, "stitch_partitions_held");
                if held.is_some_and(|held| (held > 0.0) == is_held) {
                    return anyhow::Ok(());
                }
                sleep(LOOK_INTERVAL).await;
            }
        };
        timeout(BOUND, seen).await?
    };
    until_held(true).await?;
    zookeeper.set(Mode::Refuse);
    until_held(false).await?;
    let (health, _) = get(&address, "/health").await?;
    ensure!(health == 200, "it waits: {health}");
    zookeeper.set(Mode::Pass);
    until_held(true).await?;
    namespace.stop([processor]).await
}

/// A roll-out waits for every one of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_processor_for_which_no_partition_is_left_is_ready_and_takes_over() -> Result<()> {
    let config = TestConfig {
        partitions: 1,
        ..TestConfig::new("spare")?
    };
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let mut first = namespace.processor("first").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let mut second = namespace.processor("second").await?;
    for processor in [&mut second, &mut first] {
        let address = TestNamespace::address(processor).await?;
        let ready = async {
            while get(&address, "/ready").await?.0 != 200 {
                sleep(LOOK_INTERVAL).await;
            }
            anyhow::Ok(())
        };
        timeout(BOUND, ready).await??;
    }
    count(&namespace, some_events(2, 500)?).await?;
    namespace.stop([first]).await?;
    count(&namespace, some_events(3, 500)?).await?;
    all_right(&namespace).await?;
    namespace.stop([second]).await
}
