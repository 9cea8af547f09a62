//! A running API in a namespace of its own, and lists of what may be asked of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web;

use super::generator::{Generator, Load, Loaded};
use super::{KEYS, month};
use crate::baseline::reads::Question;
use crate::load::{COUNTER, track};
use crate::vitals::{cpu_seconds, memory_mib};

/// How many different pages are asked for; of single keys, each one there is.
const PAGES: u32 = 2000;
const BOUND: Duration = Duration::from_secs(30);

pub(super) struct Site {
    pub(super) stage: TestNamespace,
    pub(super) tracks: u32,
    api: Process,
    address: String,
    generator: Generator,
}

/// What an API has done so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) cpu_seconds: f64,
    pub(super) reads: f64,
    pub(super) coalesced: f64,
}

impl Used {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            reads: self.reads - before.reads,
            coalesced: self.coalesced - before.coalesced,
        }
    }
}

impl Site {
    /// Starts an API.
    pub(super) async fn open(stage: TestNamespace, tracks: u32, oha: &Path) -> Result<Self> {
        let mut api = stage.api_command("run", &[])?.start()?;
        let address = TestNamespace::address(&mut api).await?;
        let generator = Generator {
            path: oha.to_owned(),
            folder: stage.folder.clone(),
        };
        Ok(Self {
            stage,
            tracks,
            api,
            address,
            generator,
        })
    }

    /// What is compared must be right, first of all.
    pub(super) async fn answers_what_is_there(&self) -> Result<()> {
        let count = self.object(&Self::path(Question::Count, &[7])).await?;
        ensure!(count["count"] == month::COUNT, "{count}");
        let series = self.object(&Self::path(Question::Series, &[7])).await?;
        let points = series["points"].as_array().context("points")?;
        let right = points
            .iter()
            .all(|point| point["count"] == month::DAY_COUNT);
        ensure!(
            right && i64::try_from(points.len())? == month::DAYS,
            "{series}"
        );
        let keys: Vec<u32> = (0..KEYS).collect();
        let counts = self.object(&Self::path(Question::Counts, &keys)).await?;
        let counts = counts["counts"].as_array().context("counts")?;
        let right = counts.iter().all(|one| one["count"] == month::COUNT);
        ensure!(right && counts.len() == keys.len(), "{counts:?}");
        Ok(())
    }

    async fn object(&self, path: &str) -> Result<Value> {
        let (status, body) = web::get(&self.address, path).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(serde_json::from_str(&body)?)
    }

    fn path(question: Question, tracks: &[u32]) -> String {
        let counter = format!("/v1/counters/{COUNTER}");
        let first = track(tracks.first().copied().unwrap_or_default());
        match question {
            Question::Count => format!("{counter}/keys/{first}"),
            Question::Series => format!(
                "{counter}/keys/{first}/series?granularity=day&from={}&to={}",
                month::FROM,
                month::TO
            ),
            Question::Counts => {
                let keys = tracks
                    .iter()
                    .map(|number| format!("key={}", track(*number)));
                format!("{counter}/counts?{}", keys.collect::<Vec<_>>().join("&"))
            }
        }
    }

    /// Everything that may be asked.
    fn addresses(&self, question: Question) -> Vec<String> {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let mut page = || {
            (0..KEYS)
                .map(|_| random.random_range(0..self.tracks))
                .collect()
        };
        let asked: Vec<Vec<u32>> = match question {
            Question::Count | Question::Series => {
                (0..self.tracks).map(|track| vec![track]).collect()
            }
            Question::Counts => (0..PAGES).map(|_| page()).collect(),
        };
        let address =
            |tracks: &Vec<u32>| format!("http://{}{}", self.address, Self::path(question, tracks));
        asked.iter().map(address).collect()
    }

    /// Puts a load on it.
    pub(super) async fn ask(&self, question: Question, load: Load) -> Result<Loaded> {
        self.generator.ask(&self.addresses(question), load).await
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        let (_, page) = web::get(&self.address, "/metrics").await?;
        web::metric(&page, name).with_context(|| name.to_owned())
    }

    /// How many connections are open, beside that of whoever asks.
    pub(super) async fn connections(&self) -> Result<f64> {
        Ok(self.metric("stitch_api_connections").await? - 1.0)
    }

    pub(super) async fn used(&self) -> Result<Used> {
        Ok(Used {
            cpu_seconds: cpu_seconds(self.api.pid())?,
            reads: self.metric("stitch_api_reads_total").await?,
            coalesced: self.metric("stitch_api_reads_coalesced_total").await?,
        })
    }

    pub(super) fn memory_mib(&self) -> Result<f64> {
        memory_mib(self.api.pid()).context("the API runs")
    }

    /// Ends it in order.
    pub(super) async fn close(self) -> Result<()> {
        let finished = self.api.stop(BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
        Ok(())
    }
}
