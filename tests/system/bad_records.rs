//! Records that cannot be used count nowhere, and none of them is lost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::{Record, bad_records};
use stitch_harness::test_namespace::TestNamespace;

use stitch_tests::scene::{all_right, count, restored, some, stage};

/// A rejected record: key, value, and the headers by name.
type Rejected = (Record, BTreeMap<String, String>);

async fn rejected(stage: &TestNamespace) -> Result<Vec<Rejected>> {
    let (kafka, topic) = (
        stage.servers.kafka.clone(),
        format!("{}.rejected", stage.topic()),
    );
    tokio::task::spawn_blocking(move || stitch_harness::feed::records_of(&kafka, &topic)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_record_goes_to_the_rejects_byte_for_byte_and_counts_nowhere()
-> Result<()> {
    let stage = stage("bad_records").await?;
    let processor = stage.processor("processor").await?;
    let mut records = some(1, 300)?;
    let bad = bad_records();
    records.extend(bad.iter().map(|(_, record)| record.clone()));
    records.extend(some(2, 300)?);
    count(&stage, records).await?;

    let found = rejected(&stage).await?;
    for (what, record) in &bad {
        let (_, headers) = found
            .iter()
            .find(|(rejected, _)| rejected == record)
            .with_context(|| format!("{what}: not among the rejects"))?;
        let header = |name: &str| headers.get(name).with_context(|| format!("{what}: {name}"));
        ensure!(!header("stitch-reason")?.is_empty(), "{what}");
        header("stitch-partition")?.parse::<i32>()?;
        header("stitch-offset")?.parse::<i64>()?;
    }
    for (record, headers) in &found {
        let known = bad.iter().any(|(_, bad)| bad == record);
        ensure!(known, "rejected, but good: {record:?} {headers:?}");
    }
    all_right(&stage).await?;
    restored(&stage).await?;
    all_right(&stage).await?;
    stage.stop([processor]).await
}
