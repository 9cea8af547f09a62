//! (l): how restorations and memory grow with the fleet: one axis at a time is changed around a middle one, on real servers.
//! What a fleet asks of ZooKeeper is counted by `deploy/simulate --growth`, also beyond the size of a machine.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::feed::delete_topic;
use tokio::time::{Instant, sleep};

use crate::load::Keys;
use crate::locks::Locks;
use crate::{Bench, wrong_cells};
use stitch_harness::process_usage::{Usage, cpu_seconds, peak_mib, watch};

/// Cells that are wrong before the restoration.
pub(crate) const WRONG: u32 = 1000;
/// Longest time until a backlog is counted, and of a restoration.
const BOUND: Duration = Duration::from_secs(1800);
/// How long events arrive before the restoration begins.
const SETTLE: Duration = Duration::from_secs(5);

/// The size of a fleet, of what it reads and of what it keeps.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Fleet {
    pub(crate) processors: u32,
    pub(crate) partitions: u32,
    pub(crate) range_bits: u32,
    pub(crate) tracks: u32,
}

impl Fleet {
    /// The middle one, then one axis after the other.
    pub(crate) fn axes(middle: Self, axes: [&[u32]; 4]) -> Vec<Self> {
        let [processors, partitions, range_bits, tracks] = axes;
        let by = |values: &[u32], change: &dyn Fn(u32) -> Self| -> Vec<Self> {
            values.iter().copied().map(change).collect()
        };
        [
            vec![middle],
            by(processors, &|processors| Self {
                processors,
                ..middle
            }),
            by(partitions, &|partitions| Self {
                partitions,
                ..middle
            }),
            by(range_bits, &|range_bits| Self {
                range_bits,
                ..middle
            }),
            by(tracks, &|tracks| Self { tracks, ..middle }),
        ]
        .concat()
    }
}

/// What was measured of one fleet.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Grown {
    pub(crate) fleet: Fleet,
    /// From the first processor's start until the backlog is counted: one event for each track.
    pub(crate) counted_seconds: f64,
    /// The largest peak of a processor.
    pub(crate) processor_mib: f64,
    /// `run --now` of all ranges, with events arriving.
    pub(crate) run: Usage,
    /// What ZooKeeper's server took meanwhile.
    pub(crate) zookeeper_cpu_seconds: f64,
    pub(crate) locks: Locks,
}

/// Measures one fleet after the other.
pub(crate) async fn measure(bench: &mut Bench) -> Result<Vec<Grown>> {
    let mut all = Vec::new();
    for fleet in bench.sizes.fleets.clone() {
        bench.say(&format!("{fleet:?}"))?;
        let grown = one(bench, fleet)
            .await
            .with_context(|| format!("{fleet:?}"))?;
        all.push(grown);
    }
    Ok(all)
}

async fn one(bench: &Bench, fleet: Fleet) -> Result<Grown> {
    let Fleet {
        processors,
        partitions,
        range_bits,
        tracks,
    } = fleet;
    let changes = format!("[ranges]\nbits = {range_bits}\n");
    let namespace = bench
        .partitioned("growth", i32::try_from(partitions)?, &changes)
        .await?;
    let backlog = bench.load(Keys::Each { tracks, times: 1 })?;
    namespace
        .feed()?
        .send(backlog.take(usize::try_from(tracks)?))
        .await?;
    let started = Instant::now();
    let mut running = Vec::new();
    for number in 1..=processors {
        running.push(namespace.processor(&format!("growth-{number}")).await?);
    }
    namespace.lag()?.until_none(BOUND).await?;
    let counted_seconds = started.elapsed().as_secs_f64();
    let corruptor = Corruptor::connect(&bench.servers, namespace.keyspace(), 1).await?;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    wrong_cells::make(&corruptor, &mut random, tracks, WRONG).await?;
    let events = bench.load(Keys::Uniform(tracks))?;
    let live = namespace.feed()?.live(events, bench.sizes.live_per_second);
    sleep(SETTLE).await;
    let zookeeper = bench.servers.pid("zookeeper-1").await?;
    let before = cpu_seconds(zookeeper)?;
    let program = namespace.restorator_command("run", &["--now", "--output", "json"])?;
    let (finished, run) = watch(&program, &[0], None, BOUND).await?;
    let zookeeper_cpu_seconds = cpu_seconds(zookeeper)? - before;
    let locks = Locks::of_run(&serde_json::from_str::<Value>(&finished.output)?)?;
    live.stop().await?;
    let peaks = running.iter().map(|process| peak_mib(process.pid()));
    let peaks = peaks
        .collect::<Option<Vec<_>>>()
        .context("a processor has ended")?;
    namespace.stop(running).await?;
    delete_topic(&namespace.servers.kafka, namespace.topic()).await?;
    Ok(Grown {
        fleet,
        counted_seconds,
        processor_mib: peaks.into_iter().fold(0.0, f64::max),
        run,
        zookeeper_cpu_seconds,
        locks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_axis_at_a_time_is_changed() {
        let middle = Fleet {
            processors: 4,
            partitions: 120,
            range_bits: 6,
            tracks: 10,
        };
        let fleets = Fleet::axes(middle, [&[1, 16], &[12], &[], &[100]]);
        let sizes: Vec<_> = fleets
            .iter()
            .map(|fleet| {
                (
                    fleet.processors,
                    fleet.partitions,
                    fleet.range_bits,
                    fleet.tracks,
                )
            })
            .collect();
        assert_eq!(
            sizes,
            [
                (4, 120, 6, 10),
                (1, 120, 6, 10),
                (16, 120, 6, 10),
                (4, 12, 6, 10),
                (4, 120, 6, 100)
            ]
        );
    }
}
