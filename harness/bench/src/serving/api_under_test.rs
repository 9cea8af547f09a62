//! A running API in a namespace of its own, and the addresses that are requested of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web;

use super::{KEYS, TABLE_KEYS, month};
use crate::baseline::reads::Query;
use crate::load::{COUNTER, SERVED, track};
use stitch_harness::load_generator::{Generator, Load, LoadResult, Requests};
use stitch_harness::process_usage::{cpu_seconds, memory_mib};

/// Different pages that are requested; of single keys, all are.
const PAGES: u32 = 2000;
const TABLE: &str = "/v1/query";
const BOUND: Duration = Duration::from_secs(30);

pub(super) struct ApiUnderTest {
    pub(super) namespace: TestNamespace,
    pub(super) tracks: u32,
    api: Process,
    address: String,
    generator: Generator,
}

/// CPU time and reads of an API so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct ApiUsage {
    pub(super) cpu_seconds: f64,
    pub(super) reads: f64,
    pub(super) coalesced: f64,
}

impl ApiUsage {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            reads: self.reads - before.reads,
            coalesced: self.coalesced - before.coalesced,
        }
    }
}

impl ApiUnderTest {
    /// Starts an API.
    pub(super) async fn open(namespace: TestNamespace, tracks: u32, oha: &Path) -> Result<Self> {
        let mut api = namespace.api_command("run", &[])?.start()?;
        let address = TestNamespace::address(&mut api).await?;
        let generator = Generator {
            path: oha.to_owned(),
            folder: namespace.folder.clone(),
        };
        Ok(Self {
            namespace,
            tracks,
            api,
            address,
            generator,
        })
    }

    /// Fails unless the API, and the simplest service at the other address, answer each kind of query correctly: only then
    /// is their speed worth comparing.
    pub(super) async fn check_answers(&self, service: &str) -> Result<()> {
        for address in [&self.address, service] {
            Self::check_one_key(address).await?;
            Self::check_table(address).await?;
        }
        let keys: Vec<u32> = (0..KEYS).collect();
        let counts = object(&self.address, &Self::path(Query::Counts, &keys)).await?;
        let counts = counts["counts"].as_array().context("counts")?;
        let right = counts.iter().all(|one| one["count"] == month::COUNT);
        ensure!(right && counts.len() == keys.len(), "{counts:?}");
        Ok(())
    }

    async fn check_one_key(address: &str) -> Result<()> {
        let count = object(address, &Self::path(Query::Count, &[7])).await?;
        ensure!(count["count"] == month::COUNT, "{count}");
        let series = object(address, &Self::path(Query::Series, &[7])).await?;
        let points = series["points"].as_array().context("points")?;
        let right = points
            .iter()
            .all(|point| point["count"] == month::DAY_COUNT);
        ensure!(
            right && i64::try_from(points.len())? == month::DAYS,
            "{series}"
        );
        Ok(())
    }

    async fn check_table(address: &str) -> Result<()> {
        let tracks: Vec<u32> = (0..TABLE_KEYS).collect();
        let answer = web::post(address, TABLE, &Self::table(&tracks)).await;
        let (status, body) = answer?;
        ensure!(status == 200, "{address}{TABLE}: {status} {body}");
        let answer: Value = serde_json::from_str(&body)?;
        let parts = answer["parts"].as_array().context("parts")?;
        let right = parts.iter().all(|part| part["count"] == month::COUNT);
        ensure!(
            right && parts.len() == tracks.len() * SERVED.len(),
            "{answer}"
        );
        Ok(())
    }

    /// The body of a query of all counters.
    fn table(tracks: &[u32]) -> String {
        let keys: Vec<String> = tracks.iter().copied().map(track).collect();
        json!({"counters": SERVED, "keys": keys}).to_string()
    }

    fn path(query: Query, tracks: &[u32]) -> String {
        let counter = format!("/v1/counters/{COUNTER}");
        let first = track(tracks.first().copied().unwrap_or_default());
        match query {
            Query::Count => format!("{counter}/keys/{first}"),
            Query::Series => format!(
                "{counter}/keys/{first}/series?granularity=day&from={}&to={}",
                month::FROM,
                month::TO
            ),
            Query::Counts => {
                let keys = tracks
                    .iter()
                    .map(|number| format!("key={}", track(*number)));
                format!("{counter}/counts?{}", keys.collect::<Vec<_>>().join("&"))
            }
            // What is asked for is in the body.
            Query::Table => TABLE.to_owned(),
        }
    }

    /// Every query of this kind, at a server.
    fn requests(&self, server: &str, query: Query) -> Requests {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let mut page = |keys: u32| {
            (0..keys)
                .map(|_| random.random_range(0..self.tracks))
                .collect()
        };
        let requested: Vec<Vec<u32>> = match query {
            Query::Count | Query::Series => (0..self.tracks).map(|track| vec![track]).collect(),
            Query::Counts => (0..PAGES).map(|_| page(KEYS)).collect(),
            Query::Table => (0..PAGES).map(|_| page(TABLE_KEYS)).collect(),
        };
        let address = |tracks: &[u32]| format!("http://{server}{}", Self::path(query, tracks));
        if query == Query::Table {
            let bodies = requested.iter().map(|tracks| Self::table(tracks));
            return Requests::Post(address(&[]), bodies.collect());
        }
        Requests::Get(requested.iter().map(|tracks| address(tracks)).collect())
    }

    /// Runs the load generator against it.
    pub(super) async fn run(&self, query: Query, load: Load) -> Result<LoadResult> {
        self.run_at(&self.address, query, load).await
    }

    /// Runs the load generator against a server that answers the same.
    pub(super) async fn run_at(
        &self,
        server: &str,
        query: Query,
        load: Load,
    ) -> Result<LoadResult> {
        self.generator
            .run(&self.requests(server, query), load)
            .await
    }

    async fn metric(&self, name: &str) -> Result<f64> {
        let (_, page) = web::get(&self.address, "/metrics").await?;
        web::metric(&page, name).with_context(|| name.to_owned())
    }

    /// The number of open connections, without the one that this request uses.
    pub(super) async fn connections(&self) -> Result<f64> {
        Ok(self.metric("stitch_api_connections").await? - 1.0)
    }

    pub(super) async fn usage(&self) -> Result<ApiUsage> {
        Ok(ApiUsage {
            cpu_seconds: cpu_seconds(self.api.pid())?,
            reads: self.metric("stitch_api_reads_total").await?,
            coalesced: self.metric("stitch_api_reads_coalesced_total").await?,
        })
    }

    pub(super) fn memory_mib(&self) -> Result<f64> {
        memory_mib(self.api.pid()).context("the API runs")
    }

    /// Stops it; fails unless it exits with 0.
    pub(super) async fn close(self) -> Result<()> {
        let finished = self.api.stop(BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
        Ok(())
    }
}

async fn object(address: &str, path: &str) -> Result<Value> {
    let (status, body) = web::get(address, path).await?;
    ensure!(status == 200, "{address}{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}
