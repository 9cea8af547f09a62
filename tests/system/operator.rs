//! The operator's page of the API: what `stitch-restorator status` says, and the locks of a restoration.

use anyhow::{Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::process::Process;
use stitch_harness::test_namespace::TestNamespace;
use stitch_harness::web::get;
use tokio::time::timeout;

use stitch_tests::scene::{BOUND, asked, count, some, stage};

const PAGE: &str = "/operator";
const OBJECT: &str = "/operator/status.json";

async fn api(stage: &TestNamespace, variables: &[(&str, &str)]) -> Result<(Process, String)> {
    let mut program = stage.api_command("run", &[])?;
    let variables = variables.iter();
    let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    program.environment.extend(variables);
    let mut process = program.start()?;
    let address = TestNamespace::address(&mut process).await?;
    Ok((process, address))
}

async fn ended(api: Process) -> Result<()> {
    let finished = api.stop(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    ensure!(!finished.errors.contains("panicked"), "{}", finished.errors);
    Ok(())
}

/// What the page's object says, once it says `what`. A new one is shown about once a second, however often it is asked.
async fn until(address: &str, what: &str, says: impl Fn(&Value) -> bool) -> Result<Value> {
    let mut last = Value::Null;
    let seen = async {
        loop {
            let (status, body) = get(address, OBJECT).await?;
            ensure!(status == 200, "{status} {body}");
            last = serde_json::from_str(&body)?;
            if says(&last) {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    };
    match timeout(BOUND, seen).await {
        Ok(seen) => seen.map(|()| last),
        Err(_) => anyhow::bail!("it never showed {what}: {last}"),
    }
}

fn locked_by_the_restoration(object: &Value) -> bool {
    let member = &object["restoring"]["member"];
    let held = |lock: &Value| {
        lock["kind"] == "exclusive" && lock["state"] == "held" && lock["member"] == *member
    };
    object["locks"]
        .as_array()
        .is_some_and(|locks| locks.iter().any(held))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_says_what_status_says() -> Result<()> {
    let stage = stage("operator_same").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    let (api, address) = api(&stage, &[]).await?;
    // Checkpoint may be written once more after all is counted: then it is written no more.
    let (code, printed) = loop {
        let (code, printed) = asked(&stage, "status", &[]).await?;
        let shown = until(&address, "an object", |_| true).await?;
        if shown == printed {
            break (code, printed);
        }
    };
    ensure!(code == Some(0), "{printed}");
    ensure!(printed["members"][0]["role"] == "processor", "{printed}");
    ensure!(printed["ranges"] == 16, "{printed}");
    let (status, page) = get(&address, PAGE).await?;
    ensure!(status == 200 && page.contains("16 counting"), "{page}");
    let member = printed["members"][0]["member"].as_str().unwrap_or_default();
    ensure!(page.contains(member), "{member}: {page}");
    ended(api).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locks_of_a_restoration_come_and_go_on_the_operators_page() -> Result<()> {
    let stage = stage("operator_locks").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 1000)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 1).await?;
    vandal.rage(5).await?;
    let (api, address) = api(&stage, &[]).await?;
    until(&address, "no exclusive lock", |object| {
        object["restoring"].is_null() && !locked_by_the_restoration(object)
    })
    .await?;
    let mut program = stage.restorator_command("run", &["--now"])?;
    // With every lock in its hands it lingers: for less than its lease, also where two ranges do so one after the other.
    program.environment = vec![("FAILPOINTS".to_owned(), "r5-read=sleep(500)".to_owned())];
    let run = program.start()?;
    let amid = until(
        &address,
        "a range being restored",
        locked_by_the_restoration,
    )
    .await?;
    let line = &amid["restorations"][0];
    ensure!(
        line["outcome"] == "running" && line["ranges_in_scope"] == 16,
        "{amid}"
    );
    let map = async {
        loop {
            let (status, page) = get(&address, PAGE).await?;
            ensure!(status == 200, "{status} {page}");
            if page.contains(" being restored</span>") {
                return Ok(page);
            }
            tokio::task::yield_now().await;
        }
    };
    let page = timeout(BOUND, map).await??;
    ensure!(
        page.contains("A restoration runs") && page.contains("of 16 ranges are done"),
        "{page}"
    );
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let after = until(&address, "the end", |object| {
        object["restoring"].is_null() && !object.to_string().contains("\"exclusive\"")
    })
    .await?;
    let line = &after["restorations"][0];
    ensure!(
        line["outcome"] == "verified" && line["ranges_verified"] == 16,
        "{after}"
    );
    ensure!(line["cells_corrected"].as_u64() > Some(0), "{after}");
    ended(api).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_the_operators_page_says_so_with_the_way_out() -> Result<()> {
    let stage = stage("operator_alone").await?;
    let nowhere = ("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1");
    let (api, address) = api(&stage, &[nowhere]).await?;
    let (status, page) = get(&address, PAGE).await?;
    ensure!(
        status == 503 && page.contains("127.0.0.1:1") && page.contains("Way out: "),
        "{status} {page}"
    );
    let (status, problem) = get(&address, OBJECT).await?;
    let problem: Value = serde_json::from_str(&problem)?;
    ensure!(
        status == 503 && problem["type"] == "/problems/namespace-unavailable",
        "{status} {problem}"
    );
    ended(api).await
}
