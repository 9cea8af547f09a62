//! What the tests have in common: a stage with processors, events, and the two ways to look at the counts.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Record, Shape};
use stitch_harness::process::{Finished, Process};
use stitch_harness::recount::Verdict;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

/// Nothing takes so long unless it hangs: several times a restoration with the longest calm, beside much other work.
pub const BOUND: Duration = Duration::from_secs(300);

/// Longer than the sessions that the servers grant.
pub const PAST_THE_SESSION: Duration = Duration::from_secs(6);

/// A namespace of its own for the test of this name.
pub async fn stage(name: &str) -> Result<TestNamespace> {
    TestNamespace::build(&Servers::from_environment()?, &TestConfig::new(name)?).await
}

/// Events of the generator, the same for the same seed.
pub fn events(seed: u64) -> Result<Generator> {
    Generator::new(Shape {
        seed,
        tracks: 200,
        ..Shape::default()
    })
}

/// So many events at once.
pub fn some(seed: u64, count: usize) -> Result<Vec<Record>> {
    Ok(events(seed)?.take(count).collect())
}

/// Feeds events and waits until all are counted.
pub async fn count(stage: &TestNamespace, records: Vec<Record>) -> Result<()> {
    stage.feed()?.send(records).await?;
    stage.lag()?.until_none(BOUND).await
}

/// Kills a processor while it is counting these events.
pub async fn kill_amid(
    stage: &TestNamespace,
    victim: &mut Process,
    records: Vec<Record>,
) -> Result<()> {
    let lag = stage.lag()?;
    let sending = async { stage.feed()?.send(records).await };
    let killing = async {
        while lag.records().await? == 0 {
            tokio::task::yield_now().await;
        }
        victim.kill().await
    };
    tokio::try_join!(sending, killing)?;
    Ok(())
}

/// Every cell is right, by the independent recount.
pub async fn all_right(stage: &TestNamespace) -> Result<Verdict> {
    let verdict = stage.recount().await?;
    ensure!(verdict.all_right(), "{}: {verdict}", stage.namespace);
    Ok(verdict)
}

/// Runs a command of the restorator and gives its code and its one JSON object.
pub async fn asked(
    stage: &TestNamespace,
    command: &str,
    arguments: &[&str],
) -> Result<(Option<i32>, Value)> {
    let arguments = [&["--output", "json"], arguments].concat();
    let finished = stage.restorator(command, &arguments, BOUND).await?;
    let answer = object(&finished)?;
    ensure!(answer["command"] == command, "{answer}");
    Ok((finished.code, answer))
}

/// The one JSON object that a command printed.
pub fn object(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.output).with_context(|| {
        format!(
            "standard output is not one JSON object: {:?}\n{}",
            finished.output, finished.errors
        )
    })
}

/// Restores everything, and expects that it was proved.
pub async fn restored(stage: &TestNamespace) -> Result<Value> {
    let (code, answer) = asked(stage, "run", &["--now"]).await?;
    ensure!(code == Some(0), "run --now ended with {code:?}: {answer}");
    ensure!(answer["outcome"] == "verified", "{answer}");
    Ok(answer)
}

/// A refusal: code 2, and an error that says what and what to do, with these words in it.
pub fn refused(code: Option<i32>, answer: &Value, words: &[&str]) -> Result<()> {
    ensure!(code == Some(2), "ended with {code:?}: {answer}");
    let text = answer["error"].to_string().to_lowercase();
    let help = answer["error"]["help"].as_str().unwrap_or_default();
    ensure!(!help.is_empty(), "no help: {answer}");
    for word in words {
        ensure!(text.contains(word), "\"{word}\" is not in {answer}");
    }
    Ok(())
}
