//! Kafka: reach, the event topic, and whether its log is kept as long as counts are to be restored from it.

use super::Findings;
use stitch_common::config::Config;
use stitch_common::ports::{EventLog, LogError};
use stitch_common::user_error::UserError;
use stitch_kafka::{KafkaLog, TopicDescription};

pub(super) async fn check(config: &Config, log: Result<&KafkaLog, &LogError>) -> Findings {
    let mut findings = Findings::default();
    let looked = match log {
        Ok(log) => look(config, log, &mut findings).await,
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = looked {
        let failure = UserError::from(error);
        findings.wrong(format!("kafka: {}", failure.message), failure.help);
    }
    findings
}

async fn look(config: &Config, log: &KafkaLog, findings: &mut Findings) -> Result<(), LogError> {
    let kafka = &config.kafka;
    let Some(topic) = log.describe(&kafka.topic).await? else {
        let message = format!("kafka: there is no topic \"{}\"", kafka.topic);
        findings.wrong(
            message,
            "create it with retention.ms=-1; Stitch never creates the event topic",
        );
        return Ok(());
    };
    kept(&kafka.topic, &topic, findings);
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
            "what was counted of the records that are gone cannot be restored",
        );
    }
    let rejected = kafka.dead_letter_topic();
    match log.describe(&rejected).await? {
        Some(_) => findings.ok(format!(
            "kafka: topic {rejected} is there for rejected records"
        )),
        None => findings.warn(
            format!("kafka: there is no topic {rejected} for rejected records"),
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

fn kept(name: &str, topic: &TopicDescription, findings: &mut Findings) {
    findings.ok(format!(
        "kafka: topic {name} has {} partitions, {} replicas",
        topic.partitions, topic.replication
    ));
    if topic.cleanup_policy.contains("compact") {
        findings.wrong(
            format!("kafka: topic {name} is compacted (cleanup.policy={}), so events vanish", topic.cleanup_policy),
            format!("kafka-configs.sh --alter --topic {name} --add-config cleanup.policy=delete,retention.ms=-1"),
        );
        return;
    }
    let bounded = |limit: Option<i64>| limit.is_some_and(|limit| limit >= 0);
    if bounded(topic.retention_ms) || bounded(topic.retention_bytes) {
        let told =
            |limit: Option<i64>| limit.map_or_else(|| "unknown".to_owned(), |l| l.to_string());
        findings.warn(
            format!(
                "kafka: topic {name} forgets records (retention.ms={}, retention.bytes={}): counts cannot be restored \
                 once their events are gone",
                told(topic.retention_ms),
                told(topic.retention_bytes)
            ),
            format!("kafka-configs.sh --alter --topic {name} --add-config retention.ms=-1,retention.bytes=-1"),
        );
    } else {
        findings.ok(format!("kafka: topic {name} keeps every record"));
    }
}
