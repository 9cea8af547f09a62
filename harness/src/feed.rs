//! Produces to the topic: as fast as possible, or as live traffic at a given rate. Also administers topics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rdkafka::Message;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{FutureProducer, FutureRecord, future_producer::DeliveryFuture};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::events::Record;
use crate::recount::each_record;

/// Records in flight to the broker.
const IN_FLIGHT_MAX: usize = 5000;

const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

const LIVE_INTERVAL: Duration = Duration::from_millis(50);

/// A producer for one topic.
#[derive(Clone)]
pub struct Feed {
    producer: FutureProducer,
    topic: String,
}

impl Feed {
    pub fn new(kafka: &str, topic: &str) -> Result<Self> {
        let producer = crate::secure::kafka(kafka)?
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    /// Sends all records, and returns their number once the broker has acknowledged them.
    pub async fn send(&self, records: impl IntoIterator<Item = Record>) -> Result<u64> {
        let mut sent = 0;
        let mut in_flight = FuturesUnordered::new();
        for record in records {
            if in_flight.len() >= IN_FLIGHT_MAX
                && let Some(delivery) = in_flight.next().await
            {
                check_delivery(delivery)?;
            }
            in_flight.push(self.enqueue(&record)?);
            sent += 1;
        }
        while let Some(delivery) = in_flight.next().await {
            check_delivery(delivery)?;
        }
        Ok(sent)
    }

    fn enqueue(&self, record: &Record) -> Result<DeliveryFuture> {
        let mut future = FutureRecord::to(&self.topic).key(&record.key);
        future.payload = record.value.as_ref();
        self.producer
            .send_result(future)
            .map_err(|(error, _)| error)
            .context("the producer's queue")
    }

    /// Sends `per_second` records a second in the background, until it is stopped or there are no more.
    #[must_use]
    pub fn live<R>(&self, records: R, per_second: u32) -> Live<R>
    where
        R: Iterator<Item = Record> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let feed = self.clone();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { feed.trickle(records, per_second, stopped).await });
        Live {
            stop: stop.drop_guard(),
            task,
        }
    }

    async fn trickle<R>(
        self,
        mut records: R,
        per_second: u32,
        stopped: CancellationToken,
    ) -> Result<(R, u64)>
    where
        R: Iterator<Item = Record>,
    {
        let chunks_per_second = 1000 / LIVE_INTERVAL.as_millis();
        let chunk = usize::try_from(u128::from(per_second).div_ceil(chunks_per_second))?;
        let mut clock = interval(LIVE_INTERVAL);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = 0;
        // Cancel-safe: a tick that is dropped is not consumed.
        while stopped.run_until_cancelled(clock.tick()).await.is_some() {
            let now: Vec<Record> = records.by_ref().take(chunk).collect();
            if now.is_empty() {
                break;
            }
            sent += self.send(now).await?;
        }
        Ok((records, sent))
    }
}

fn check_delivery(
    delivery: Result<
        rdkafka::producer::future_producer::OwnedDeliveryResult,
        impl std::error::Error,
    >,
) -> Result<()> {
    match delivery {
        Ok(Ok(_)) => Ok(()),
        Ok(Err((error, _))) => Err(error).context("the broker did not accept a record"),
        Err(_) => bail!("the producer was dropped before a record was delivered"),
    }
}

/// Traffic in the background, until this is stopped or dropped.
pub struct Live<R> {
    stop: DropGuard,
    task: JoinHandle<Result<(R, u64)>>,
}

impl<R> Live<R> {
    /// Waits until all records are sent.
    pub async fn finish(self) -> Result<(R, u64)> {
        let Self { stop, task } = self;
        let result = task.await?;
        drop(stop);
        result
    }

    /// Stops it; returns the remaining records, and how many were sent.
    pub async fn stop(self) -> Result<(R, u64)> {
        drop(self.stop);
        self.task.await?
    }
}

/// Creates a topic with unlimited retention.
pub async fn create_topic(kafka: &str, topic: &str, partitions: i32) -> Result<()> {
    create_topic_with(kafka, topic, partitions, &[("retention.ms", "-1")]).await
}

/// Creates a topic with these properties.
pub async fn create_topic_with(
    kafka: &str,
    topic: &str,
    partitions: i32,
    properties: &[(&str, &str)],
) -> Result<()> {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in properties {
        new = new.set(name, value);
    }
    let admin = admin(kafka)?;
    check_topics(admin.create_topics([&new], &AdminOptions::new()).await?)?;
    until_listed(&admin, topic, true).await
}

/// A topic appears in the broker's metadata a moment after its creation is acknowledged, and clients use the metadata.
async fn until_listed(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    wanted: bool,
) -> Result<()> {
    let listed = async {
        while is_listed(admin, topic)? != wanted {
            sleep(LIVE_INTERVAL).await;
        }
        Ok(())
    };
    timeout(REPLY_TIMEOUT, listed).await.with_context(|| {
        let (operation, state) = if wanted {
            ("created", "not listed")
        } else {
            ("deleted", "listed")
        };
        format!("topic {topic} was {operation}, but is {state}")
    })?
}

/// Whether the metadata lists the topic, with a leader for each partition.
fn is_listed(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<bool> {
    let metadata = admin
        .inner()
        .fetch_metadata(Some(topic), Timeout::After(REPLY_TIMEOUT))?;
    let complete = |topic: &MetadataTopic| {
        topic.error().is_none()
            && !topic.partitions().is_empty()
            && topic
                .partitions()
                .iter()
                .all(|partition| partition.error().is_none() && partition.leader() >= 0)
    };
    Ok(metadata.topics().iter().any(complete))
}

/// Deletes a topic.
pub async fn delete_topic(kafka: &str, topic: &str) -> Result<()> {
    let admin = admin(kafka)?;
    check_topics(admin.delete_topics(&[topic], &AdminOptions::new()).await?)?;
    until_listed(&admin, topic, false).await
}

/// Raises a topic's number of partitions to `partitions`.
pub async fn grow_topic(kafka: &str, topic: &str, partitions: usize) -> Result<()> {
    let results = admin(kafka)?
        .create_partitions(
            [&NewPartitions::new(topic, partitions)],
            &AdminOptions::new(),
        )
        .await?;
    check_topics(results)
}

/// Deletes the records of one partition below an offset.
pub async fn forget_records(kafka: &str, topic: &str, partition: i32, below: i64) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(below))?;
    admin(kafka)?
        .delete_records(&offsets, &AdminOptions::new())
        .await?;
    Ok(())
}

/// Sets a property of a topic.
pub async fn alter_topic(kafka: &str, topic: &str, name: &str, value: &str) -> Result<()> {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let results = admin(kafka)?
        .alter_configs([&change], &AdminOptions::new())
        .await?;
    for result in results {
        if let Err((_, code)) = result {
            bail!("topic {topic}: {name}: {code}");
        }
    }
    Ok(())
}

/// Reads every record of a topic, with its headers by name.
pub fn records_of(kafka: &str, topic: &str) -> Result<Vec<(Record, BTreeMap<String, String>)>> {
    let mut records = Vec::new();
    each_record(kafka, topic, |message| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().map(|headers| {
            let pair = |header: Header<'_, &[u8]>| {
                (
                    header.key.to_owned(),
                    header.value.map(text).unwrap_or_default(),
                )
            };
            headers.iter().map(pair).collect()
        });
        let record = Record {
            key: message.key().unwrap_or_default().to_vec(),
            value: message.payload().map(<[u8]>::to_vec),
        };
        records.push((record, headers.unwrap_or_default()));
    })?;
    Ok(records)
}

fn check_topics(results: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    for result in results {
        if let Err((topic, code)) = result {
            bail!("topic {topic}: {code}");
        }
    }
    Ok(())
}

fn admin(kafka: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(crate::secure::kafka(kafka)?.create()?)
}
