//! Checks Kafka: reachability, the event topic, and whether its log is kept for restorations.

use super::{Findings, security};
use stitch_common::ports::{EventLog, LogError};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::{KafkaLog, TopicDescription};

pub(super) async fn check(config: &Config, log: Result<&KafkaLog, &LogError>) -> Findings {
    let mut findings = Findings::default();
    let result = match log {
        Ok(log) => query(config, log, &mut findings).await,
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = result {
        let failure = UserError::from(error);
        findings.wrong(format!("kafka: {}", failure.message), failure.help);
    }
    findings
}

async fn query(config: &Config, log: &KafkaLog, findings: &mut Findings) -> Result<(), LogError> {
    let kafka = &config.kafka;
    log.try_clients().await?;
    security::kafka(config, findings);
    let Some(topic) = log.describe(&kafka.topic).await? else {
        let message = format!("kafka: there is no topic \"{}\"", kafka.topic);
        findings.wrong(
            message,
            "create it with retention.ms=-1; Stitch never creates the event topic",
        );
        return Ok(());
    };
    retention(&kafka.topic, &topic, config.archive.url.is_some(), findings);
    let bounds = log.bounds(&log.partitions().await?).await?;
    let gone = bounds.iter().filter(|(_, bounds)| bounds.begin.0 > 0);
    let gone: Vec<_> = gone
        .map(|(partition, bounds)| format!("{partition} at {}", bounds.begin))
        .collect();
    if !gone.is_empty() {
        findings.warn(
            format!(
                "kafka: topic {}: partitions do not begin at 0: {}",
                kafka.topic,
                gone.join(", ")
            ),
            "records that were deleted before they were counted are in no count; those that were deleted after it have to \
             be in the archive or in totals (stitch-totals list), or restorations refuse",
        );
    }
    received(
        &kafka.topic,
        &topic,
        kafka.client.get("receive.message.max.bytes"),
        findings,
    );
    let dead_letters = kafka.dead_letter_topic();
    match log.describe(&dead_letters).await? {
        Some(rejected) => copied(&dead_letters, &rejected, &topic, findings),
        None => findings.warn(
            format!("kafka: there is no dead-letter topic {dead_letters}"),
            "`stitch-processor init` creates it",
        ),
    }
    let session = kafka.session_timeout();
    findings.ok(format!(
        "kafka: processor.stop_timeout_ms = {} is below the group's session timeout of {} ms",
        config.processor.stop_timeout.as_millis(),
        session.as_millis()
    ));
    Ok(())
}

/// A batch that is larger than the client receives would hold its partition up for ever.
fn received(
    name: &str,
    topic: &TopicDescription,
    receives: Option<&String>,
    findings: &mut Findings,
) {
    let receives: Option<i64> = receives.and_then(|bytes| bytes.parse().ok());
    let (Some(receives), Some(largest)) = (receives, topic.max_message_bytes) else {
        return;
    };
    if receives < largest.saturating_add(FRAME_BYTES) {
        findings.wrong(
            format!(
                "kafka: \"receive.message.max.bytes\" = {receives} in [kafka.client] is too small for the batches of up to \
                 {largest} bytes that topic {name} takes (max.message.bytes)"
            ),
            "leave it out, or raise it",
        );
    }
}

/// What an answer has beside one batch.
const FRAME_BYTES: i64 = 512;

/// A rejected record that does not fit into the dead-letter topic holds its partition up.
fn copied(
    name: &str,
    rejected: &TopicDescription,
    topic: &TopicDescription,
    findings: &mut Findings,
) {
    findings.ok(format!("kafka: dead-letter topic {name} exists"));
    if rejected.max_message_bytes < topic.max_message_bytes {
        let bytes = |topic: &TopicDescription| topic.max_message_bytes.unwrap_or_default();
        findings.warn(
            format!(
                "kafka: dead-letter topic {name} takes records of up to {} bytes, and the event topic of up to {} \
                 (max.message.bytes): a rejected record may not fit, and hold its partition up",
                bytes(rejected),
                bytes(topic)
            ),
            format!(
                "kafka-configs.sh --alter --entity-type topics --entity-name {name} \
                 --add-config max.message.bytes=67108864"
            ),
        );
    }
}

fn retention(name: &str, topic: &TopicDescription, is_archived: bool, findings: &mut Findings) {
    findings.ok(format!(
        "kafka: topic {name} has {} partitions, {} replicas",
        topic.partitions, topic.replication
    ));
    if topic.cleanup_policy.contains("compact") {
        findings.wrong(
            format!("kafka: topic {name} is compacted (cleanup.policy={}), so events are lost", topic.cleanup_policy),
            format!("kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=delete,retention.ms=-1"),
        );
        return;
    }
    let bounded = |limit: Option<i64>| limit.is_some_and(|limit| limit >= 0);
    if bounded(topic.retention_ms) || bounded(topic.retention_bytes) {
        let text =
            |limit: Option<i64>| limit.map_or_else(|| "unknown".to_owned(), |l| l.to_string());
        let deletes = format!(
            "kafka: topic {name} deletes records (retention.ms={}, retention.bytes={})",
            text(topic.retention_ms),
            text(topic.retention_bytes)
        );
        if is_archived {
            findings.ok(format!(
                "{deletes}, and an archive is configured: see stitch-archive status"
            ));
            return;
        }
        findings.warn(
            format!("{deletes}: counts can be restored only as long as totals have what is deleted"),
            format!(
                "audit, or run stitch-totals build, much more often than that; or keep an archive ([archive] url); or \
                 kafka-configs.sh --alter --topic {name} --add-config retention.ms=-1,retention.bytes=-1"
            ),
        );
    } else {
        findings.ok(format!("kafka: topic {name} keeps every record"));
    }
}
