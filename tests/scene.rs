//! Steps that the tests share: a namespace, events, commands of the restorator, and the recount.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use stitch_harness::events::{Generator, Record, Shape};
use stitch_harness::process::{Finished, Process};
use stitch_harness::recount::Verdict;
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

/// Longer than anything that does not hang: several restorations with the longest quiescence, on a busy machine.
pub const BOUND: Duration = Duration::from_secs(600);

/// Longer than the sessions that the servers grant.
pub const PAST_THE_SESSION: Duration = Duration::from_secs(6);

/// Creates a namespace for the test of this name.
pub async fn test_namespace(name: &str) -> Result<TestNamespace> {
    TestNamespace::build(&Servers::from_environment()?, &TestConfig::new(name)?).await
}

/// Generated events, equal for equal seeds.
pub fn events(seed: u64) -> Result<Generator> {
    Generator::new(Shape {
        seed,
        tracks: 200,
        ..Shape::default()
    })
}

/// The first `count` events of this seed.
pub fn some_events(seed: u64, count: usize) -> Result<Vec<Record>> {
    Ok(events(seed)?.take(count).collect())
}

/// Sends events, and waits until all are counted.
pub async fn count(namespace: &TestNamespace, records: Vec<Record>) -> Result<()> {
    namespace.feed()?.send(records).await?;
    namespace.lag()?.until_none(BOUND).await
}

/// Kills a processor while it is counting these events.
pub async fn kill_while_counting(
    namespace: &TestNamespace,
    victim: &mut Process,
    records: Vec<Record>,
) -> Result<()> {
    let lag = namespace.lag()?;
    let sending = async { namespace.feed()?.send(records).await };
    let killing = async {
        while lag.records().await? == 0 {
            tokio::task::yield_now().await;
        }
        victim.kill().await
    };
    tokio::try_join!(sending, killing)?;
    Ok(())
}

/// Fails unless every cell is right by the independent recount.
pub async fn all_right(namespace: &TestNamespace) -> Result<Verdict> {
    let verdict = namespace.recount().await?;
    ensure!(verdict.all_right(), "{}: {verdict}", namespace.name);
    Ok(verdict)
}

/// Runs a command of the restorator; returns its exit code and its JSON object.
pub async fn restorator_json(
    namespace: &TestNamespace,
    command: &str,
    arguments: &[&str],
) -> Result<(Option<i32>, Value)> {
    let arguments = [&["--output", "json"], arguments].concat();
    let finished = namespace.restorator(command, &arguments, BOUND).await?;
    let answer = json_object(&finished)?;
    ensure!(answer["command"] == command, "{answer}");
    Ok((finished.code, answer))
}

/// The one JSON object that a command printed.
pub fn json_object(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.output).with_context(|| {
        format!(
            "standard output is not one JSON object: {:?}\n{}",
            finished.output, finished.errors
        )
    })
}

/// Restores everything; fails unless everything is verified.
pub async fn restore(namespace: &TestNamespace) -> Result<Value> {
    let (code, answer) = restorator_json(namespace, "run", &["--now"]).await?;
    ensure!(code == Some(0), "run --now exited with {code:?}: {answer}");
    ensure!(answer["outcome"] == "verified", "{answer}");
    Ok(answer)
}

/// Fails unless the command has refused: code 2, and an error with help and with these words.
pub fn expect_refusal(code: Option<i32>, answer: &Value, words: &[&str]) -> Result<()> {
    ensure!(code == Some(2), "exited with {code:?}: {answer}");
    let text = answer["error"].to_string().to_lowercase();
    let help = answer["error"]["help"].as_str().unwrap_or_default();
    ensure!(!help.is_empty(), "no help: {answer}");
    for word in words {
        ensure!(text.contains(word), "\"{word}\" is not in {answer}");
    }
    Ok(())
}

/// Reads until `shows` is met by what was read, and returns that.
pub async fn until<T: Display>(
    what: &str,
    read: impl AsyncFn() -> Result<T>,
    shows: impl Fn(&T) -> bool,
) -> Result<T> {
    let mut last = String::new();
    let seen = async {
        loop {
            let now = read().await?;
            if shows(&now) {
                return Ok(now);
            }
            last = now.to_string();
            // What is awaited needs the machine more than who asks.
            sleep(Duration::from_millis(100)).await;
        }
    };
    match timeout(BOUND, seen).await {
        Ok(seen) => seen,
        Err(_) => bail!("it never showed {what}: {last}"),
    }
}

/// Starts the API with these variables; returns its address, too.
pub async fn api(
    namespace: &TestNamespace,
    variables: &[(&str, &str)],
) -> Result<(Process, String)> {
    let mut program = namespace.api_command("run", &[])?;
    let variables = variables.iter();
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    program.environment.extend(variables);
    let mut process = program.start()?;
    let address = TestNamespace::address(&mut process).await?;
    Ok((process, address))
}

/// Stops the API, cleanly.
pub async fn stop_api(api: Process) -> Result<()> {
    let finished = api.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    ensure!(!finished.errors.contains("panicked"), "{}", finished.errors);
    Ok(())
}

/// What the API answers with 200 at this path.
pub async fn page(address: &str, path: &str) -> Result<String> {
    let (status, page) = get(address, path).await?;
    ensure!(status == 200, "{path}: {status} {page}");
    Ok(page)
}
