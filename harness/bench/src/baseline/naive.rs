//! The obvious way: read an event, send an increment for each of its cells.

use std::pin::pin;

use anyhow::{Context, Result};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use futures_util::stream::{self, StreamExt};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message};
use scylla::value::{Counter, CqlTimestamp};
use serde::Deserialize;

use super::{IN_FLIGHT, Measured, Stopwatch, Target, connect, increment};
use crate::load::COUNTER;

#[derive(Deserialize)]
struct Event {
    track: String,
    time: i64,
}

type Increment = (Counter, &'static str, String, &'static str, CqlTimestamp);

/// Counts until the time is over.
pub(super) async fn count(kafka: &str, topic: &str, target: &Target) -> Result<Measured> {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka)
        .set("group.id", topic)
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    let session = connect(target).await?;
    let statement = increment(&session, &target.keyspace).await?;
    let requests = consumer
        .stream()
        .flat_map(|message| stream::iter(increments(message)))
        .map(async |values| {
            session
                .execute_unpaged(&statement, values?)
                .await
                .map_err(anyhow::Error::from)
        })
        .buffer_unordered(IN_FLIGHT);
    let mut requests = pin!(requests);
    let mut stopwatch: Option<Stopwatch> = None;
    while let Some(answer) = requests.next().await {
        let stopwatch = stopwatch.get_or_insert_with(|| Stopwatch::new(target));
        if let Err(error) = answer {
            stopwatch.record_failure(error)?;
            continue;
        }
        if let Some(measured) = stopwatch.record_answer()? {
            return Ok(Measured {
                events: measured.requests / 5.0,
                cells: measured.requests,
                ..measured
            });
        }
    }
    anyhow::bail!("the topic ended")
}

fn increments(message: Result<BorrowedMessage<'_>, KafkaError>) -> Vec<Result<Increment>> {
    match event(message) {
        Ok((event, buckets)) => buckets
            .into_iter()
            .map(|(granularity, start)| {
                let bucket = CqlTimestamp(start.timestamp_millis());
                Ok((
                    Counter(1),
                    COUNTER,
                    event.track.clone(),
                    granularity,
                    bucket,
                ))
            })
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

type Buckets = [(&'static str, DateTime<Utc>); 5];

fn event(message: Result<BorrowedMessage<'_>, KafkaError>) -> Result<(Event, Buckets)> {
    let message = message?;
    let event: Event = serde_json::from_slice(message.payload().context("a value")?)?;
    let time = DateTime::from_timestamp_millis(event.time).context("a time")?;
    let buckets = buckets(time).context("the start of a bucket")?;
    Ok((event, buckets))
}

fn buckets(time: DateTime<Utc>) -> Option<Buckets> {
    let day = time.date_naive();
    let start = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let hour = time.timestamp().div_euclid(3600) * 3600;
    Some([
        ("hour", DateTime::from_timestamp(hour, 0)?),
        ("day", start(day)),
        ("month", start(day.with_day(1)?)),
        ("year", start(day.with_day(1)?.with_month(1)?)),
        ("all", DateTime::UNIX_EPOCH),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::CELLS;

    #[test]
    fn buckets_start_where_the_generated_load_expects_them() {
        let time = DateTime::from_timestamp_millis(CELLS[0].1 + 1_234_567).unwrap();
        let starts = buckets(time).unwrap();
        assert_eq!(
            starts.map(|(name, start)| (name, start.timestamp_millis())),
            CELLS
        );
    }
}
