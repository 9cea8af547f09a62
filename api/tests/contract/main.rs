//! What `api/openapi.json` says, tried on the real `stitch-api` by a few thousand requests that schemathesis makes from
//! it, right and wrong ones: no answer may be other than described.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::{Generator, Shape};
use stitch_harness::process::Program;
use stitch_harness::servers::{Servers, repository};
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

const BOUND: Duration = Duration::from_secs(60);
/// With the tool to install, on a busy machine.
const CONTRACT_BOUND: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_other_than_the_description_says() -> Result<()> {
    let stage = TestNamespace::build(
        &Servers::from_environment()?,
        &TestConfig::new("api_contract")?,
    )
    .await?;
    let processor = stage.processor("processor").await?;
    stage
        .feed()?
        .send(Generator::new(Shape::default())?.take(500))
        .await?;
    stage.lag()?.until_none(BOUND).await?;
    let mut api = stage.api_command("run", &[])?.start()?;
    let address = TestNamespace::address(&mut api).await?;
    let check = Program {
        name: "contract".to_owned(),
        path: repository()?.join("deploy/lib/check-contract"),
        arguments: vec![address, "plays".to_owned()],
        environment: Vec::new(),
        folder: stage.folder.clone(),
    };
    let finished = check.run(CONTRACT_BOUND).await?;
    let said = format!("{}{}", finished.output, finished.errors);
    ensure!(finished.code == Some(0), "{said}");
    ensure!(said.contains("passed"), "{said}");
    let stopped = api.stop(BOUND).await?;
    let code = stopped.code.context("an exit code")?;
    ensure!(
        code == 0 && !stopped.errors.contains("panicked"),
        "{}",
        stopped.errors
    );
    stage.stop([processor]).await
}
