//! What an audit costs when the one before left totals behind, and a restoration of one key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use stitch_harness::feed::delete_topic;
use stitch_harness::test_namespace::TestNamespace;

use crate::Bench;
use crate::auditing::{PlanRun, plan};
use crate::load::{COUNTER, Keys};
use stitch_harness::process_usage::{Usage, watch};

const BOUND: Duration = Duration::from_secs(900);
/// A track that Zipf's law makes the most frequent.
const KEY: &str = "track-1";

/// An audit of everything, one after a hundredth more was counted, and a restoration of one key.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Increment {
    pub(crate) first: PlanRun,
    pub(crate) second: PlanRun,
    pub(crate) key: Usage,
}

impl Increment {
    /// The second audit's time for the log, of the first one's.
    pub(crate) fn share(&self) -> f64 {
        self.second.log_seconds / self.first.log_seconds
    }
}

pub(super) async fn measure(bench: &mut Bench) -> Result<Increment> {
    let records = bench.sizes.increment_backlog;
    bench.say(&format!("two audits: {records} records, and 1 % more"))?;
    let namespace = bench.namespace("increment", "").await?;
    let mut load = bench.load(Keys::Zipf(bench.sizes.tracks))?;
    let mut counted = async |records: u32| {
        let records = load.by_ref().take(usize::try_from(records)?);
        count(&namespace, records.collect()).await
    };
    counted(records).await?;
    let first = plan(&namespace).await?;
    counted(records / 100).await?;
    let second = plan(&namespace).await?;
    for (audit, expected) in [(&first, records), (&second, records / 100)] {
        ensure!(
            (audit.events - f64::from(expected)).abs() < 0.5,
            "an audit read {} records, not {expected}",
            audit.events
        );
    }
    let scope = [
        "--now",
        "--counter",
        COUNTER,
        "--key",
        KEY,
        "--output",
        "json",
    ];
    let program = namespace.restorator_command("run", &scope)?;
    let (_, key) = watch(&program, &[0], None, BOUND).await?;
    delete_topic(&namespace.servers.kafka, namespace.topic())
        .await
        .context("the topic of the two audits")?;
    Ok(Increment { first, second, key })
}

/// Sends records, and waits until a processor has counted them and is stopped.
async fn count(
    namespace: &TestNamespace,
    records: Vec<stitch_harness::events::Record>,
) -> Result<()> {
    namespace.feed()?.send(records).await?;
    let processor = namespace.processor("increment-processor").await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([processor]).await
}
