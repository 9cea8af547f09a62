//! Exit codes, JSON, and what users can rely on besides.

use std::time::Duration;

use anyhow::{Result, ensure};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::web::{get, metric};
use tokio::time::{sleep, timeout};

use stitch_tests::scene::{BOUND, all_right, asked, count, object, refused, restored, some, stage};

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn init_is_harmless_when_all_agrees_and_says_what_does_not() -> Result<()> {
    let stage = stage("init").await?;
    let again = stage.processor_command("init", &["--output", "json"])?;
    let finished = again.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    stage.configure(&stitch_harness::events::COUNTERS.replace("\"plays\"", "\"listens\""))?;
    let differs = stage.processor_command("init", &["--output", "json"])?;
    let finished = differs.run(BOUND).await?;
    refused(finished.code, &object(&finished)?, &["listens"])
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keyspace_and_replication_init_prints_the_statement_to_run() -> Result<()> {
    let stage = TestNamespace::bare(
        &Servers::from_environment()?,
        &TestConfig::new("no_keyspace")?,
    )
    .await?;
    let finished = stage.processor_command("init", &[])?.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let said = finished.output + &finished.errors;
    ensure!(said.contains("CREATE KEYSPACE"), "{said}");
    ensure!(said.contains(stage.keyspace()), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_counter_is_taken_up_and_its_past_counted() -> Result<()> {
    let stage = stage("added").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 1000)?).await?;
    let added = "\n[[counter]]\nname = \"likes\"\non = [\"like\"]\nkey = \"track\"\n";
    stage.configure(&(stitch_harness::events::COUNTERS.to_owned() + added))?;
    let update = stage.processor_command("init", &["--update"])?;
    let finished = update.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    // It goes on counting, and without the new counter: what is proved now would not stay true.
    count(&stage, some(2, 500)?).await?;
    let (code, answer) = asked(&stage, "run", &["--now", "--counter", "likes"]).await?;
    refused(code, &answer, &["restart", "processor"])?;
    stage.stop([processor]).await?;
    let processor = stage.processor("renewed").await?;
    count(&stage, some(3, 500)?).await?;
    let (code, answer) = asked(&stage, "run", &["--now", "--counter", "likes"]).await?;
    ensure!(code == Some(0), "run ended with {code:?}: {answer}");
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_plan_and_status_answer_by_their_codes_and_one_object_each() -> Result<()> {
    let stage = stage("answers").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    for command in ["check", "plan", "status"] {
        let (code, answer) = asked(&stage, command, &[]).await?;
        ensure!(code == Some(0), "{command} ended with {code:?}: {answer}");
        ensure!(answer["outcome"].is_string(), "{answer}");
    }
    let check = stage.processor_command("check", &["--output", "json"])?;
    let finished = check.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    object(&finished)?;
    let run = restored(&stage).await?;
    for name in ["judged", "wrong", "corrected", "unjudged"] {
        ensure!(run["cells"][name].is_u64(), "cells.{name}: {run}");
    }
    let ranges = run["ranges"].as_array().map(Vec::len);
    ensure!(ranges.is_some(), "ranges: {run}");
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_named_by_line_and_way_out() -> Result<()> {
    let stage = stage("wrong_config").await?;
    let good = std::fs::read_to_string(&stage.config)?;
    std::fs::write(&stage.config, format!("nmespace = \"x\"\n{good}"))?;
    let (code, answer) = asked(&stage, "status", &[]).await?;
    refused(code, &answer, &["nmespace", "stitch.toml"])
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_there_are_named() -> Result<()> {
    let stage = stage("no_server").await?;
    for (section, name) in [
        ("[zookeeper]\nconnect = \"127.0.0.1:1\"", "zookeeper"),
        ("[cassandra]\nnodes = [\"127.0.0.1:1\"]", "cassandra"),
        (
            "[kafka.client]\n\"bootstrap.servers\" = \"127.0.0.1:1\"",
            "kafka",
        ),
    ] {
        stage.configure(&format!("{}\n{section}", stitch_harness::events::COUNTERS))?;
        let (code, answer) = asked(&stage, "plan", &[]).await?;
        refused(code, &answer, &[name])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_processor_tells_its_health_and_what_it_counted() -> Result<()> {
    let stage = stage("told").await?;
    // However slow the machine is, no increment is given up, so nothing is suspect.
    let patient = "[cassandra]\nrequest_timeout_ms = 60000\nkeepalive_timeout_ms = 60000";
    stage.configure(&format!("{}\n{patient}", stitch_harness::events::COUNTERS))?;
    let mut processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    let address = TestNamespace::address(&mut processor).await?;
    for page in ["/health", "/ready"] {
        let (status, body) = get(&address, page).await?;
        ensure!(status == 200, "{page}: {status} {body}");
    }
    // Gauges are brought up to date now and then, not with every event.
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
        "stitch_ranges_stopped",
    ] {
        ensure!(value(none) == Some(0.0), "{none}: {metrics}");
    }
    stage.stop([processor]).await
}
