//! The pages in a real Chromium, on real servers, while events flow: `browse.mjs` beside this file clicks and looks.
//! Run by `deploy/test pages`, which installs what that takes and names it by `STITCH_CHROMIUM` and
//! `STITCH_BROWSER_TOOLS`. Screenshots are left in `target/pages`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_common::clock::SystemClock;
use stitch_common::ports::ZooKeeper;
use stitch_common::range::RangeId;
use stitch_harness::events::{Generator, Shape};
use stitch_harness::process::Program;
use stitch_harness::servers::{Servers, repository};
use stitch_harness::test_namespace::{TestConfig, TestNamespace};
use stitch_protocol::contender::Kind;
use stitch_protocol::path::Paths;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::{NamespaceSession, revocation};
use stitch_zookeeper::ZooKeeperClient;
use stitch_zookeeper::ZooKeeperSession;

const BOUND: Duration = Duration::from_secs(60);
const BROWSE_BOUND: Duration = Duration::from_secs(240);
const DAY_MS: i64 = 86_400_000;

/// Events of the last two years up to now.
fn events() -> Result<Generator> {
    let span_ms = 730 * DAY_MS;
    Generator::new(Shape {
        tracks: 20,
        start_ms: chrono::Utc::now().timestamp_millis() - span_ms,
        span_ms,
        ..Shape::default()
    })
}

/// A session that has this range locked, for as long as it is not closed.
async fn locked(
    stage: &TestNamespace,
    range: RangeId,
) -> Result<NamespaceSession<ZooKeeperSession, SystemClock>> {
    let keeper = ZooKeeperClient::new(&stage.servers.zookeeper, Duration::from_secs(4));
    let paths = Paths::new(&stage.name);
    let here = NamespaceSession::new(keeper.connect().await?, SystemClock, paths);
    let mut lock = RangeLock::new(&here, range, Kind::Exclusive);
    lock.queue(&here).await?;
    revocation::ask(&here, &lock).await?;
    lock.wait_granted(&here).await?;
    lock.abandon();
    Ok(here)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_can_be_read_walked_along_and_keep_up() -> Result<()> {
    let mut setting = TestConfig::new("pages")?;
    // However busy the machine is, no increment is given up: its mark would make counts uncertain.
    setting.config += "\n[cassandra]\nrequest_timeout_ms = 30000\n";
    let stage = TestNamespace::build(&Servers::from_environment()?, &setting).await?;
    let processor = stage.processor("processor").await?;
    let feed = stage.feed()?;
    let mut events = events()?;
    feed.send(events.by_ref().take(20_000)).await?;
    stage.lag()?.until_none(BOUND).await?;
    let live = feed.live(events, 50);
    let mut api = stage.api_command("run", &[])?.start()?;
    let address = TestNamespace::address(&mut api).await?;
    let folder = repository()?.join("target/pages");
    std::fs::create_dir_all(&folder)?;
    let script = repository()?.join("tests/pages/browse.mjs");
    let text = |name: &str| {
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
        ],
        environment: vec![
            ("STITCH_CHROMIUM".to_owned(), text("STITCH_CHROMIUM")?),
            (
                "STITCH_BROWSER_TOOLS".to_owned(),
                text("STITCH_BROWSER_TOOLS")?,
            ),
        ],
        folder: stage.folder.clone(),
    };
    let mut browsing = browse.start()?;
    browsing
        .until_says("please lock a range", BROWSE_BOUND)
        .await?;
    let here = locked(&stage, RangeId(5)).await?;
    browsing.until_says("please give it back", BOUND).await?;
    here.close().await;
    let finished = browsing.finish(BROWSE_BOUND).await?;
    live.stop().await?;
    ensure!(
        finished.code == Some(0),
        "{}{}",
        finished.output,
        finished.errors
    );
    let stopped = api.stop(BOUND).await?;
    ensure!(stopped.code == Some(0), "{stopped:?}");
    stage.stop([processor]).await
}
