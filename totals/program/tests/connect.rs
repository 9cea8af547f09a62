//! Totals of a topic whose beginning only files of Kafka Connect have, beside those of the topic itself: real servers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stitch_harness::connect_files;
use stitch_harness::events::{COUNTERS, Generator, Record, Shape};
use stitch_harness::feed::{forget_records, records_of};
use stitch_harness::process::{Program, binary};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{TestConfig, TestNamespace};

const BOUND: Duration = Duration::from_secs(90);
const RECORDS: usize = 3000;

async fn run(namespace: &TestNamespace, name: &str, arguments: &[&str]) -> Result<(i32, Value)> {
    let config = namespace.config.display().to_string();
    let last = ["--output", "json", "--config", &config];
    let arguments = [arguments, &last].concat();
    let program = Program {
        name: format!("{name}-{}", arguments[0]),
        path: binary(name)?,
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        environment: Vec::new(),
        folder: namespace.folder.clone(),
    };
    let finished = program.run(BOUND).await?;
    let report = serde_json::from_str(&finished.output);
    let report = report.with_context(|| format!("{finished:?}"))?;
    Ok((finished.code.context("an exit code")?, report))
}

/// What the records count, by counter: the simplest means for the generator's counters.
fn recount(records: &[Record]) -> Result<BTreeMap<String, i64>> {
    let mut sums = BTreeMap::new();
    let table: toml::Table = COUNTERS.parse()?;
    for counter in table["counter"].as_array().context("counters")? {
        let name = counter["name"].as_str().context("a name")?;
        let on: Vec<_> = counter["on"].as_array().context("on")?.iter().collect();
        let cells = counter.get("granularities").and_then(toml::Value::as_array);
        let cells = cells.map_or(5, Vec::len);
        let mut sum: i64 = 0;
        for record in records {
            let value = record.value.as_deref().context("a value")?;
            let event: Value = serde_json::from_slice(value)?;
            let is_of = |event_type: &&toml::Value| event_type.as_str() == event["type"].as_str();
            if !on.iter().any(is_of) {
                continue;
            }
            let amount = match counter.get("amount_from").and_then(toml::Value::as_str) {
                Some(attribute) => event[attribute].as_i64().context("an amount")?,
                None => counter
                    .get("amount")
                    .and_then(toml::Value::as_integer)
                    .unwrap_or(1),
            };
            sum = sum.wrapping_add(amount.wrapping_mul(i64::try_from(cells)?));
        }
        sums.insert(name.to_owned(), sum);
    }
    Ok(sums)
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_of_an_imported_archive_are_those_of_the_topic() -> Result<()> {
    let mut config = TestConfig::new("totals_connect")?;
    config.partitions = 1;
    let store = tempfile::tempdir()?;
    let url = format!("file://{}", store.path().display());
    let spill = store.path().join("spill");
    config.config = format!(
        "{COUNTERS}\n[archive]\nurl = \"{url}\"\n[totals]\nurl = \"{url}\"\nspill = {spill:?}\n"
    );
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let shape = Shape::default();
    let events: Vec<_> = Generator::new(shape)?.take(RECORDS).collect();
    namespace.feed()?.send(events.iter().cloned()).await?;
    let topic = namespace.topic().to_owned();
    let kafka = namespace.servers.kafka.clone();
    let read = records_of(&kafka, &topic)?.into_iter();
    let records: Vec<Record> = read.map(|(record, _)| record).collect();
    ensure!(records.len() == RECORDS);
    // From Kafka alone.
    let (code, report) = run(&namespace, "stitch-totals", &["build"]).await?;
    ensure!(code == 0, "{report}");
    let folder = report["folder"].as_str().context("a folder")?;
    let folder = store.path().join(folder);
    let manifest = |folder: &Path| -> Result<Value> {
        let text = std::fs::read(folder.join("manifest.json"))?;
        Ok(serde_json::from_slice(&text)?)
    };
    let of_topic = manifest(&folder)?;
    std::fs::remove_dir_all(&folder)?;
    // From what a connector has kept, for the most part.
    let backup = tempfile::tempdir()?;
    connect_files::write(backup.path(), &topic, &records, 100)?;
    let files = format!("file://{}", backup.path().display());
    forget_records(&kafka, &topic, 0, 2550).await?;
    let (code, report) = run(&namespace, "stitch-archive", &["import", &files]).await?;
    ensure!(code == 0 && report["outcome"] == "imported", "{report}");
    let imported = &report["partitions"][0];
    ensure!(
        imported["records"] == 2550 && imported["complete_to"] == 2550,
        "{report}"
    );
    let (code, report) = run(&namespace, "stitch-archive", &["run", "--once"]).await?;
    ensure!(code == 0 && report["records"] == 450, "{report}");
    let (code, report) = run(&namespace, "stitch-archive", &["verify"]).await?;
    ensure!(code == 0 && report["outcome"] == "whole", "{report}");
    let (code, report) = run(&namespace, "stitch-totals", &["build"]).await?;
    ensure!(code == 0, "{report}");
    let imported = manifest(&folder)?;
    for same in ["id", "digest", "rows", "accounts"] {
        ensure!(
            imported[same] == of_topic[same],
            "{same}: {imported} {of_topic}"
        );
    }
    let accounts = imported["accounts"].as_array().context("accounts")?;
    let sum = |account: &Value| {
        let name = account["counter"].as_str()?.to_owned();
        Some((name, account["sum"].as_i64()?))
    };
    let sums: Option<BTreeMap<_, _>> = accounts.iter().map(sum).collect();
    ensure!(sums == Some(recount(&records)?), "{imported}");
    Ok(())
}
