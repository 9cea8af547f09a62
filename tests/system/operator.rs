//! The operator's page of the API: it agrees with `stitch-restorator status`, and shows the locks of a restoration.

use anyhow::{Result, ensure};
use serde_json::Value;
use stitch_harness::corruptor::Corruptor;
use stitch_harness::web::get;

use stitch_tests::scene::{
    BOUND, api, count, page, restorator_json, some_events, stop_api, test_namespace, until,
};

const PAGE: &str = "/operator";
const OBJECT: &str = "/operator/status.json";

/// Waits until the page's JSON object shows `what`, and returns it. The object is updated about once a second.
async fn until_object(address: &str, what: &str, shows: impl Fn(&Value) -> bool) -> Result<Value> {
    let read = async || anyhow::Ok(serde_json::from_str(&page(address, OBJECT).await?)?);
    until(what, read, shows).await
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
async fn the_operators_page_agrees_with_status() -> Result<()> {
    let namespace = test_namespace("operator_same").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let (api, address) = api(&namespace, &[]).await?;
    // A checkpoint may be written once more after everything is counted; from then on both are equal.
    let (code, printed) = loop {
        let (code, printed) = restorator_json(&namespace, "status", &[]).await?;
        let shown = until_object(&address, "an object", |_| true).await?;
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
    stop_api(api).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_shows_the_locks_of_a_restoration_while_they_are_held() -> Result<()> {
    let namespace = test_namespace("operator_locks").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(5).await?;
    let (api, address) = api(&namespace, &[]).await?;
    until_object(&address, "no exclusive lock", |object| {
        object["restoring"].is_null() && !locked_by_the_restoration(object)
    })
    .await?;
    let mut program = namespace.restorator_command("run", &["--now"])?;
    // It pauses while it holds each lock: for less than its lease, even for two ranges one after the other.
    program.environment = vec![("FAILPOINTS".to_owned(), "r5-read=sleep(500)".to_owned())];
    let run = program.start()?;
    let amid = until_object(
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
    let page = until(
        "a range of the map that is being restored",
        async || page(&address, PAGE).await,
        |page| page.contains(" being restored</span>"),
    )
    .await?;
    ensure!(
        page.contains("A restoration is running") && page.contains("of 16 ranges are done"),
        "{page}"
    );
    let finished = run.finish(BOUND).await?;
    ensure!(finished.code == Some(0), "{finished:?}");
    let after = until_object(&address, "the end", |object| {
        object["restoring"].is_null() && !object.to_string().contains("\"exclusive\"")
    })
    .await?;
    let line = &after["restorations"][0];
    ensure!(
        line["outcome"] == "verified" && line["ranges_verified"] == 16,
        "{after}"
    );
    ensure!(line["cells_corrected"].as_u64() > Some(0), "{after}");
    stop_api(api).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_page_reports_an_unreachable_zookeeper_with_help() -> Result<()> {
    let namespace = test_namespace("operator_alone").await?;
    let nowhere = ("STITCH_ZOOKEEPER__CONNECT", "127.0.0.1:1");
    let (api, address) = api(&namespace, &[nowhere]).await?;
    let (status, page) = get(&address, PAGE).await?;
    ensure!(
        status == 503 && page.contains("127.0.0.1:1") && page.contains("Help: "),
        "{status} {page}"
    );
    let (status, problem) = get(&address, OBJECT).await?;
    let problem: Value = serde_json::from_str(&problem)?;
    ensure!(
        status == 503 && problem["type"] == "/problems/namespace-unavailable",
        "{status} {problem}"
    );
    stop_api(api).await
}
