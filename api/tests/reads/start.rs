//! What keeps an API from starting, told with the way out.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::test_namespace::TestNamespace;

use crate::support::{BOUND, stage};

/// Runs a command that has to fail, and gives its error.
async fn refused(
    stage: &TestNamespace,
    command: &str,
    variables: &[(&str, &str)],
) -> Result<(String, String)> {
    let mut program = stage.api_command(command, &["--output", "json"])?;
    for (name, value) in variables {
        program
            .environment
            .push(((*name).to_owned(), (*value).to_owned()));
    }
    let finished = program.run(BOUND).await?;
    ensure!(finished.code == Some(2), "{finished:?}");
    let object: Value = serde_json::from_str(&finished.output)?;
    let text = |name: &str| object["error"][name].as_str().map(str::to_owned);
    let error = text("what").zip(text("help"));
    error.with_context(|| object.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_at_the_start_is_named_with_the_way_out() -> Result<()> {
    let stage = stage("api_start").await?;
    let nowhere = ("STITCH_CASSANDRA__NODES", "[\"127.0.0.1:1\"]");
    let (what, help) = refused(&stage, "run", &[nowhere]).await?;
    ensure!(
        what.contains("127.0.0.1:1") && help.contains("cassandra.nodes"),
        "{what} {help}"
    );
    let other = ("STITCH_CASSANDRA__KEYSPACE", "nobodys_keyspace");
    let (what, _) = refused(&stage, "run", &[other]).await?;
    ensure!(what.contains("nobodys_keyspace"), "{what}");
    let files = [
        ("STITCH_API__TLS_CERTIFICATE", "no.crt"),
        ("STITCH_API__TLS_KEY", "no.key"),
    ];
    for command in ["run", "check"] {
        let (what, help) = refused(&stage, command, &files).await?;
        ensure!(
            what.contains("no.crt") && help.contains("api.tls_certificate"),
            "{what}"
        );
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let listen = ("STITCH_API__LISTEN", &*taken.local_addr()?.to_string());
    let (what, help) = refused(&stage, "run", &[listen]).await?;
    ensure!(
        what.contains("api.listen") && help.contains("port 0"),
        "{what}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_not_the_namespaces_are_refused() -> Result<()> {
    let stage = stage("api_differs").await?;
    stage.configure(&format!("{COUNTERS}\n[ranges]\nbits = 5"))?;
    let (what, help) = refused(&stage, "run", &[]).await?;
    ensure!(what.contains("[ranges] bits: here 5"), "{what}");
    ensure!(help.contains("processors"), "{help}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn check_answers_as_it_does_elsewhere() -> Result<()> {
    let stage = stage("api_check").await?;
    let finished = stage
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
