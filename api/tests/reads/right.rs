//! Every count that the API serves equals an independent recount.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stitch_harness::recount::{CellId, Cells, Rules, read_log};
use stitch_harness::servers::Servers;
use stitch_harness::test_namespace::{PATIENT, TestConfig, TestNamespace};

use crate::support::{Api, BOUND, events};

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// A counter with the shortest steps.
const SALES: &str = r#"
[[counter]]
name = "sales"
on = ["purchase"]
key = "track"
granularities = ["minute", "quarter", "day"]
"#;

/// What every cell should hold, by a recount that shares no code with the product.
async fn recounted(namespace: &TestNamespace) -> Result<Cells> {
    let (kafka, topic) = (
        namespace.servers.kafka.clone(),
        namespace.topic().to_owned(),
    );
    let rules = Rules::read(&namespace.config)?;
    let (cells, _) =
        tokio::task::spawn_blocking(move || read_log(&kafka, &topic, &rules)).await??;
    Ok(cells)
}

fn iso(ms: i64) -> Result<String> {
    let time = chrono::DateTime::from_timestamp_millis(ms).context("a time")?;
    Ok(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_count_equals_an_independent_recount() -> Result<()> {
    let mut config = TestConfig::new("api_right")?;
    config.config += SALES;
    config.config += PATIENT;
    let namespace = TestNamespace::build(&Servers::from_environment()?, &config).await?;
    let processor = namespace.processor("processor").await?;
    namespace.feed()?.send(events(3000)?).await?;
    namespace.lag()?.until_none(BOUND).await?;
    let cells = recounted(&namespace).await?;
    let api = Api::start(&namespace, &[]).await?;
    api.until_state("/v1/freshness", "live").await?;
    each_cell(&api, &cells).await?;
    series_at_another_offset(&api, &cells).await?;
    series_of_short_steps(&api, &cells).await?;
    totals(&api, &cells).await?;
    one_query(&api, &cells).await?;
    api.stop().await?;
    namespace.stop([processor]).await
}

/// Compares every cell, hundreds in one request, with a key among them that was never counted.
async fn each_cell(api: &Api, cells: &Cells) -> Result<()> {
    type Bucket<'a> = (&'a str, &'a str, i64);
    let mut buckets: BTreeMap<Bucket<'_>, Vec<(&str, i64)>> = BTreeMap::new();
    for (
        CellId {
            counter,
            key,
            granularity,
            bucket_ms,
        },
        count,
    ) in cells
    {
        let bucket = (counter.as_str(), granularity.as_str(), *bucket_ms);
        buckets.entry(bucket).or_default().push((key, *count));
    }
    ensure!(buckets.len() > 300, "{} buckets", buckets.len());
    let mut compared = 0;
    for ((counter, granularity, bucket_ms), mut expected) in buckets {
        expected.push(("never-counted", 0));
        let path = format!("/v1/counters/{counter}/counts");
        for expected in expected.chunks(200) {
            let keys: Vec<&str> = expected.iter().map(|(key, _)| *key).collect();
            let mut request = json!({"keys": keys, "granularity": granularity});
            if granularity != "all" {
                request["at"] = json!(iso(bucket_ms)?);
            }
            let answer = api.post(&path, &request).await?;
            let expected: Vec<Value> = expected
                .iter()
                .map(|(key, count)| json!({"key": key, "count": count}))
                .collect();
            ensure!(
                answer["counts"] == json!(expected),
                "{granularity}: {answer}, not {expected:?}"
            );
            compared += expected.len();
        }
    }
    ensure!(
        compared > cells.len(),
        "{compared} of {} cells",
        cells.len()
    );
    Ok(())
}

/// Compares the days and months of one track at UTC-5 with the recounted hours.
async fn series_at_another_offset(api: &Api, cells: &Cells) -> Result<()> {
    let hours = |from: i64, to: i64| -> i64 {
        let of_track = cells.iter().filter(|(place, _)| {
            place.counter == "plays" && place.key == "track-1" && place.granularity == "hour"
        });
        let within = of_track.filter(|(place, _)| (from..to).contains(&place.bucket_ms));
        within.map(|(_, count)| count).sum()
    };
    let from_ms = 1_675_209_600_000 + 5 * HOUR_MS;
    for (granularity, points) in [("day", 460), ("month", 16)] {
        let mut next = Some(format!(
            "/v1/counters/plays/keys/track-1/series?granularity={granularity}&utc_offset=-05:00&from=2023-02-01\
             &to=2024-06-01&limit=100"
        ));
        let mut starts = Vec::new();
        let mut counts = Vec::new();
        while let Some(path) = next {
            let page = api.ok(&path).await?;
            for point in page["points"].as_array().context("points")? {
                let start = point["start"].as_str().context("a start")?;
                starts.push(chrono::DateTime::parse_from_rfc3339(start)?.timestamp_millis());
                counts.push(point["count"].as_i64().context("a count")?);
            }
            next = page["next"].as_str().map(str::to_owned);
        }
        ensure!(
            starts.len() >= points && starts[0] == from_ms,
            "{} points",
            starts.len()
        );
        let ends = starts.iter().skip(1).copied().chain([i64::MAX]);
        for ((start, end), count) in starts.iter().zip(ends).zip(&counts) {
            ensure!(
                hours(*start, end) == *count,
                "{granularity} from {}: {count}",
                iso(*start)?
            );
        }
        ensure!(counts.iter().sum::<i64>() == hours(i64::MIN, i64::MAX));
        ensure!(counts.iter().any(|count| *count > 0) && counts.contains(&0));
    }
    Ok(())
}

/// Compares a day of minutes and of quarters of an hour, by clocks that are a quarter of an hour off, with the recounted
/// minutes.
async fn series_of_short_steps(api: &Api, cells: &Cells) -> Result<()> {
    let of_sales = |place: &CellId| place.counter == "sales" && place.granularity == "minute";
    let minutes = cells.iter().filter(|(place, _)| of_sales(place));
    let mut compared = 0;
    for (sold, _) in minutes.clone().take(20) {
        let of_track = minutes.clone().filter(|(place, _)| place.key == sold.key);
        let count = |from: i64, to: i64| -> i64 {
            let within = of_track
                .clone()
                .filter(|(place, _)| (from..to).contains(&place.bucket_ms));
            within.map(|(_, count)| count).sum()
        };
        for (granularity, length_ms) in [("minute", MINUTE_MS), ("quarter", 15 * MINUTE_MS)] {
            let from = sold.bucket_ms.div_euclid(HOUR_MS) * HOUR_MS - 15 * MINUTE_MS;
            let path = format!(
                "/v1/counters/sales/keys/{}/series?granularity={granularity}&time_zone=Asia/Kathmandu&from={}&to={}",
                sold.key,
                iso(from)?,
                iso(from + 2 * HOUR_MS)?
            );
            let page = api.ok(&path).await?;
            let points = page["points"].as_array().context("points")?;
            let all = usize::try_from(2 * HOUR_MS / length_ms)?;
            ensure!(points.len() == all, "{} points", points.len());
            for (point, start) in points
                .iter()
                .zip((from..).step_by(usize::try_from(length_ms)?))
            {
                let text = point["start"].as_str().context("a start")?;
                let at = chrono::DateTime::parse_from_rfc3339(text)?.timestamp_millis();
                ensure!(at == start && text.ends_with("+05:45"), "{text}");
                ensure!(point["count"] == count(start, start + length_ms), "{point}");
            }
            ensure!(page["sum"].as_i64() >= Some(1), "{page}");
        }
        compared += 1;
    }
    ensure!(compared == 20, "{compared} minutes with sales");
    Ok(())
}

/// Compares the totals of all time.
async fn totals(api: &Api, cells: &Cells) -> Result<()> {
    let all = |place: &CellId| place.counter == "revenue" && place.granularity == "all";
    for (place, count) in cells.iter().filter(|(place, _)| all(place)).take(20) {
        let answer = api
            .ok(&format!("/v1/counters/revenue/keys/{}/totals", place.key))
            .await?;
        ensure!(answer["total"] == *count, "{}: {answer}", place.key);
    }
    Ok(())
}

/// Compares the days of several keys, by the clocks of a zone with daylight saving time, in one request.
async fn one_query(api: &Api, cells: &Cells) -> Result<()> {
    let query = "counter=plays&counter=revenue&key=track-1&key=track-2&key=never-counted&select=series&granularity=day\
                 &from=2023-02-01&to=2024-06-01&time_zone=Europe/Berlin";
    let answer = api.ok(&format!("/v1/query?{query}")).await?;
    let starts = answer["series"]["starts"].as_array().context("starts")?;
    let starts = starts.iter().map(|start| {
        let start = start.as_str().context("a start")?;
        anyhow::Ok(chrono::DateTime::parse_from_rfc3339(start)?.timestamp_millis())
    });
    let starts = starts.collect::<Result<Vec<i64>>>()?;
    let lengths = starts.windows(2).map(|pair| (pair[1] - pair[0]) / HOUR_MS);
    ensure!(lengths.collect::<std::collections::BTreeSet<i64>>() == [23, 24, 25].into());
    let parts = answer["parts"].as_array().context("parts")?;
    ensure!(parts.len() == 6, "{answer}");
    // Days of revenue are not kept: its parts have a problem, and the others are answered.
    let (plays, revenue) = parts.split_at(3);
    ensure!(
        revenue
            .iter()
            .all(|part| part["problem"]["parameter"] == "granularity")
    );
    for part in plays {
        let expected = starts.iter().zip(starts.iter().skip(1).chain([&i64::MAX]));
        let expected = expected.map(|(start, end)| -> i64 {
            let within = cells.iter().filter(|(place, _)| {
                part["counter"] == place.counter.as_str()
                    && part["key"] == place.key.as_str()
                    && place.granularity == "hour"
                    && (*start..*end).contains(&place.bucket_ms)
            });
            within.map(|(_, count)| count).sum()
        });
        let expected: Vec<i64> = expected.collect();
        ensure!(
            part["counts"] == json!(expected),
            "{part}, not {expected:?}"
        );
        let is_counted = expected.iter().any(|count| *count != 0);
        ensure!(is_counted == (part["key"] != "never-counted"), "{part}");
    }
    Ok(())
}
