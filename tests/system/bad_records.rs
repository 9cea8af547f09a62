//! Unusable records are counted nowhere, and none of them is lost.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use stitch_harness::events::{Record, bad_records};
use stitch_harness::test_namespace::TestNamespace;

use stitch_tests::scene::{all_right, count, restore, some_events, test_namespace};

/// A rejected record: key, value, and the headers by name.
type Rejected = (Record, BTreeMap<String, String>);

async fn dead_letters(namespace: &TestNamespace) -> Result<Vec<Rejected>> {
    let (kafka, topic) = (
        namespace.servers.kafka.clone(),
        format!("{}.rejected", namespace.topic()),
    );
    tokio::task::spawn_blocking(move || stitch_harness::feed::records_of(&kafka, &topic)).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_record_is_copied_to_the_dead_letter_topic_and_counted_nowhere()
-> Result<()> {
    let namespace = test_namespace("bad_records").await?;
    let processor = namespace.processor("processor").await?;
    let mut records = some_events(1, 300)?;
    let bad = bad_records();
    records.extend(bad.iter().map(|(_, record)| record.clone()));
    records.extend(some_events(2, 300)?);
    count(&namespace, records).await?;

    let letters = dead_letters(&namespace).await?;
    for (what, record) in &bad {
        let (_, headers) = letters
            .iter()
            .find(|(rejected, _)| rejected == record)
            .with_context(|| format!("{what}: not in the dead-letter topic"))?;
        let header = |name: &str| headers.get(name).with_context(|| format!("{what}: {name}"));
        ensure!(!header("stitch-reason")?.is_empty(), "{what}");
        header("stitch-partition")?.parse::<i32>()?;
        header("stitch-offset")?.parse::<i64>()?;
    }
    for (record, headers) in &letters {
        let is_bad = bad.iter().any(|(_, bad)| bad == record);
        ensure!(is_bad, "rejected, but usable: {record:?} {headers:?}");
    }
    all_right(&namespace).await?;
    restore(&namespace).await?;
    all_right(&namespace).await?;
    namespace.stop([processor]).await
}
