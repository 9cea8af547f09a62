//! A slow and a silent Cassandra, many at once, clients that go away, an end in the midst of it.

use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Api, stage};

const KEY: &str = "/v1/counters/plays/keys/track-1";
const IN_FLIGHT: &str = "stitch_api_requests_in_flight";

/// An API that reaches Cassandra through a proxy.
async fn behind_a_proxy(stage: &TestNamespace, variables: &[(&str, &str)]) -> Result<(Api, Proxy)> {
    let proxy = Proxy::cassandra(&stage.servers.cassandra[0]).await?;
    let nodes = format!("[\"{}\"]", proxy.address());
    // A connection that says nothing is kept for as long as a test needs it.
    let mut all = vec![
        ("STITCH_CASSANDRA__NODES", nodes.as_str()),
        ("STITCH_CASSANDRA__KEEPALIVE_TIMEOUT_MS", "60000"),
    ];
    all.extend(variables);
    let api = Api::start(stage, &all).await?;
    Ok((api, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_node_costs_time_and_no_answer() -> Result<()> {
    let stage = stage("api_slow").await?;
    let (api, proxy) = behind_a_proxy(&stage, &[]).await?;
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let began = tokio::time::Instant::now();
    api.ok(KEY).await?;
    ensure!(
        began.elapsed() >= Duration::from_millis(300),
        "{:?}",
        began.elapsed()
    );
    proxy.set(Mode::Pass);
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_says_nothing_is_given_up_in_time_and_asked_again_when_it_speaks() -> Result<()>
{
    let stage = stage("api_silent").await?;
    let short = ("STITCH_API__REQUEST_TIMEOUT_MS", "1000");
    let (api, proxy) = behind_a_proxy(&stage, &[short]).await?;
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
async fn many_who_ask_for_one_cell_at_one_moment_cost_one_read() -> Result<()> {
    const MANY: u32 = 200;
    let stage = stage("api_coalesced").await?;
    let (api, proxy) = behind_a_proxy(&stage, &[]).await?;
    proxy.set(Mode::Blackhole);
    let mut asking = JoinSet::new();
    for _ in 0..MANY {
        let address = api.address.clone();
        asking.spawn(async move { get(&address, KEY).await });
    }
    api.until("stitch_api_reads_coalesced_total", f64::from(MANY - 1))
        .await?;
    proxy.set(Mode::Pass);
    while let Some(answer) = asking.join_next().await {
        let (status, body) = answer??;
        ensure!(status == 200, "{status} {body}");
    }
    let reads = api.metric("stitch_api_reads_total").await?;
    ensure!((reads - 1.0).abs() < 0.5, "{reads} reads");
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_at_once_and_the_rest_is_answered() -> Result<()> {
    let stage = stage("api_overload").await?;
    let four = ("STITCH_API__REQUESTS_IN_FLIGHT_MAX", "4");
    let at_once = ("STITCH_API__ADMISSION_TIMEOUT_MS", "0");
    let (api, proxy) = behind_a_proxy(&stage, &[four, at_once]).await?;
    proxy.set(Mode::Blackhole);
    let mut asking = JoinSet::new();
    for number in 0..4 {
        let address = api.address.clone();
        asking.spawn(async move { get(&address, &format!("{KEY}{number}")).await });
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
    while let Some(answer) = asking.join_next().await {
        let (status, body) = answer??;
        ensure!(status == 200, "{status} {body}");
    }
    api.ok(KEY).await?;
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_work() -> Result<()> {
    let stage = stage("api_gone").await?;
    // By itself the request would last longer than this test.
    let long = ("STITCH_API__REQUEST_TIMEOUT_MS", "3600000");
    let (api, proxy) = behind_a_proxy(&stage, &[long]).await?;
    proxy.set(Mode::Blackhole);
    let mut client = TcpStream::connect(&api.address).await?;
    let request = format!("GET {KEY} HTTP/1.1\r\nHost: here\r\n\r\n");
    client.write_all(request.as_bytes()).await?;
    api.until(IN_FLIGHT, 1.0).await?;
    drop(client);
    api.until(IN_FLIGHT, 0.0).await?;
    proxy.set(Mode::Pass);
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_was_begun() -> Result<()> {
    let stage = stage("api_stopped").await?;
    let (mut api, proxy) = behind_a_proxy(&stage, &[]).await?;
    proxy.set(Mode::Blackhole);
    let address = api.address.clone();
    let asking = tokio::spawn(async move { get(&address, KEY).await });
    api.until(IN_FLIGHT, 1.0).await?;
    api.process.signal(Signal::TERM)?;
    api.process
        .until_says("asked to stop", crate::support::BOUND)
        .await?;
    proxy.set(Mode::Pass);
    let (status, body) = asking.await??;
    ensure!(status == 200, "{status} {body}");
    let finished = api.process.finish(crate::support::BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    Ok(())
}
