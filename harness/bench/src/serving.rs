//! (g): the API against the bare driver reading the same cells and against the simplest HTTP service that does, with many
//! open connections, and under overload.

pub(crate) mod month;
mod api_under_test;
mod service_under_test;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::Bench;
use crate::baseline::reads::{KEYS_AT_ONCE, Query};
use crate::baseline::{self, Measured};
use crate::load::MORE_COUNTERS;
use api_under_test::ApiUnderTest;
use service_under_test::ServiceUnderTest;
use stitch_harness::load_generator::Load;
pub(crate) use stitch_harness::load_generator::LoadResult;

/// Keys of a page.
pub(crate) const KEYS: u32 = 200;
/// Keys of a query of all counters.
pub(crate) const TABLE_KEYS: u32 = 50;
/// The API's default limit of concurrent requests; a page takes as many permits as it reads keys at once.
const PERMITS: usize = 512;
/// Concurrent requests.
const CLIENTS: u32 = 64;
/// Concurrent requests for pages, each of which reads 32 keys at once.
const PAGE_CLIENTS: u32 = 8;
/// Open connections.
pub(crate) const CONNECTIONS: u32 = 2000;
/// More connections than the API lets wait: almost its limit.
const CONNECTIONS_NEAR_LIMIT: u32 = 4000;
/// The share of the API's capacity that open connections request.
pub(crate) const OPEN_LOAD_SHARE: f64 = 0.5;
/// Requests a second under overload, as a multiple of the API's capacity.
pub(crate) const OVERLOAD_FACTOR: f64 = 3.0;
/// Queries are drawn at random from a long list, so hardly any two concurrent ones are equal.
const COALESCED_SHARE_MAX: f64 = 0.05;

/// One query, measured on all.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct QueryComparison {
    pub(crate) bare: Measured,
    pub(crate) api: LoadResult,
    /// CPU seconds used by the API.
    pub(crate) api_cpu_seconds: f64,
    /// Nothing for pages: the simplest service has none.
    pub(crate) service: LoadResult,
    /// CPU seconds used by the simplest service.
    pub(crate) service_cpu_seconds: f64,
}

impl QueryComparison {
    pub(crate) fn share_of_bare(&self) -> f64 {
        self.api.per_second() / self.bare_per_second()
    }

    pub(crate) fn bare_per_second(&self) -> f64 {
        self.bare.requests / self.bare.seconds
    }
}

/// Many connections, each with a request now and then.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Open {
    pub(crate) asked_per_second: f64,
    /// Counted by the API during the run.
    pub(crate) connections: f64,
    pub(crate) memory_mib: f64,
    pub(crate) idle_memory_mib: f64,
    pub(crate) loaded: LoadResult,
}

/// The API at its capacity and at a multiple of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Overload {
    pub(crate) connections: u32,
    pub(crate) once_asked: f64,
    pub(crate) once: LoadResult,
    pub(crate) more_asked: f64,
    pub(crate) more: LoadResult,
}

impl Overload {
    pub(crate) fn kept(&self) -> f64 {
        self.more.per_second() / self.once.per_second()
    }
}

/// The results of (g).
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Serving {
    pub(crate) tracks: u32,
    pub(crate) count: QueryComparison,
    pub(crate) series: QueryComparison,
    pub(crate) counts: QueryComparison,
    pub(crate) table: QueryComparison,
    pub(crate) open: Open,
    pub(crate) overload: Overload,
    pub(crate) overload_near_limit: Overload,
    pub(crate) overload_pages: Overload,
}

/// Measures (g).
pub(crate) async fn measure(bench: &mut Bench, oha: &Path) -> Result<Serving> {
    let sizes = bench.sizes.clone();
    bench.say(&format!(
        "filling a table with {} tracks",
        sizes.served_tracks
    ))?;
    // One address has all connections, as a proxy has: as many as there may be.
    let behind_a_proxy = "[api]\nconnections_per_address_max = 4096\n";
    let changes = format!("{behind_a_proxy}{MORE_COUNTERS}");
    let namespace = bench.namespace("serving", &changes).await?;
    let tracks = sizes.served_tracks.to_string();
    baseline::run(bench, namespace.keyspace(), &["fill", "--tracks", &tracks]).await?;
    let api = ApiUnderTest::open(namespace, sizes.served_tracks, oha).await?;
    let service = ServiceUnderTest::open(bench, api.namespace.keyspace()).await?;
    api.check_answers(&service.address).await?;
    let mut all = Serving {
        tracks: sizes.served_tracks,
        ..Serving::default()
    };
    for round in 1..=sizes.rounds {
        for (query, sum) in [
            (Query::Count, &mut all.count),
            (Query::Series, &mut all.series),
            (Query::Counts, &mut all.counts),
            (Query::Table, &mut all.table),
        ] {
            bench.say(&format!(
                "round {round}: {query:?}, bare driver, simplest service and API"
            ))?;
            let one = compare(bench, &api, &service, query).await?;
            sum.bare += one.bare;
            sum.api += one.api;
            sum.api_cpu_seconds += one.api_cpu_seconds;
            sum.service += one.service;
            sum.service_cpu_seconds += one.service_cpu_seconds;
        }
    }
    service.close().await?;
    bench.say(&format!("{CONNECTIONS} connections"))?;
    all.open = open(&api, all.count.api.per_second(), sizes.serve_measure).await?;
    bench.say("overload: counts")?;
    let (time, few, many) = (sizes.serve_measure, CONNECTIONS, CONNECTIONS_NEAR_LIMIT);
    all.overload = overload(&api, Query::Count, PERMITS, few, time).await?;
    all.overload_near_limit = overload(&api, Query::Count, PERMITS, many, time).await?;
    bench.say("overload: pages")?;
    let permits = PERMITS / KEYS_AT_ONCE;
    all.overload_pages = overload(&api, Query::Counts, permits, few, time).await?;
    api.close().await?;
    Ok(all)
}

async fn compare(
    bench: &Bench,
    api: &ApiUnderTest,
    service: &ServiceUnderTest,
    query: Query,
) -> Result<QueryComparison> {
    let (name, keys, at_once) = match query {
        Query::Count => ("count", 1, CLIENTS),
        Query::Series => ("series", 1, CLIENTS),
        Query::Counts => ("counts", KEYS, PAGE_CLIENTS),
        Query::Table => ("table", TABLE_KEYS, PAGE_CLIENTS),
    };
    let (keys, clients) = (keys.to_string(), at_once.to_string());
    let tracks = api.tracks.to_string();
    let arguments = [
        "read",
        "--query",
        name,
        "--tracks",
        &tracks,
        "--keys",
        &keys,
        "--at-once",
        &clients,
    ];
    let times = (bench.sizes.serve_warm_up, bench.sizes.serve_measure);
    let bare = baseline::run_for(bench, api.namespace.keyspace(), &arguments, times).await?;
    let load = |time| Load {
        connections: at_once,
        rate: None,
        time,
    };
    let (mut of_service, mut service_cpu_seconds) = (LoadResult::default(), 0.0);
    if query != Query::Counts {
        api.run_at(&service.address, query, load(times.0)).await?;
        let before = service.cpu_seconds()?;
        of_service = api.run_at(&service.address, query, load(times.1)).await?;
        service_cpu_seconds = service.cpu_seconds()? - before;
        ensure!(
            of_service.failed == 0.0 && of_service.refused == 0.0,
            "the simplest service failed {query:?}: {of_service:?}"
        );
    }
    api.run(query, load(times.0)).await?;
    let before = api.usage().await?;
    let result = api.run(query, load(times.1)).await?;
    let usage = api.usage().await?.since(&before);
    ensure!(
        result.failed == 0.0 && result.refused == 0.0,
        "the API refused or failed {query:?}: {result:?}"
    );
    ensure!(
        usage.coalesced <= (usage.coalesced + usage.reads) * COALESCED_SHARE_MAX,
        "{} reads were coalesced into {} others: the bare driver had no such advantage",
        usage.coalesced,
        usage.reads
    );
    Ok(QueryComparison {
        bare,
        api: result,
        api_cpu_seconds: usage.cpu_seconds,
        service: of_service,
        service_cpu_seconds,
    })
}

/// Requests half of the capacity over many connections.
async fn open(api: &ApiUnderTest, capacity: f64, time: Duration) -> Result<Open> {
    let idle_memory_mib = api.memory_mib()?;
    let asked_per_second = capacity * OPEN_LOAD_SHARE;
    // A connection is opened by its first request.
    let opened = Duration::from_secs_f64(f64::from(CONNECTIONS) * 2.0 / asked_per_second);
    let time = time.max(opened);
    let load = Load {
        connections: CONNECTIONS,
        rate: Some(asked_per_second),
        time,
    };
    let sample = async {
        tokio::time::sleep(time * 4 / 5).await;
        anyhow::Ok((api.connections().await?, api.memory_mib()?))
    };
    let (loaded, sampled) = tokio::join!(api.run(Query::Count, load), sample);
    let (loaded, (connections, memory_mib)) = (loaded?, sampled?);
    ensure!(
        connections >= f64::from(CONNECTIONS),
        "only {connections} connections were open"
    );
    Ok(Open {
        asked_per_second,
        connections,
        memory_mib,
        idle_memory_mib,
        loaded,
    })
}

/// Requests the API's capacity and a multiple of it, at a fixed rate that does not wait for answers. The capacity is
/// measured by as many clients as there are permits, each of which sends its next request when the last is answered.
async fn overload(
    api: &ApiUnderTest,
    query: Query,
    permits: usize,
    connections: u32,
    time: Duration,
) -> Result<Overload> {
    let busy = Load {
        connections: u32::try_from(permits)?,
        rate: None,
        time,
    };
    let capacity = api.run(query, busy).await?.per_second();
    let run = async |times: f64| {
        let load = Load {
            connections,
            rate: Some(capacity * times),
            time,
        };
        api.run(query, load).await
    };
    Ok(Overload {
        connections,
        once_asked: capacity,
        once: run(1.0).await?,
        more_asked: capacity * OVERLOAD_FACTOR,
        more: run(OVERLOAD_FACTOR).await?,
    })
}
