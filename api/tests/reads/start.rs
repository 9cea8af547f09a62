//! The start of an API: errors that end it, with help, and servers that it waits for.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::proxy::{Mode, Proxy};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

use crate::support::{Api, BOUND, POLL_INTERVAL, namespace};

const KEY: &str = "/v1/counters/plays/keys/track-1";

/// Runs a command that must fail; returns the message and the help of its error.
async fn refused(
    namespace: &TestNamespace,
    command: &str,
    variables: &[(&str, &str)],
) -> Result<(String, String)> {
    let mut program = namespace.api_command(command, &["--output", "json"])?;
    for (name, value) in variables {
        program
            .environment
            .push(((*name).to_owned(), (*value).to_owned()));
    }
    let finished = program.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output)?;
    let text = |name: &str| object["error"][name].as_str().map(str::to_owned);
    let error = text("message").zip(text("help"));
    error.with_context(|| object.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn obstacles_to_a_start_are_named_with_help() -> Result<()> {
    let namespace = namespace("api_start").await?;
    let other = ("STITCH_CASSANDRA__KEYSPACE", "missing_keyspace");
    let (message, _) = refused(&namespace, "run", &[other]).await?;
    ensure!(message.contains("missing_keyspace"), "{message}");
    let files = [
        ("STITCH_API__TLS_CERTIFICATE", "no.crt"),
        ("STITCH_API__TLS_KEY", "no.key"),
    ];
    for command in ["run", "check"] {
        let (message, help) = refused(&namespace, command, &files).await?;
        ensure!(
            message.contains("no.crt") && help.contains("api.tls_certificate"),
            "{message}"
        );
    }
    let in_use = std::net::TcpListener::bind("127.0.0.1:0")?;
    let listen = ("STITCH_API__LISTEN", &*in_use.local_addr()?.to_string());
    let (message, help) = refused(&namespace, "run", &[listen]).await?;
    ensure!(
        message.contains("api.listen") && help.contains("port 0"),
        "{message}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_not_the_namespaces_are_refused() -> Result<()> {
    let namespace = namespace("api_differs").await?;
    namespace.configure(&format!("{COUNTERS}\n[ranges]\nbits = 5"))?;
    let (message, help) = refused(&namespace, "run", &[]).await?;
    ensure!(message.contains("[ranges] bits: here 5"), "{message}");
    ensure!(help.contains("processors"), "{help}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_as_in_the_other_programs() -> Result<()> {
    let namespace = namespace("api_check").await?;
    let finished = namespace
        .api_command("check", &["--output", "json"])?
        .run(BOUND)
        .await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output)?;
    ensure!(
        object["command"] == "check" && object["findings"].is_array(),
        "{object}"
    );
    Ok(())
}

/// Waits until a server is ready.
async fn until_ready(api: &Api) -> Result<()> {
    let ready = async {
        while get(&api.address, "/ready").await?.0 != 200 {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, ready).await.context("not ready")?
}

/// A rack that comes back from a power cut starts its programs in any order.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_before_cassandra_or_zookeeper_is_alive_and_serves_once_they_answer()
-> Result<()> {
    let namespace = namespace("api_awaits").await?;
    let servers = &namespace.servers;
    let zookeeper = Proxy::start(&servers.zookeeper).await?;
    let cassandra = Proxy::cassandra(&servers.cassandra[0]).await?;
    let unavailable = "/problems/store-unavailable";
    for (key, proxy, name, status) in [
        ("STITCH_CASSANDRA__NODES", cassandra, "Cassandra", 503),
        // Counts are served without it, and say that it is not known how fresh they are.
        ("STITCH_ZOOKEEPER__CONNECT", zookeeper, "ZooKeeper", 200),
    ] {
        proxy.set(Mode::Refuse);
        let api = Api::start(&namespace, &[(key, &proxy.address())]).await?;
        let (health, _) = get(&api.address, "/health").await?;
        let (ready, reason) = get(&api.address, "/ready").await?;
        ensure!((health, ready) == (200, 503), "{name}: {health} {ready}");
        ensure!(reason.contains(name), "{reason}");
        let (answer, object) = api.get(KEY).await?;
        ensure!(answer == status, "{name}: {answer} {object}");
        ensure!(
            (answer == 503) == (object["type"] == unavailable),
            "{object}"
        );
        proxy.set(Mode::Pass);
        until_ready(&api).await?;
        let answer = api.ok(KEY).await?;
        ensure!(answer["freshness"]["state"] == "live", "{answer}");
        api.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_when_a_server_comes_back_ends_it_with_help() -> Result<()> {
    let namespace = namespace("api_awaits_refusal").await?;
    let servers = &namespace.servers;
    let zookeeper = Proxy::start(&servers.zookeeper).await?;
    let cassandra = Proxy::cassandra(&servers.cassandra[0]).await?;
    for (key, proxy, other, named) in [
        (
            "STITCH_CASSANDRA__NODES",
            cassandra,
            ("STITCH_CASSANDRA__KEYSPACE", "missing_keyspace"),
            "missing_keyspace",
        ),
        (
            "STITCH_ZOOKEEPER__CONNECT",
            zookeeper,
            ("STITCH_RANGES__BITS", "5"),
            "[ranges] bits: here 5",
        ),
    ] {
        proxy.set(Mode::Refuse);
        let api = Api::start(&namespace, &[(key, &proxy.address()), other]).await?;
        proxy.set(Mode::Pass);
        let finished = api.process.finish(BOUND).await?;
        ensure!(finished.code == Some(2), "{finished:?}");
        let object: Value = serde_json::from_str(&finished.output)?;
        let message = object["error"]["message"].as_str().context("a message")?;
        ensure!(message.contains(named), "{message}");
    }
    Ok(())
}
