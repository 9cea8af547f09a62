//! Who is let in, and where: the file of tokens while it changes, and the listener for operators.

use anyhow::{Context, Result, ensure};
use stitch_harness::web::get;
use tokio::time::{sleep, timeout};

use crate::support::{Api, BOUND, POLL_INTERVAL, namespace};

const KEY: &str = "/v1/counters/plays/keys/track-1";
const STATUS: &str = "/operator/status.json";
const EARLIER: &str = "earlier-0123456789abcdef";
const LATER: &str = "later-0123456789abcdef";

/// Waits until the token opens the address.
async fn until_open(api: &Api, path: &str, token: &str) -> Result<()> {
    let open = async {
        while api.status_for(path, token).await? != 200 {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(BOUND, open).await.context("it never opens")?
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_those_of_the_file_as_it_is_now() -> Result<()> {
    let namespace = namespace("api_tokens").await?;
    let file = namespace.folder.join("tokens");
    let named = file.display().to_string();
    let is_of = |line: &str| std::fs::write(&file, line);
    is_of(&format!("phone read {EARLIER}\n"))?;
    let api = Api::start(&namespace, &[("STITCH_API__TOKENS_FILE", &named)]).await?;
    for (token, status) in [(EARLIER, 200), (LATER, 401), ("", 401)] {
        let answer = api.status_for(KEY, token).await?;
        ensure!(answer == status, "{token}: {answer}");
    }
    ensure!(api.status_for(STATUS, EARLIER).await? == 403);

    // The same token with another scope, and another one.
    is_of(&format!("phone operate {EARLIER}\ntablet read {LATER}\n"))?;
    until_open(&api, KEY, LATER).await?;
    ensure!(api.status_for(KEY, EARLIER).await? == 403);
    ensure!(api.status_for(STATUS, EARLIER).await? == 200);

    is_of(&format!("tablet read,operate {LATER}\n"))?;
    until_open(&api, STATUS, LATER).await?;
    ensure!(api.status_for(STATUS, EARLIER).await? == 401);
    ensure!(api.status_for(KEY, EARLIER).await? == 401);
    api.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_have_a_listener_of_their_own() -> Result<()> {
    let namespace = namespace("api_operators").await?;
    let listen = ("STITCH_API__OPERATOR_LISTEN", "127.0.0.1:0");
    let mut api = Api::start(&namespace, &[listen]).await?;
    api.until_state(KEY, "live").await?;
    let said = api.process.until_says("operators: listening on", BOUND);
    let said = said.await?;
    let (_, operators) = said.split_once("http://").context("an address")?;
    for (address, others) in [
        (&*api.address, ["/operator", STATUS, "/metrics"]),
        (operators, ["/stats", "/v1/counters", KEY]),
    ] {
        for path in others {
            let (status, body) = get(address, path).await?;
            ensure!(status == 404, "{path}: {status} {body}");
        }
    }
    for (address, own) in [
        (&*api.address, ["/health", "/ready", "/stats", KEY]),
        (operators, ["/health", "/ready", "/operator", "/metrics"]),
    ] {
        for path in own {
            let (status, body) = get(address, path).await?;
            ensure!(status == 200, "{path}: {status} {body}");
        }
    }
    let (status, page) = get(&api.address, "/stats").await?;
    ensure!(status == 200 && !page.contains("/operator"), "{page}");
    api.stop().await
}
