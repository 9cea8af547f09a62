use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::process::{Finished, Program};
use stitch_harness::secure;
use stitch_harness::test_namespace::TestNamespace;

pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The folder with certificates and passwords.
pub(crate) fn folder() -> Result<PathBuf> {
    secure::folder().context("STITCH_TEST_SECURE is not set: deploy/test secure sets it")
}

/// A command of the processor, with these variables of the environment.
pub(crate) fn processor(
    namespace: &TestNamespace,
    arguments: &[&str],
    environment: &[(&str, String)],
) -> Result<Program> {
    let (command, arguments) = arguments.split_first().context("a command")?;
    let mut program = namespace.processor_command(command, arguments)?;
    let variables = environment.iter();
    let variables = variables.map(|(name, value)| ((*name).to_owned(), value.clone()));
    program.environment.extend(variables);
    Ok(program)
}

pub(crate) async fn run(
    namespace: &TestNamespace,
    arguments: &[&str],
    environment: &[(&str, String)],
) -> Result<Finished> {
    processor(namespace, arguments, environment)?
        .run(BOUND)
        .await
}

/// The findings of `check`: verdict, message and help of each.
pub(crate) async fn findings(
    namespace: &TestNamespace,
    environment: &[(&str, String)],
) -> Result<Vec<(String, String, String)>> {
    let finished = run(namespace, &["check", "--output", "json"], environment).await?;
    let answer: Value =
        serde_json::from_str(&finished.output).with_context(|| format!("{finished:?}"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = answer["findings"]
        .as_array()
        .with_context(|| answer.to_string())?;
    let findings = findings.iter();
    Ok(findings
        .map(|one| {
            (
                text(&one["verdict"]),
                text(&one["message"]),
                text(&one["help"]),
            )
        })
        .collect())
}

/// Fails unless one finding has this verdict and all of these words in its message.
pub(crate) fn ensure_finding(
    findings: &[(String, String, String)],
    verdict: &str,
    words: &[&str],
) -> Result<()> {
    let fits = |(found, message, help): &(String, String, String)| {
        found == verdict
            && words.iter().all(|word| message.contains(word))
            && (verdict == "ok" || !help.is_empty())
    };
    ensure!(
        findings.iter().any(fits),
        "no finding is {verdict} and says {words:?}: {findings:#?}"
    );
    Ok(())
}
