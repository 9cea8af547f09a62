//! Faults: a slow and a silent Cassandra, overload, clients that go away, a stop with requests in flight.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Api, namespace};

const KEY: &str = "/v1/counters/plays/keys/track-1";
const IN_FLIGHT: &str = "stitch_api_requests_in_flight";

/// Starts an API that reaches Cassandra through a proxy.
async fn behind_a_proxy(
    namespace: &TestNamespace,
    variables: &[(&str, &str)],
) -> Result<(Api, Proxy)> {
    let proxy = Proxy::cassandra(&namespace.servers.cassandra[0]).await?;
    let nodes = format!("[\"{}\"]", proxy.address());
    // Long enough that a silent connection is kept for the whole test.
    let mut all = vec![
        ("STITCH_CASSANDRA__NODES", nodes.as_str()),
        ("STITCH_CASSANDRA__KEEPALIVE_TIMEOUT_MS", "60000"),
    ];
    all.extend(variables);
    let api = Api::start(namespace, &all).await?;
    Ok((api, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_delays_answers_but_loses_none() -> Result<()> {
    let namespace = namespace("api_slow").await?;
    let (api, proxy) = behind_a_proxy(&namespace, &[]).await?;
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let start = tokio::time::Instant::now();
    api.ok(KEY).await?;
    ensure!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    proxy.set(Mode::Pass);
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_node_times_out_and_is_used_again_once_it_answers() -> Result<()> {
    let namespace = namespace("api_silent").await?;
    let short = ("STITCH_API__REQUEST_TIMEOUT_MS", "1000");
    let (api, proxy) = behind_a_proxy(&namespace, &[short]).await?;
    proxy.set(Mode::Blackhole);
    let (status, problem) = api.get(KEY).await?;
    ensure!(
        (status, &problem["type"]) == (503, &"/problems/store-unavailable".into()),
        "{problem}"
    );
    proxy.set(Mode::Pass);
    api.ok(KEY).await?;
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_for_one_cell_share_a_read_of_cassandra() -> Result<()> {
    const MANY: u32 = 200;
    let namespace = namespace("api_coalesced").await?;
    let (api, proxy) = behind_a_proxy(&namespace, &[]).await?;
    proxy.set(Mode::Blackhole);
    let mut requests = JoinSet::new();
    for _ in 0..MANY {
        let address = api.address.clone();
        requests.spawn(async move { get(&address, KEY).await });
    }
    api.until(IN_FLIGHT, f64::from(MANY)).await?;
    proxy.set(Mode::Pass);
    while let Some(answer) = requests.join_next().await {
        let (status, body) = answer??;
        ensure!(status == 200, "{status} {body}");
    }
    let reads = api.metric("stitch_api_reads_total").await?;
    let coalesced = api.metric("stitch_api_reads_coalesced_total").await?;
    ensure!(
        (reads + coalesced - f64::from(MANY)).abs() < 0.5,
        "{reads} reads, {coalesced} coalesced"
    );
    // One for each time that freshness was read meanwhile.
    ensure!(reads < 20.5, "{reads} reads");
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_limit_are_refused_and_the_others_answered() -> Result<()> {
    let namespace = namespace("api_overload").await?;
    let four = ("STITCH_API__REQUESTS_IN_FLIGHT_MAX", "4");
    let no_wait = ("STITCH_API__ADMISSION_TIMEOUT_MS", "0");
    let (api, proxy) = behind_a_proxy(&namespace, &[four, no_wait]).await?;
    proxy.set(Mode::Blackhole);
    let mut requests = JoinSet::new();
    for number in 0..4 {
        let address = api.address.clone();
        requests.spawn(async move { get(&address, &format!("{KEY}{number}")).await });
    }
    api.until(IN_FLIGHT, 4.0).await?;
    for _ in 0..20 {
        let (status, problem) = api.get(KEY).await?;
        ensure!(
            (status, &problem["type"]) == (503, &"/problems/overload".into()),
            "{problem}"
        );
    }
    let shed = api.metric("stitch_api_requests_shed_total").await?;
    ensure!((shed - 20.0).abs() < 0.5, "{shed} were refused");
    proxy.set(Mode::Pass);
    while let Some(answer) = requests.join_next().await {
        let (status, body) = answer??;
        ensure!(status == 200, "{status} {body}");
    }
    api.ok(KEY).await?;
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_for_a_client_that_goes_away_ends() -> Result<()> {
    let namespace = namespace("api_gone").await?;
    // Without its client going away, the request would last longer than this test.
    let long = ("STITCH_API__REQUEST_TIMEOUT_MS", "3600000");
    let (api, proxy) = behind_a_proxy(&namespace, &[long]).await?;
    proxy.set(Mode::Blackhole);
    let mut client = TcpStream::connect(&api.address).await?;
    let request = format!("GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).await?;
    api.until(IN_FLIGHT, 1.0).await?;
    drop(client);
    api.until(IN_FLIGHT, 0.0).await?;
    proxy.set(Mode::Pass);
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_requests_in_flight() -> Result<()> {
    let namespace = namespace("api_stopped").await?;
    let (mut api, proxy) = behind_a_proxy(&namespace, &[]).await?;
    proxy.set(Mode::Blackhole);
    let address = api.address.clone();
    let request = tokio::spawn(async move { get(&address, KEY).await });
    api.until(IN_FLIGHT, 1.0).await?;
    api.process.signal(Signal::TERM)?;
    api.process
        .until_says("stop requested", crate::support::BOUND)
        .await?;
    proxy.set(Mode::Pass);
    let (status, body) = request.await??;
    ensure!(status == 200, "{status} {body}");
    let finished = api.process.finish(crate::support::BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok(())
}
