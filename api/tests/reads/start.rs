//! Errors that keep an API from starting, with help.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::events::COUNTERS;
use stitch_harness::test_namespace::TestNamespace;

use crate::support::{BOUND, namespace};

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
    let nowhere = ("STITCH_CASSANDRA__NODES", "[\"127.0.0.1:1\"]");
    let (message, help) = refused(&namespace, "run", &[nowhere]).await?;
    ensure!(
        message.contains("127.0.0.1:1") && help.contains("cassandra.nodes"),
        "{message} {help}"
    );
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
