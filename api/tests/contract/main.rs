//! Holds the real `stitch-api` to `api/openapi.json`: schemathesis makes a few thousand valid and invalid requests from
//! the description, and checks each answer against it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::{Generator, Shape};
use stitch_harness::process::Program;
use stitch_harness::servers::{Servers, repository};
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

/// Both layers, so that answers have what they say of batch, too.
const BATCH: &str = "\n[batch]\nenabled = true\nclosed_after_ms = 0\n";
const BOUND: Duration = Duration::from_secs(60);
/// Includes the installation of the tool, on a busy machine.
const CONTRACT_BOUND: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_described() -> Result<()> {
    let mut config = TestConfig::new("api_contract")?;
    config.config += BATCH;
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let processor = namespace.processor("processor").await?;
    namespace
        .feed()?
        .send(Generator::new(Shape::default())?.take(500))
        .await?;
    namespace.lag()?.until_none(BOUND).await?;
    for command in ["init", "run"] {
        let finished = namespace.batch_command(command, &[])?.run(BOUND).await?;
        ensure!(finished.code == Some(0), "{finished:?}");
    }
    let mut api = namespace.api_command("run", &[])?.start()?;
    let address = TestNamespace::address(&mut api).await?;
    let check = Program {
        name: "contract".to_owned(),
        path: repository()?.join("deploy/lib/check-contract"),
        arguments: vec![address, "plays".to_owned()],
        environment: Vec::new(),
        folder: namespace.folder.clone(),
    };
    let finished = check.run(CONTRACT_BOUND).await?;
    let output = format!("{}{}", finished.output, finished.errors);
    ensure!(finished.code == Some(0), "{output}");
    ensure!(output.contains("passed"), "{output}");
    let stopped = api.stop(BOUND).await?;
    let code = stopped.code.context("an exit code")?;
    ensure!(
        code == 0 && !stopped.errors.contains("panicked"),
        "{}",
        stopped.errors
    );
    namespace.stop([processor]).await
}
