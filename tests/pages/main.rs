//! The pages in a real Chromium, on real servers, while events flow; `browse.mjs` in this folder drives the browser. Run
//! by `deploy/test pages`, which installs the browser and its tools and sets `STITCH_CHROMIUM` and
//! `STITCH_BROWSER_TOOLS`. Screenshots are written to `target/pages`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use stitch_common::clock::SystemClock;
use stitch_common::ports::ZooKeeper;
use stitch_common::range::RangeId;
use stitch_harness::events::{Generator, Record, Shape};
use stitch_harness::process::{Process, Program, last_lines};
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::servers::{Servers, repository};
use stitch_harness::test_namespace::{PATIENT, TestConfig, TestNamespace};
use stitch_protocol::contender::Kind;
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::{NamespaceSession, revocation};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

const BOUND: Duration = Duration::from_secs(60);
const BROWSE_BOUND: Duration = Duration::from_secs(480);
const DAY_MS: i64 = 86_400_000;

/// A counter with the shortest steps.
const LISTENS: &str = r#"
[[counter]]
name = "listens"
on = ["play"]
key = "track"
granularities = ["minute", "quarter", "day"]
"#;

/// Both layers, without an allowance for late events: a minute that is over is in the next batch.
const BATCH: &str = "\n[batch]\nenabled = true\nclosed_after_ms = 0\n";

/// Events of the last two years.
fn events() -> Result<Generator> {
    let span_ms = 730 * DAY_MS;
    Generator::new(Shape {
        tracks: 20,
        start_ms: chrono::Utc::now().timestamp_millis() - span_ms,
        span_ms,
        ..Shape::default()
    })
}

/// Two purchases today of 2^53 cents and 1 cent: the sum is no number of JavaScript.
fn amounts_beyond_53_bits() -> Vec<Record> {
    let now = chrono::Utc::now().to_rfc3339();
    let purchase = |cents: i64| Record {
        key: b"large".to_vec(),
        value: Some(
            json!({"type": "purchase", "time": now, "track": "large", "cents": cents})
                .to_string()
                .into_bytes(),
        ),
    };
    vec![purchase(1 << 53), purchase(1)]
}

/// Runs a command of the program that loads batch counts.
async fn batch(namespace: &TestNamespace, command: &str) -> Result<()> {
    let finished = namespace.batch_command(command, &[])?.run(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok(())
}

/// A server that reaches Cassandra through this proxy.
fn api_behind(proxy: &Proxy, namespace: &TestNamespace) -> Result<Program> {
    let mut program = namespace.api_command("run", &[])?;
    let nodes = format!("[\"{}\"]", proxy.address());
    program
        .environment
        .push(("STITCH_CASSANDRA__NODES".to_owned(), nodes));
    Ok(program)
}

/// Locks a range exclusively until the returned session is closed.
async fn lock(
    namespace: &TestNamespace,
    range: RangeId,
) -> Result<NamespaceSession<ZooKeeperSession, SystemClock>> {
    let zookeeper = ZooKeeperClient::new(
        &namespace.servers.zookeeper.parse()?,
        Duration::from_secs(4),
    );
    let paths = Paths::new(&namespace.name);
    let session = NamespaceSession::new(zookeeper.connect().await?, SystemClock, paths);
    let mut lock = RangeLock::new(&session, range, Kind::Exclusive);
    lock.enqueue(&session).await?;
    revocation::ask(&session, &lock).await?;
    lock.wait_granted(&session).await?;
    lock.abandon();
    Ok(session)
}

/// Starts a server that has tokens, and makes a link to a page of it.
async fn with_tokens(namespace: &TestNamespace) -> Result<(Process, String)> {
    let file = namespace.folder.join("tokens");
    let tokens = "reader read reader-0123456789abcdef\n\
        ops operate operator-0123456789abcdef\n\
        links sign 0123456789abcdef0123456789abcdef\n";
    std::fs::write(&file, tokens)?;
    let variable = (
        "STITCH_API__TOKENS_FILE".to_owned(),
        file.display().to_string(),
    );
    let mut program = namespace.api_command("run", &[])?;
    program.environment.push(variable.clone());
    let mut server = program.start()?;
    let origin = format!("http://{}", TestNamespace::address(&mut server).await?);
    let arguments = [
        "plays",
        "track-1",
        "--until",
        "2999-12-31",
        "--origin",
        &origin,
    ];
    let mut program = namespace.api_command("link", &arguments)?;
    program.environment.push(variable);
    let made = program.run(BOUND).await?;
    ensure!(made.code == Some(0), "{made:?}");
    let link = made.output.lines().next().context("a link")?.to_owned();
    Ok((server, link))
}

/// Does what the script asks for, in its order.
async fn oblige(browsing: &mut Process, namespace: &TestNamespace, proxy: &Proxy) -> Result<()> {
    browsing
        .until_says("please cut off Cassandra", BROWSE_BOUND)
        .await?;
    proxy.set(Mode::Refuse);
    browsing.until_says("please let Cassandra", BOUND).await?;
    proxy.set(Mode::Pass);
    browsing
        .until_says("please load batch counts", BROWSE_BOUND)
        .await?;
    batch(namespace, "run").await?;
    browsing
        .until_says("please lock a range", BROWSE_BOUND)
        .await?;
    let session = lock(namespace, RangeId(5)).await?;
    browsing.until_says("please release it", BOUND).await?;
    session.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_usable_and_stay_up_to_date() -> Result<()> {
    let mut config = TestConfig::new("pages")?;
    config.config += LISTENS;
    config.config += PATIENT;
    config.config += BATCH;
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let processor = namespace.processor("processor").await?;
    let feed = namespace.feed()?;
    let mut events = events()?;
    feed.send(events.by_ref().take(20_000)).await?;
    feed.send(amounts_beyond_53_bits()).await?;
    namespace.lag()?.until_none(BOUND).await?;
    batch(&namespace, "init").await?;
    batch(&namespace, "run").await?;
    let live = feed.live(events, 50);
    let proxy = Proxy::cassandra(&namespace.servers.cassandra[0]).await?;
    let mut api = api_behind(&proxy, &namespace)?.start()?;
    let address = TestNamespace::address(&mut api).await?;
    let folder = repository()?.join("target/pages");
    std::fs::create_dir_all(&folder)?;
    let (closed, link) = with_tokens(&namespace).await?;
    let script = repository()?.join("tests/pages/browse.mjs");
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set: deploy/test pages sets it"))
    };
    let browse = Program {
        name: "browse".to_owned(),
        path: "/usr/bin/env".into(),
        arguments: vec![
            "node".to_owned(),
            script.display().to_string(),
            address,
            folder.display().to_string(),
            link,
        ],
        environment: vec![
            ("STITCH_CHROMIUM".to_owned(), variable("STITCH_CHROMIUM")?),
            (
                "STITCH_BROWSER_TOOLS".to_owned(),
                variable("STITCH_BROWSER_TOOLS")?,
            ),
            // Each call of the browser and its end, so that a message shows what was waited for.
            ("DEBUG".to_owned(), "pw:api".to_owned()),
        ],
        folder: namespace.folder.clone(),
    };
    let mut browsing = browse.start()?;
    oblige(&mut browsing, &namespace, &proxy).await?;
    let finished = browsing.finish(BROWSE_BOUND).await?;
    live.stop().await?;
    ensure!(
        finished.code == Some(0),
        "{}{}",
        last_lines(&finished.errors),
        finished.output
    );
    for server in [api, closed] {
        let stopped = server.stop(BOUND).await?;
        ensure!(stopped.code == Some(0), "{stopped:?}");
    }
    namespace.stop([processor]).await
}
