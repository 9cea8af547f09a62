//! Corrupted counts, and restorations while events keep arriving.

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::recount::{CellId, read_table, session};

use stitch_tests::scene::{
    BOUND, all_right, count, events, restorator_json, restore, some_events, test_namespace,
};

const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn phantoms_missing_and_doubled_cells_are_reported_and_corrected() -> Result<()> {
    let namespace = test_namespace("by_hand").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 2000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.corrupt(EACH).await?;
    let wrong = namespace.recount().await?.total().wrong;
    ensure!(wrong == 4 * 20, "{wrong}");

    let (code, plan) = restorator_json(&namespace, "plan", &[]).await?;
    ensure!(code == Some(1), "plan exited with {code:?}: {plan}");
    ensure!(plan["cells"]["wrong"] == wrong, "{plan}");
    ensure!(
        namespace.recount().await?.total().wrong == wrong,
        "a plan changes nothing"
    );
    let run = restore(&namespace).await?;
    ensure!(run["cells"]["corrected"] == wrong, "{run}");
    all_right(&namespace).await?;
    let (code, plan) = restorator_json(&namespace, "plan", &[]).await?;
    ensure!(code == Some(0), "plan exited with {code:?}: {plan}");
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_restored_while_events_keep_arriving() -> Result<()> {
    let namespace = test_namespace("live").await?;
    let processors = [
        namespace.processor("first").await?,
        namespace.processor("second").await?,
    ];
    // Cells have to exist before they can be corrupted.
    count(&namespace, some_events(2, 2000)?).await?;
    let live = namespace.feed()?.live(events(1)?, 150);
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 2).await?;
    for _ in 0..2 {
        corruptor.corrupt(EACH).await?;
        restore(&namespace).await?;
    }
    live.stop().await?;
    namespace.lag()?.until_none(BOUND).await?;
    all_right(&namespace).await?;
    namespace.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_file_is_applied_later_and_within_limits() -> Result<()> {
    let namespace = test_namespace("plan_file").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let mut corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 3).await?;
    corruptor.corrupt(EACH).await?;
    let file = namespace.folder.join("plan.json").display().to_string();
    let (code, plan) = restorator_json(&namespace, "plan", &["--plan-file", &file]).await?;
    ensure!(code == Some(1), "plan exited with {code:?}: {plan}");
    count(&namespace, some_events(2, 500)?).await?;

    let (code, run) = restorator_json(&namespace, "run", &[&file, "--max-cells", "1"]).await?;
    ensure!(code != Some(0), "more than one cell is wrong: {run}");
    ensure!(
        namespace.recount().await?.total().wrong > 1,
        "a refused run corrects nothing"
    );
    let (code, run) = restorator_json(&namespace, "run", &[&file]).await?;
    ensure!(code == Some(0), "run exited with {code:?}: {run}");
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_cells_in_scope_are_corrected() -> Result<()> {
    let namespace = test_namespace("scope").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    let corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 4).await?;
    let session = session(&namespace.servers.cassandra).await?;
    let cells = read_table(&session, namespace.keyspace()).await?;
    let of = |counter: &str| -> Result<CellId> {
        let mut ids = cells.keys().filter(|id| id.counter == counter);
        ids.next().cloned().context("a cell")
    };
    let (played, bought) = (of("plays")?, of("revenue")?);
    corruptor.add(&played, 5).await?;
    corruptor.add(&bought, 5).await?;

    let scope = ["--now", "--counter", "plays", "--key", &played.key];
    let (code, run) = restorator_json(&namespace, "run", &scope).await?;
    ensure!(code == Some(0), "run exited with {code:?}: {run}");
    let verdict = namespace.recount().await?;
    let wrong: Vec<&CellId> = verdict.wrong.iter().map(|cell| &cell.id).collect();
    ensure!(wrong == [&bought], "{verdict}");
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_without_a_definition_are_reported_and_not_changed() -> Result<()> {
    let namespace = test_namespace("unnamed").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 500)?).await?;
    let corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 5).await?;
    let foreign = CellId {
        counter: "foreign_counter".to_owned(),
        key: "k".to_owned(),
        granularity: "all".to_owned(),
        bucket_ms: 0,
    };
    corruptor.add(&foreign, 7).await?;
    let answer = restore(&namespace).await?;
    ensure!(answer.to_string().contains("foreign_counter"), "{answer}");
    let session = session(&namespace.servers.cassandra).await?;
    let cells = read_table(&session, namespace.keyspace()).await?;
    ensure!(cells.get(&foreign) == Some(&7), "it was changed");
    namespace.stop([processor]).await
}
