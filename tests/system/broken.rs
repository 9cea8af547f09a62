//! Counts that were broken by hand, and restorations while events keep coming.

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::recount::{Place, read_table, session};

use stitch_tests::scene::{BOUND, all_right, asked, count, events, restored, some, stage};

const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn phantoms_missing_and_doubled_cells_are_reported_and_made_right() -> Result<()> {
    let stage = stage("by_hand").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 2000)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 1).await?;
    vandal.rage(EACH).await?;
    let wrong = stage.recount().await?.total().wrong;
    ensure!(wrong == 4 * 20, "{wrong}");

    let (code, plan) = asked(&stage, "plan", &[]).await?;
    ensure!(code == Some(1), "plan ended with {code:?}: {plan}");
    ensure!(plan["cells"]["wrong"] == wrong, "{plan}");
    ensure!(
        stage.recount().await?.total().wrong == wrong,
        "a plan changes nothing"
    );
    let run = restored(&stage).await?;
    ensure!(run["cells"]["corrected"] == wrong, "{run}");
    all_right(&stage).await?;
    let (code, plan) = asked(&stage, "plan", &[]).await?;
    ensure!(code == Some(0), "plan ended with {code:?}: {plan}");
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_restored_while_events_keep_coming() -> Result<()> {
    let stage = stage("live").await?;
    let processors = [
        stage.processor("first").await?,
        stage.processor("second").await?,
    ];
    // Something must be counted before it can be broken.
    count(&stage, some(2, 2000)?).await?;
    let live = stage.feed()?.live(events(1)?, 150);
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 2).await?;
    for _ in 0..2 {
        vandal.rage(EACH).await?;
        restored(&stage).await?;
    }
    live.stop().await?;
    stage.lag()?.until_none(BOUND).await?;
    all_right(&stage).await?;
    stage.stop(processors).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_file_is_carried_out_later_and_within_its_limits() -> Result<()> {
    let stage = stage("plan_file").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 1000)?).await?;
    let mut vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 3).await?;
    vandal.rage(EACH).await?;
    let file = stage.folder.join("plan.json").display().to_string();
    let (code, plan) = asked(&stage, "plan", &["--plan-file", &file]).await?;
    ensure!(code == Some(1), "plan ended with {code:?}: {plan}");
    count(&stage, some(2, 500)?).await?;

    let (code, run) = asked(&stage, "run", &[&file, "--max-cells", "1"]).await?;
    ensure!(code != Some(0), "more than one cell is wrong: {run}");
    ensure!(
        stage.recount().await?.total().wrong > 1,
        "what is refused is not done"
    );
    let (code, run) = asked(&stage, "run", &[&file]).await?;
    ensure!(code == Some(0), "run ended with {code:?}: {run}");
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_in_scope_is_touched() -> Result<()> {
    let stage = stage("scope").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 1000)?).await?;
    let vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 4).await?;
    let session = session(&stage.servers.cassandra).await?;
    let cells = read_table(&session, stage.keyspace()).await?;
    let of = |counter: &str| -> Result<Place> {
        let mut places = cells.keys().filter(|place| place.counter == counter);
        places.next().cloned().context("a cell")
    };
    let (played, bought) = (of("plays")?, of("revenue")?);
    vandal.add(&played, 5).await?;
    vandal.add(&bought, 5).await?;

    let scope = ["--now", "--counter", "plays", "--key", &played.key];
    let (code, run) = asked(&stage, "run", &scope).await?;
    ensure!(code == Some(0), "run ended with {code:?}: {run}");
    let verdict = stage.recount().await?;
    let wrong: Vec<&Place> = verdict.wrong.iter().map(|cell| &cell.place).collect();
    ensure!(wrong == [&bought], "{verdict}");
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_no_definition_names_are_reported_and_never_touched() -> Result<()> {
    let stage = stage("unnamed").await?;
    let processor = stage.processor("processor").await?;
    count(&stage, some(1, 500)?).await?;
    let vandal = Corruptor::enter(&stage.servers, stage.keyspace(), 5).await?;
    let foreign = Place {
        counter: "somebody_elses".to_owned(),
        key: "k".to_owned(),
        granularity: "all".to_owned(),
        bucket_ms: 0,
    };
    vandal.add(&foreign, 7).await?;
    let answer = restored(&stage).await?;
    ensure!(answer.to_string().contains("somebody_elses"), "{answer}");
    let session = session(&stage.servers.cassandra).await?;
    let cells = read_table(&session, stage.keyspace()).await?;
    ensure!(cells.get(&foreign) == Some(&7), "it was touched");
    stage.stop([processor]).await
}
