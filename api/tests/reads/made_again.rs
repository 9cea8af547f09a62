//! The table of counts is dropped and made again by hand while it is served: what the new one has, nobody has counted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::{drop_table, statement};
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use stitch_harness::zookeeper::ZooKeeperClient;
use tokio::time::{sleep, timeout};

use crate::support::{Api, BOUND, POLL_INTERVAL, events, namespace};

const KEY: &str = "/v1/counters/plays/keys/track-1";
/// For so long a server may take the table for the one that it was (docs/operations/runbook.md).
const WINDOW: Duration = Duration::from_secs(10);

/// Makes the table of counts as `stitch-processor init` does, with this `id` or one of its own.
async fn make(namespace: &TestNamespace, id: Option<&str>) -> Result<()> {
    let (keyspace, name) = (namespace.keyspace(), &namespace.name);
    let id = id.map_or_else(String::new, |id| format!(" AND ID = {id}"));
    let cql = format!(
        "CREATE TABLE {keyspace}.counts (counter text, key text, granularity text, bucket timestamp, value counter, \
         PRIMARY KEY ((counter, key), granularity, bucket)) WITH comment = 'stitch namespace /stitch/{name}'{id}"
    );
    statement(&namespace.servers.cassandra, &cql).await
}

/// The id of the table that the namespace counts in.
async fn recorded_id(namespace: &TestNamespace) -> Result<String> {
    let zookeeper = ZooKeeperClient::connect(&namespace.servers.zookeeper).await?;
    let node = format!("/stitch/{}/definition", namespace.name);
    let data = zookeeper.data(&node).await?;
    let text = String::from_utf8_lossy(&data);
    let (_, rest) = text.split_once("\"table\":\"").context("an id")?;
    Ok(rest.split('"').next().context("its end")?.to_owned())
}

/// Waits until counts are not served, and returns what `/ready` says.
async fn until_refused(api: &Api) -> Result<String> {
    let refused = async {
        loop {
            let (status, answer) = api.get(KEY).await?;
            if status != 200 {
                ensure!(
                    (status, &answer["type"]) == (500, &"/problems/store-error".into()),
                    "{status} {answer}"
                );
                return anyhow::Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(WINDOW, refused).await.context("still served")??;
    let (status, ready) = get(&api.address, "/ready").await?;
    ensure!(status == 503, "{ready}");
    Ok(ready)
}

/// Waits until counts are served again.
async fn until_served(api: &Api) -> Result<()> {
    let served = async {
        while api.get(KEY).await?.0 != 200 {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, served).await.context("not served")?
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_of_a_table_that_was_made_again_by_hand_are_not_served() -> Result<()> {
    let namespace = namespace("api_made_again").await?;
    let processor = namespace.processor("processor").await?;
    namespace.feed()?.send(events(500)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    namespace.stop([processor]).await?;
    let mut api = Api::start(&namespace, &[]).await?;
    let counted = api.ok(KEY).await?;
    ensure!(counted["count"].as_i64() > Some(0), "{counted}");

    let table = format!("{}.counts", namespace.keyspace());
    drop_table(&namespace.servers.cassandra, &table).await?;
    make(&namespace, None).await?;
    let ready = until_refused(&api).await?;
    ensure!(ready.contains("the table counts"), "{ready}");
    api.process
        .until_says("is not the one that the namespace counts in", BOUND)
        .await?;
    // It has found the new table by now, and does not serve it; nor does a server that starts with it.
    until_refused(&api).await?;
    let late = Api::start(&namespace, &[]).await?;
    let ready = until_refused(&late).await?;
    ensure!(ready.contains("not the one that was counted in"), "{ready}");
    late.stop().await?;

    // Nor is there anything to serve without a table; it goes on, and serves one that is restored with its id.
    let id = recorded_id(&namespace).await?;
    drop_table(&namespace.servers.cassandra, &table).await?;
    let lost = async {
        while !get(&api.address, "/ready").await?.1.contains("was dropped") {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, lost).await.context("not lost")??;
    make(&namespace, Some(&id)).await?;
    until_served(&api).await?;
    api.stop().await
}
