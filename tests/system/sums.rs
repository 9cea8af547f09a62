//! `sums` on a real table: silent while events are counted, loud once a cell was changed by hand.

use anyhow::{Context, Result, ensure};
use stitch_harness::corruptor::Corruptor;
use stitch_harness::recount::CellId;

use stitch_tests::scene::{
    all_right, count, restorator_json, restore, some_events, test_namespace,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_changed_by_hand_breaks_a_sum_until_its_range_is_restored() -> Result<()> {
    let namespace = test_namespace("sums").await?;
    let processor = namespace.processor("processor").await?;
    count(&namespace, some_events(1, 1000)?).await?;
    namespace.feed()?.send(some_events(2, 3000)?).await?;
    let (code, answer) = restorator_json(&namespace, "sums", &[]).await?;
    ensure!(
        code == Some(0) && answer["outcome"] == "sums_agree",
        "{code:?} while events are counted: {answer}"
    );
    ensure!(answer["cells"].as_u64() > Some(0), "{answer}");
    count(&namespace, some_events(3, 10)?).await?;
    let by_hand = CellId {
        counter: "plays".to_owned(),
        key: "changed by hand".to_owned(),
        granularity: "hour".to_owned(),
        bucket_ms: 3_600_000,
    };
    let corruptor = Corruptor::connect(&namespace.servers, namespace.keyspace(), 1).await?;
    corruptor.add(&by_hand, 5).await?;
    let (code, answer) = restorator_json(&namespace, "sums", &[]).await?;
    ensure!(
        code == Some(1) && answer["broken"] == 1,
        "{code:?}: {answer}"
    );
    ensure!(answer["named"][0]["key"] == by_hand.key, "{answer}");
    let (_, status) = restorator_json(&namespace, "status", &[]).await?;
    let doubts = status["doubts"].as_array().context("doubts")?;
    let is_doubted = |doubt: &serde_json::Value| doubt["cause"] == "sums-differ";
    ensure!(doubts.iter().any(is_doubted), "{status}");
    restore(&namespace).await?;
    let (code, answer) = restorator_json(&namespace, "sums", &["--doubtful"]).await?;
    ensure!(
        code == Some(0) && answer["outcome"] == "nothing_doubtful",
        "{code:?}: {answer}"
    );
    let (code, answer) = restorator_json(&namespace, "sums", &[]).await?;
    ensure!(code == Some(0), "{code:?}: {answer}");
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
