//! Checks Kafka: reachability, the event topic, and whether its log is kept for restorations.

use super::Findings;
use stitch_common::config::Config;
use stitch_common::ports::{EventLog, LogError};
use stitch_common::user_error::UserError;
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
    let Some(topic) = log.describe(&kafka.topic).await? else {
        let message = format!("kafka: there is no topic \"{}\"", kafka.topic);
        findings.wrong(
            message,
            "create it with retention.ms=-1; Stitch never creates the event topic",
        );
        return Ok(());
    };
    retention(&kafka.topic, &topic, findings);
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
            "records that were deleted before they were counted are in no count; those that were deleted after it cannot \
             be restored, and restorations refuse",
        );
    }
    let dead_letters = kafka.dead_letter_topic();
    match log.describe(&dead_letters).await? {
        Some(_) => findings.ok(format!("kafka: dead-letter topic {dead_letters} exists")),
        None => findings.warn(
            format!("kafka: there is no dead-letter topic {dead_letters}"),
            "`stitch-processor init` creates it",
        ),
    }
    let session = kafka.session_timeout().unwrap_or_default();
    findings.ok(format!(
        "kafka: processor.stop_timeout_ms = {} is below the group's session timeout of {} ms",
        config.processor.stop_timeout.as_millis(),
        session.as_millis()
    ));
    Ok(())
}

fn retention(name: &str, topic: &TopicDescription, findings: &mut Findings) {
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
        findings.warn(
            format!(
                "kafka: topic {name} deletes records (retention.ms={}, retention.bytes={}): counts cannot be restored \
                 once their events are deleted",
                text(topic.retention_ms),
                text(topic.retention_bytes)
            ),
            format!("kafka-configs.sh --alter --topic {name} --add-config retention.ms=-1,retention.bytes=-1"),
        );
    } else {
        findings.ok(format!("kafka: topic {name} keeps every record"));
    }
}
