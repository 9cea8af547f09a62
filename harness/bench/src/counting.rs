//! (a) and (b): the processor on a backlog, against the naive way and against the bare driver.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web;
use tokio::time::{Instant, sleep};

use crate::Bench;
use crate::baseline::{self, Measured};
use crate::load::Keys;
use stitch_harness::process_usage::cpu_seconds;

/// How often a processor's metrics are read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Longest time until a processor counts its first cell.
const START_BOUND: Duration = Duration::from_secs(60);
/// Longest time until a backlog is counted.
const BOUND: Duration = Duration::from_secs(600);

/// The naive way and the processor on the same keys.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) naive: Measured,
    pub(crate) processor: Measured,
}

impl Comparison {
    pub(crate) fn ratio(&self) -> f64 {
        self.processor.events_per_second() / self.naive.events_per_second()
    }
}

/// The results of (a) and (b).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Counting {
    pub(crate) uniform: Comparison,
    pub(crate) zipf: Comparison,
    pub(crate) batch_cells: f64,
    pub(crate) bare: Measured,
}

impl Counting {
    pub(crate) fn share_of_bare(&self) -> f64 {
        self.uniform.processor.cells_per_second() / self.bare.cells_per_second()
    }
}

/// Measures them in turn, so that a machine that becomes slower does so for all of them.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Counting> {
    let sizes = bench.sizes.clone();
    let (uniform, zipf) = (Keys::Uniform(sizes.tracks), Keys::Zipf(sizes.tracks));
    bench.say("warming the servers up")?;
    batches(bench, 5).await?;
    let mut all = Counting::default();
    for round in 1..=sizes.rounds {
        bench.say(&format!("round {round}: naive, uniform keys"))?;
        all.uniform.naive += naive(bench, uniform).await?;
        bench.say(&format!("round {round}: processor, uniform keys"))?;
        all.uniform.processor += processor(bench, uniform, sizes.uniform_backlog).await?;
        all.batch_cells = all.uniform.processor.cells / all.uniform.processor.requests;
        bench.say(&format!("round {round}: bare driver"))?;
        all.bare += batches(bench, rounded(all.batch_cells)).await?;
        bench.say(&format!("round {round}: naive, zipf"))?;
        all.zipf.naive += naive(bench, zipf).await?;
        bench.say(&format!("round {round}: processor, zipf"))?;
        all.zipf.processor += processor(bench, zipf, sizes.zipf_backlog).await?;
    }
    Ok(all)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a batch has some cells, and no more than a few hundred"
)]
fn rounded(cells: f64) -> usize {
    cells.round() as usize
}

/// Has the baseline count the obvious way, for as long as is measured.
pub(crate) async fn naive(bench: &Bench, keys: Keys) -> Result<Measured> {
    let namespace = bench.namespace("naive", "").await?;
    let backlog = bench.sizes.naive_backlog;
    namespace
        .feed()?
        .send(bench.load(keys)?.take(backlog))
        .await?;
    let arguments = [
        "naive",
        "--kafka",
        &namespace.servers.kafka,
        "--topic",
        namespace.topic(),
    ];
    baseline::run(bench, namespace.keyspace(), &arguments).await
}

async fn batches(bench: &Bench, cells: usize) -> Result<Measured> {
    let namespace = bench.namespace("batches", "").await?;
    let (cells, tracks) = (cells.to_string(), bench.sizes.tracks.to_string());
    let arguments = ["batches", "--cells", &cells, "--tracks", &tracks];
    baseline::run(bench, namespace.keyspace(), &arguments).await
}

/// A processor's metrics at one time.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    events: f64,
    cells: f64,
    requests: f64,
    cpu_seconds: f64,
}

impl Sample {
    async fn take(address: &str, pid: i32) -> Result<Self> {
        let (status, page) = web::get(address, "/metrics").await?;
        ensure!(status == 200, "/metrics answers {status}");
        let metric = |name: &str| web::metric(&page, name).context(name.to_owned());
        Ok(Self {
            at: Instant::now(),
            events: metric("stitch_events_total")?,
            cells: metric("stitch_cells_applied_total")?,
            requests: metric("stitch_requests_total")?,
            cpu_seconds: cpu_seconds(pid)?,
        })
    }
}

/// Has a processor count a whole backlog, from its first cell until everything is committed. Not a slice of that: the window takes most of
/// it at once, and ranges that send in turn commit in large steps.
pub(crate) async fn processor(bench: &Bench, keys: Keys, backlog: u32) -> Result<Measured> {
    let namespace = bench.namespace("processor", "").await?;
    let events = usize::try_from(backlog)?;
    namespace
        .feed()?
        .send(bench.load(keys)?.take(events))
        .await?;
    let mut process = namespace.processor("processor").await?;
    let address = TestNamespace::address(&mut process).await?;
    let pid = process.pid();
    let deadline = Instant::now() + START_BOUND;
    while Sample::take(&address, pid).await?.cells == 0.0 {
        ensure!(
            Instant::now() < deadline,
            "the processor does not start counting"
        );
        sleep(POLL_INTERVAL).await;
    }
    let begun = Instant::now();
    namespace.lag()?.until_none(BOUND).await?;
    let after = Sample::take(&address, pid).await?;
    process.kill().await?;
    let counted = Measured {
        events: f64::from(backlog),
        cells: after.cells,
        requests: after.requests,
        seconds: (after.at - begun).as_secs_f64(),
        cpu_seconds: after.cpu_seconds,
    };
    ensure!(
        counted.events == after.events,
        "{} of {backlog} events were counted",
        after.events
    );
    Ok(counted)
}
