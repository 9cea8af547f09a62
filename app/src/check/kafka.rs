//! Checks Kafka: reachability, the event topic, whether its log is kept for restorations, and what this program may do.

use std::collections::BTreeMap;

use super::{Findings, Needs, security};
use stitch_common::offset::Partition;
use stitch_common::ports::{Bounds, EventLog, LogError};
use stitch_common::user_error::UserError;
use stitch_config::Config;
use stitch_kafka::{KafkaLog, TopicDescription};

pub(super) async fn check(
    config: &Config,
    log: Result<&KafkaLog, &LogError>,
    needs: Needs,
) -> Findings {
    let mut findings = Findings::default();
    let result = match log {
        Ok(log) => query(config, log, needs, &mut findings).await,
        Err(error) => Err(error.clone()),
    };
    if let Err(error) = result {
        findings.failed_for("kafka", error);
    }
    findings
}

async fn query(
    config: &Config,
    log: &KafkaLog,
    needs: Needs,
    findings: &mut Findings,
) -> Result<(), LogError> {
    let kafka = &config.kafka;
    log.try_clients().await?;
    security::kafka(config, findings);
    let described = log.describe(&kafka.topic).await;
    if let Ok(None) = described {
        let message = format!("kafka: there is no topic \"{}\"", kafka.topic);
        findings.wrong(
            message,
            "create it with retention.ms=-1; Stitch never creates the event topic",
        );
        return Ok(());
    }
    // Whoever may not see the topic learns nothing else of it.
    let partitions = log.partitions().await?;
    rights(config, log, needs, findings).await;
    let topic = right(
        config,
        &Right::of_topic(config, "DESCRIBE_CONFIGS"),
        described,
        findings,
    );
    begins(&kafka.topic, log.bounds(&partitions).await?, findings);
    let topic = topic.flatten();
    if let Some(topic) = &topic {
        retention(&kafka.topic, topic, config.archive.url.is_some(), findings);
        let receives = kafka.client.get("receive.message.max.bytes");
        received(&kafka.topic, topic, receives, findings);
    }
    match needs {
        Needs::Counting => counting(config, log, topic.as_ref(), findings).await,
        Needs::Restoring | Needs::Reading | Needs::Archiving | Needs::Totals | Needs::Batch => {}
    }
    Ok(())
}

/// Checks what only a member of the group needs.
async fn counting(
    config: &Config,
    log: &KafkaLog,
    topic: Option<&TopicDescription>,
    findings: &mut Findings,
) {
    let kafka = &config.kafka;
    let dead_letters = kafka.dead_letter_topic();
    let of_dead_letters = |name: &'static str| Right {
        name,
        on: format!("topic {dead_letters}"),
        option: format!("--topic {dead_letters}"),
    };
    match log.describe(&dead_letters).await {
        Ok(None) => findings.warn(
            format!("kafka: there is no dead-letter topic {dead_letters}"),
            "`stitch-processor init` creates it",
        ),
        described => {
            let written = log.may_copy().await;
            // Whoever may write may see the topic, too: without that right, the other one is not known.
            let is_known = described.is_ok() || !matches!(written, Err(LogError::Denied(_)));
            right(config, &of_dead_letters("WRITE"), written, findings);
            let settings = of_dead_letters("DESCRIBE_CONFIGS");
            if is_known
                && let Some(Some(rejected)) = right(config, &settings, described, findings)
                && let Some(topic) = topic
            {
                copied(&dead_letters, &rejected, topic, findings);
            }
        }
    }
    let session = kafka.session_timeout();
    findings.ok(format!(
        "kafka: processor.stop_timeout_ms = {} is below the group's session timeout of {} ms",
        config.processor.stop_timeout.as_millis(),
        session.as_millis()
    ));
}

/// Checks what this program may do with the topic and the group.
async fn rights(config: &Config, log: &KafkaLog, needs: Needs, findings: &mut Findings) {
    let group = config.kafka.group_id();
    let of_group = |name: &'static str| Right {
        name,
        on: format!("group {group}"),
        option: format!("--group {group}"),
    };
    let asked = async {
        match needs.asks_group() {
            true => Some(log.may_ask_group().await),
            false => None,
        }
    };
    let joined = async {
        match needs == Needs::Counting {
            true => Some(log.may_join().await),
            false => None,
        }
    };
    let (read, asked, joined) = tokio::join!(log.may_read(), asked, joined);
    right(config, &Right::of_topic(config, "READ"), read, findings);
    if let Some(answer) = asked {
        right(config, &of_group("DESCRIBE"), answer, findings);
    }
    if let Some(answer) = joined {
        right(config, &of_group("READ"), answer, findings);
    }
}

/// A right of Kafka's ACLs.
struct Right {
    name: &'static str,
    on: String,
    /// What it is on, as an option of `kafka-acls.sh`.
    option: String,
}

impl Right {
    fn of_topic(config: &Config, name: &'static str) -> Self {
        let topic = &config.kafka.topic;
        Self {
            name,
            on: format!("topic {topic}"),
            option: format!("--topic {topic}"),
        }
    }

    /// The command that gives it.
    fn help(&self, config: &Config) -> String {
        let user = config.kafka.client.get("sasl.username");
        let user = user.map_or("…", |user| user.trim());
        let operation = self.name.replace('_', "").to_ascii_lowercase();
        format!(
            "kafka-acls.sh --bootstrap-server … --add --allow-principal \"User:{user}\" --operation {operation} {}; \
             docs/operations/security.md, \"Least rights\", lists what each program needs",
            self.option
        )
    }
}

/// Finds whether this program has a right, by the answer to a request that needs it; returns the answer.
fn right<T>(
    config: &Config,
    right: &Right,
    answer: Result<T, LogError>,
    findings: &mut Findings,
) -> Option<T> {
    let (name, on) = (right.name, &right.on);
    match answer {
        Ok(answer) => {
            findings.ok(format!("kafka: this program has {name} on the {on}"));
            return Some(answer);
        }
        Err(LogError::Denied(denial)) => findings.wrong(
            format!(
                "kafka: this program has no {name} on the {on}: {}",
                denial.message
            ),
            right.help(config),
        ),
        Err(error @ (LogError::Refused(_) | LogError::Unavailable(_))) => {
            let failure = UserError::from(error);
            findings.warn(
                format!(
                    "kafka: whether this program has {name} on the {on} is unknown: {}",
                    failure.message
                ),
                failure.help,
            );
        }
    }
    None
}

fn begins(name: &str, bounds: BTreeMap<Partition, Bounds>, findings: &mut Findings) {
    let gone = bounds.iter().filter(|(_, bounds)| bounds.begin.0 > 0);
    let gone: Vec<_> = gone
        .map(|(partition, bounds)| format!("{partition} at {}", bounds.begin))
        .collect();
    if !gone.is_empty() {
        findings.warn(
            format!(
                "kafka: topic {name}: partitions do not begin at 0: {}",
                gone.join(", ")
            ),
            "records that were deleted before they were counted are in no count; those that were deleted after it have to \
             be in the archive or in totals (stitch-totals list), or restorations refuse",
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_right_that_is_missing_is_wrong_and_named_with_the_command_that_gives_it() {
        let text = include_str!("../../../deploy/stitch.toml");
        let variables = [
            ("STITCH_KAFKA__TOPIC", "plays"),
            ("STITCH_KAFKA__CLIENT__SASL_USERNAME", "reader"),
        ];
        let variables = variables.into_iter().collect();
        let config = Config::parse("stitch.toml", text, &variables).unwrap();
        let denied = LogError::Denied(UserError::new("Topic authorization failed", "ask"));
        let away = LogError::Unavailable("no answer".to_owned());
        for (answer, verdict, words) in [
            (
                Ok(()),
                Verdict::Ok,
                ["has DESCRIBE_CONFIGS on the topic plays", ""],
            ),
            (
                Err(denied),
                Verdict::Wrong,
                [
                    "has no DESCRIBE_CONFIGS on the topic plays: Topic",
                    "\"User:reader\" --operation describeconfigs --topic plays",
                ],
            ),
            (Err(away), Verdict::Warn, ["is unknown", "brokers are up"]),
        ] {
            let mut findings = Findings::default();
            let of_topic = Right::of_topic(&config, "DESCRIBE_CONFIGS");
            right(&config, &of_topic, answer, &mut findings);
            let found = findings.findings.pop().unwrap();
            assert_eq!(found.verdict, verdict);
            assert!(found.message.contains(words[0]), "{found:?}");
            assert!(found.help.unwrap_or_default().contains(words[1]));
        }
    }
}
