//! (d) and (e): how long the lock of a range is held while its wrong cells are corrected.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use tokio::time::Instant;

use crate::auditing::{RANGES, Table};
use crate::load::Keys;
use crate::{Bench, wrong_cells};

const BOUND: Duration = Duration::from_secs(300);

/// The times for which locks were held.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Locks {
    /// In ascending order.
    pub(crate) held_ms: Vec<u32>,
    pub(crate) cells_per_range: u32,
    pub(crate) wrong_per_range: u32,
    pub(crate) corrected: u64,
}

impl Locks {
    /// The shortest time that `percent` of the locks do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.held_ms.len() * percent).div_ceil(100).max(1);
        self.held_ms.get(rank - 1).copied().map_or(0.0, f64::from)
    }

    pub(crate) fn longest(&self) -> f64 {
        self.percentile(100)
    }

    /// The locks of one `run`, by its report.
    pub(crate) fn of_run(report: &Value) -> Result<Self> {
        let mut locks = Self::default();
        locks.add(report)?;
        locks.held_ms.sort_unstable();
        Ok(locks)
    }

    fn add(&mut self, report: &Value) -> Result<()> {
        self.corrected += report["cells"]["corrected"].as_u64().context("corrected")?;
        for range in report["ranges"].as_array().context("ranges")? {
            let held = range["locked_ms"].as_u64().context("locked_ms")?;
            self.held_ms.push(u32::try_from(held)?);
        }
        Ok(())
    }
}

/// Corrupts cells and restores them under live traffic, until enough locks were measured or the time is up.
pub(crate) async fn measure(bench: &mut Bench, table: &Table, wrong: u32) -> Result<Locks> {
    let corruptor = Corruptor::connect(&bench.servers, table.namespace.keyspace(), 1).await?;
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let events = bench.load(Keys::Uniform(table.tracks))?;
    let live = table
        .namespace
        .feed()?
        .live(events, bench.sizes.live_per_second);
    let until = Instant::now() + bench.sizes.locks_budget;
    let mut locks = Locks {
        cells_per_range: table.cells() / RANGES,
        wrong_per_range: wrong / RANGES,
        ..Locks::default()
    };
    while locks.held_ms.len() < bench.sizes.locks && Instant::now() < until {
        wrong_cells::make(&corruptor, &mut random, table.tracks, wrong).await?;
        let finished = table
            .namespace
            .restorator("run", &["--now", "--output", "json"], BOUND)
            .await?;
        ensure!(
            finished.code == Some(0),
            "run exited with {:?}: {}{}",
            finished.code,
            finished.output,
            finished.errors
        );
        locks.add(&serde_json::from_str(&finished.output)?)?;
        bench.say(&format!("{} locks", locks.held_ms.len()))?;
    }
    live.stop().await?;
    locks.held_ms.sort_unstable();
    Ok(locks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_rank() {
        let locks = Locks {
            held_ms: (1..=200).collect(),
            ..Locks::default()
        };
        assert_eq!(locks.percentile(50), 100.0);
        assert_eq!(locks.percentile(99), 198.0);
        assert_eq!(locks.longest(), 200.0);
    }

    #[test]
    fn locks_are_those_of_all_ranges_of_a_run() {
        let report = serde_json::json!({
            "cells": {"corrected": 7}, "ranges": [{"locked_ms": 30}, {"locked_ms": 20}],
        });
        let locks = Locks::of_run(&report).unwrap();
        assert_eq!((locks.held_ms, locks.corrected), (vec![20, 30], 7));
        assert!(Locks::of_run(&serde_json::json!({"cells": {"corrected": 7}})).is_err());
    }
}
