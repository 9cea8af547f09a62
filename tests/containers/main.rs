//! Stitch as people run it: every program and every server in a container of its own, by `deploy/compose.yaml`. The
//! processes of `tests/system` share one machine; here a process loses its network, and nothing tells anybody.

mod stack;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stack::{NAMESPACE, Stack, docker};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::Feed;
use stitch_harness::lag::Lag;
use stitch_harness::recount::{Cells, recount};
use stitch_harness::web;
use stitch_tests::scene::{BOUND, PAST_THE_SESSION, events, some_events};
use tokio::time::sleep;

const FIRST: &str = "processor-1";
const SECOND: &str = "processor-2";
const PER_SECOND: u32 = 200;
const CORRUPTED_EACH: usize = 25;

/// The result of a command of the restorator with `--output json`.
async fn restorator(stack: &Stack, arguments: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = stack
        .restorator(&[arguments, &["--output", "json"]].concat())
        .await?;
    let answer = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok((output.status.code(), answer))
}

/// Kills one processor, freezes the other for longer than its session, and cuts the first one off. Each fault has to be
/// noticed: the process goes on with a new session.
async fn inject_faults(stack: &Stack) -> Result<()> {
    stack.on("kill", FIRST).await?;
    stack.on("start", FIRST).await?;
    stack
        .until_at_least(FIRST, "stitch_sessions_total", 1.0, BOUND)
        .await?;

    stack.on("pause", SECOND).await?;
    sleep(PAST_THE_SESSION).await;
    stack.on("unpause", SECOND).await?;
    stack
        .until_at_least(SECOND, "stitch_sessions_total", 2.0, BOUND)
        .await?;

    stack.cut_off(FIRST, true).await?;
    sleep(2 * PAST_THE_SESSION).await;
    ensure!(
        stack
            .metric(FIRST, "stitch_sessions_total")
            .await?
            .is_none(),
        "a processor that is cut off answers"
    );
    stack.cut_off(FIRST, false).await?;
    stack
        .until_at_least(FIRST, "stitch_sessions_total", 2.0, BOUND)
        .await
}

async fn audit_and_restore(stack: &Stack) -> Result<()> {
    let (code, plan) = restorator(stack, &["plan"]).await?;
    ensure!(code == Some(1), "plan exited with {code:?}: {plan}");
    let (code, run) = restorator(stack, &["run", "--now"]).await?;
    ensure!(code == Some(0), "run --now exited with {code:?}: {run}");
    ensure!(run["outcome"] == "verified", "{run}");
    Ok(())
}

/// Stops both processors: they hand over, and leave nothing behind.
async fn stop_cleanly(stack: &Stack) -> Result<()> {
    stack.compose(&["stop", "processor"]).await?;
    for name in [FIRST, SECOND] {
        let code = stack.inspect(name, "{{.State.ExitCode}}").await?;
        ensure!(code == "0", "{name} exited with {code}");
    }
    let (code, status) = restorator(stack, &["status"]).await?;
    ensure!(code == Some(0), "{status}");
    let dead = status["dead_members"].as_array();
    ensure!(dead.is_some_and(Vec::is_empty), "a clean stop: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_right_after_a_kill_a_freeze_a_cut_and_a_restoration_under_traffic() -> Result<()>
{
    let stack = Stack::up().await?;
    let kafka = &stack.servers.kafka;
    let feed = Feed::new(kafka, NAMESPACE)?;
    feed.send(some_events(1, 5000)?).await?;
    let live = feed.live(events(2)?, PER_SECOND);

    inject_faults(&stack).await?;
    let mut corruptor = Corruptor::connect(&stack.servers, NAMESPACE, 1).await?;
    corruptor.corrupt(CORRUPTED_EACH).await?;
    audit_and_restore(&stack).await?;

    live.stop().await?;
    Lag::new(kafka, NAMESPACE, NAMESPACE)?
        .until_none(BOUND)
        .await?;
    let nothing = Cells::new();
    let verdict = recount(
        &stack.servers,
        &stack.config,
        NAMESPACE,
        NAMESPACE,
        &nothing,
    )
    .await?;
    ensure!(verdict.all_right(), "{verdict}");

    let (status, body) = web::get(&stack.api().await?, "/ready").await?;
    ensure!(status == 200, "/ready of the API: {status} {body}");
    stop_cleanly(&stack).await
}

#[tokio::test]
async fn the_image_has_a_version_a_user_without_rights_and_no_shell() -> Result<()> {
    let image = std::env::var("STITCH_IMAGE").context("deploy/test containers sets it")?;
    let label = "{{index .Config.Labels \"org.opencontainers.image.version\"}} {{.Config.User}}";
    let told = docker(&["image", "inspect", "--format", label, &image]).await?;
    let expected = format!("{} 65532:65532", env!("CARGO_PKG_VERSION"));
    ensure!(told == expected, "{told}");
    for program in ["processor", "restorator", "api", "archive", "totals"] {
        let program = format!("stitch-{program}");
        let version = docker(&[
            "run",
            "--rm",
            "--read-only",
            "--cap-drop=ALL",
            "--network=none",
            &image,
            &program,
            "--version",
        ])
        .await?;
        ensure!(
            version.contains(env!("CARGO_PKG_VERSION")),
            "{program}: {version}"
        );
    }
    let shell = docker(&[
        "run",
        "--rm",
        "--network=none",
        &image,
        "/bin/sh",
        "-c",
        "true",
    ])
    .await;
    ensure!(shell.is_err(), "the image has a shell");
    Ok(())
}
