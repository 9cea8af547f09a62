//! Commands of operators, by the program itself, against a restoration that runs; and what the API's `/metrics` say of audits.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::metric;

use stitch_tests::scene::{
    BOUND, all_right, api, count, expect_refusal, json_object, page, restorator_json, restore,
    some_events, stop_api, test_namespace, until,
};

/// Gives a command that has to be taken.
async fn give(namespace: &TestNamespace, command: &str, arguments: &[&str]) -> Result<()> {
    let (code, answer) = restorator_json(namespace, command, arguments).await?;
    ensure!(code == Some(0), "{command} {arguments:?}: {answer}");
    Ok(())
}

/// Waits until `status` shows what `shows` wants.
async fn until_status(namespace: &TestNamespace, shows: impl Fn(&Value) -> bool) -> Result<Value> {
    let read = async || anyhow::Ok(restorator_json(namespace, "status", &[]).await?.1);
    until("that", read, shows).await
}

/// A restoration that takes a while in each range.
fn slow_run(namespace: &TestNamespace) -> Result<Process> {
    let mut program = namespace.restorator_command("run", &["--now", "--output", "json"])?;
    let slow = "r1-begun=sleep(1500);r2-closed-in=sleep(700);r7-verified=sleep(700)";
    program.environment = vec![("FAILPOINTS".to_owned(), slow.to_owned())];
    program.start()
}

/// Everything that the journals have.
fn journals(namespace: &TestNamespace) -> Result<String> {
    let files = std::fs::read_dir(namespace.journal())?;
    let texts = files.map(|file| Ok(std::fs::read_to_string(file?.path())?));
    Ok(texts.collect::<Result<Vec<_>>>()?.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoration_that_runs_is_paused_throttled_resumed_and_aborted() -> Result<()> {
    let namespace = test_namespace("controlled").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(60).await?;
    // Where none runs there is nothing to control, and a hold keeps one from beginning.
    for (command, arguments) in [("pause", &[][..]), ("abort", &[]), ("throttle", &["5"])] {
        let (code, answer) = restorator_json(&namespace, command, arguments).await?;
        expect_refusal(code, &answer, &["no restoration runs"])?;
    }
    let reason = ["--reason", "the disks are busy"];
    let hold = [&["2999-01-01T00:00:00Z"], &reason[..]].concat();
    give(&namespace, "hold-until", &hold).await?;
    let (code, answer) = restorator_json(&namespace, "run", &["--now"]).await?;
    expect_refusal(code, &answer, &["2999", "the disks are busy"])?;
    give(&namespace, "resume", &[]).await?;

    let mut run = slow_run(&namespace)?;
    let begun = until_status(&namespace, |status| {
        !status["control"]["restoration"].is_null()
    })
    .await?;
    give(&namespace, "pause", &reason).await?;
    // One that is over before the run has looked is none.
    run.until_says("pause by", BOUND).await?;
    let paused = until_status(&namespace, |status| !status["control"]["pause"].is_null()).await?;
    let control = &paused["control"];
    ensure!(
        control["pause"]["reason"] == "the disks are busy"
            && control["restoration"] == begun["control"]["restoration"],
        "{paused}"
    );
    // Totals that it reads may be older than those that are kept.
    let arguments = ["--keep", "1", "--output", "json"];
    let prune = namespace
        .totals_command("prune", &arguments)?
        .run(BOUND)
        .await?;
    expect_refusal(prune.code, &json_object(&prune)?, &["a restoration runs"])?;
    let another = "20300131T060000000Z-0000000100000001-0000000000000000";
    let (code, answer) = restorator_json(&namespace, "abort", &["--restoration", another]).await?;
    ensure!(code == Some(2), "{answer}");
    // With one correction a second it is still at work when it is aborted.
    give(&namespace, "throttle", &["1"]).await?;
    give(&namespace, "hold-until", &["2999-01-01T00:00:00Z"]).await?;
    let held = until_status(&namespace, |status| !status["control"]["hold"].is_null()).await?;
    ensure!(held["control"]["throttle"]["rate"] == 1, "{held}");
    give(&namespace, "resume", &[]).await?;
    until_status(&namespace, |status| {
        let control = &status["control"];
        control["pause"].is_null() && control["hold"].is_null() && control["throttle"]["rate"] == 1
    })
    .await?;
    give(&namespace, "abort", &["--reason", "wrong scope"]).await?;
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(4), "{finished:?}");
    ensure!(
        json_object(&finished)?["outcome"] == "aborted",
        "{finished:?}"
    );
    let journals = journals(&namespace)?;
    for word in [
        "pause",
        "throttle",
        "resume",
        "abort",
        "the disks are busy",
        "wrong scope",
    ] {
        ensure!(journals.contains(word), "no {word} in {journals}");
    }

    // What it has left is restored, and nothing of the commands is in force.
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_the_last_audit_and_what_is_allowed() -> Result<()> {
    let namespace = test_namespace("audit_metrics").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let objective = [
        ("STITCH_AUDIT__WRONG_PER_MILLION_MAX", "5"),
        ("STITCH_AUDIT__AUDITED_WITHIN_HOURS", "30"),
        ("STITCH_AUDIT__VERIFIED_WITHIN_HOURS", "48"),
    ];
    let (api, address) = api(&namespace, &objective).await?;
    let metrics = async || page(&address, "/metrics").await;
    let is = |page: &str, name: &str, value: f64| metric(page, name) == Some(value);
    // Before anything is audited: the objective, and no audit.
    let page = until("a range", &metrics, |page| {
        is(page, "stitch_range_verified_timestamp_seconds", 0.0)
    })
    .await?;
    for (name, value) in [
        ("stitch_audit_wrong_per_million_max", 5.0),
        ("stitch_audit_audited_within_seconds", 108_000.0),
        ("stitch_audit_verified_within_seconds", 172_800.0),
    ] {
        ensure!(is(&page, name, value), "{name}: {page}");
    }

    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(7).await?;
    let (code, plan) = restorator_json(&namespace, "plan", &[]).await?;
    ensure!(code == Some(1), "{plan}");
    let page = until("an audit", &metrics, |page| {
        metric(page, "stitch_audit_timestamp_seconds").is_some_and(|at| at > 0.0)
    })
    .await?;
    for count in ["wrong", "judged"] {
        let planned = plan["cells"][count].as_f64().context("cells of the plan")?;
        let name = format!("stitch_audit_{count}_cells");
        ensure!(
            planned >= 7.0 && is(&page, &name, planned),
            "{name}: {plan} {page}"
        );
    }
    ensure!(
        is(&page, "stitch_range_verified_timestamp_seconds", 0.0),
        "{page}"
    );
    stop_api(api).await?;
    namespace.stop([processor]).await
}
