//! Commands of operators over HTTP, on a real ZooKeeper.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stitch_harness::test_namespace::TestNamespace;

use crate::support::{Api, BOUND, namespace};

const CONTROL: &str = "/operator/control";
const TOKEN: &str = "0123456789abcdef";

async fn command(api: &Api, body: &Value) -> Result<(u16, Value)> {
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    api.post_with(CONTROL, &token, body).await
}

/// What `stitch-restorator status` says of control.
async fn control(namespace: &TestNamespace) -> Result<Value> {
    let finished = namespace
        .restorator("status", &["--output", "json"], BOUND)
        .await?;
    let status: Value = serde_json::from_str(&finished.output).context(finished.errors)?;
    Ok(status["control"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_http_is_what_the_restorator_heeds_and_refusals_change_nothing() -> Result<()>
{
    let namespace = namespace("commands").await?;
    let tokens = format!("[\"{TOKEN}\"]");
    let api = Api::start(&namespace, &[("STITCH_API__TOKENS", &tokens)]).await?;
    let before = control(&namespace).await?;

    let (status, object) = command(&api, &json!({"command": "pause"})).await?;
    ensure!(status == 409, "nothing runs: {status} {object}");
    ensure!(object["type"] == "/problems/command-refused", "{object}");
    let (status, object) = api
        .post_with(CONTROL, "", &json!({"command": "resume"}))
        .await?;
    ensure!(status == 401, "without a token: {status} {object}");
    ensure!(
        control(&namespace).await? == before,
        "something was changed"
    );

    let hold =
        json!({"command": "hold-until", "until": "2999-01-31T06:00:00Z", "reason": "maintenance"});
    let (status, object) = command(&api, &hold).await?;
    ensure!(status == 200, "{status} {object}");
    let held = control(&namespace).await?;
    ensure!(object["control"] == held, "{object} and not {held}");
    let text = held.to_string();
    for part in ["token tokens[0]@", "maintenance", "2999-01-31"] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let refused = namespace.restorator("run", &["--now"], BOUND).await?;
    ensure!(refused.code == Some(2), "{refused:?}");
    ensure!(refused.errors.contains("token tokens[0]@"), "{refused:?}");

    let (status, object) = command(&api, &json!({"command": "resume"})).await?;
    ensure!(status == 200, "{status} {object}");
    ensure!(control(&namespace).await?["hold"].is_null(), "{object}");
    // Nothing was ever counted here, which is another refusal.
    let refused = namespace.restorator("run", &["--now"], BOUND).await?;
    ensure!(refused.errors.contains("has no checkpoint"), "{refused:?}");
    api.stop().await
}
