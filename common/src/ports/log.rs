//! The port to Kafka: the log itself, feeds from given offsets, the consumer group, and the dead-letter topic.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{Offset, Offsets, Partition};
use crate::user_error::UserError;

/// The event topic.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait EventLog {
    /// Delivers records from given offsets.
    type Feed: Feed;
    /// Membership in the consumer group of the processors.
    type Group: Group;
    /// Writes rejected records to the dead-letter topic.
    type DeadLetters: DeadLetters;

    /// The partitions that the topic has now.
    ///
    /// # Errors
    /// No broker answered, or there is no such topic.
    async fn partitions(&self) -> Result<Vec<Partition>, LogError>;

    /// The begin and end of each of these partitions, as some broker answers during the call. No proof rests on `end`: a
    /// broker that was deposed as leader and does not know it yet answers with an old one, below records that consumers of
    /// the new leader have received.
    ///
    /// # Errors
    /// No broker answered, or one refused. May be repeated.
    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError>;

    /// The properties that distinguish this log from others of the same name.
    ///
    /// # Errors
    /// No broker answered, or one refused. May be repeated.
    async fn identity(&self) -> Result<LogIdentity, LogError>;

    /// The offsets that the consumer group has committed of these partitions.
    ///
    /// # Errors
    /// No broker answered, or one refused. May be repeated.
    async fn committed(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Offset>, LogError>;

    /// Creates a feed without partitions.
    ///
    /// # Errors
    /// The client could not be created.
    async fn feed(&self) -> Result<Self::Feed, LogError>;

    /// The first record of each of these partitions that has one, as in [`LogIdentity`].
    ///
    /// # Errors
    /// As [`EventLog::records_from`].
    async fn first_records(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError> {
        let all = partitions.iter().map(|partition| (*partition, Offset(0)));
        self.records_from(&Offsets(all.collect())).await
    }

    /// The first record that each of these partitions has at or above its offset, of those that have one.
    ///
    /// # Errors
    /// The brokers did not answer, or refused.
    async fn records_from(
        &self,
        offsets: &Offsets,
    ) -> Result<BTreeMap<Partition, Fingerprint>, LogError>;

    /// Joins the consumer group.
    ///
    /// # Errors
    /// The client could not be created.
    async fn join(&self) -> Result<Self::Group, LogError>;

    /// The dead-letter topic.
    ///
    /// # Errors
    /// The client could not be created.
    async fn dead_letters(&self) -> Result<Self::DeadLetters, LogError>;
}

/// Delivers the records of given partitions from given offsets. Independent of the group.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Feed {
    /// Starts or restarts delivering `partition` from `from`. No record of an earlier start arrives after the first one
    /// of the new start; each delivery names its epoch.
    ///
    /// # Errors
    /// The client refused.
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError>;

    /// Stops delivering `partition`. Records fetched already may still arrive.
    ///
    /// # Errors
    /// The client refused.
    fn stop(&mut self, partition: Partition) -> Result<(), LogError>;

    /// The next delivery. Cancel-safe.
    ///
    /// The bytes that a feed buffers are bounded, whatever the backlog.
    async fn next(&mut self) -> FeedEvent;
}

/// The start of a partition that a delivery belongs to; chosen by the caller, larger each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignmentEpoch(pub u64);

/// A delivery of a feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// At least one record, in the order of offsets.
    Records {
        /// The partition of the records.
        partition: Partition,
        /// The start that the records belong to.
        epoch: AssignmentEpoch,
        /// The records.
        records: Vec<Record>,
    },
    /// Every record below `end_offset` has been delivered, and `end_offset` is, or was a moment ago, the log's end.
    /// Delivered each time the end is reached, and again if the end advances without any record (transaction markers).
    EndReached {
        /// The partition.
        partition: Partition,
        /// The start that the delivery belongs to.
        epoch: AssignmentEpoch,
        /// The log's end.
        end_offset: Offset,
    },
    /// A partition cannot be read on: nothing of it is delivered until another start. The others are delivered.
    Unreadable {
        /// The start that the delivery belongs to.
        epoch: AssignmentEpoch,
        /// Which partition, from which offset, and why.
        error: Unreadable,
    },
    /// An error from which the feed recovers by itself.
    Trouble(LogError),
    /// The feed has ended, and delivers nothing any more. Reported once.
    Ended(LogError),
}

/// A partition that cannot be read on. Every record below `offset` has been delivered, and none at or above it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition} cannot be read from offset {offset} on: {cause}")]
pub struct Unreadable {
    /// The partition.
    pub partition: Partition,
    /// The offset of the next record, or below it.
    pub offset: Offset,
    /// Why, by what an operator can do.
    pub reason: UnreadableReason,
    /// Kafka's words.
    pub cause: String,
}

/// Why a partition cannot be read on; variants by what an operator can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableReason {
    /// Kafka has deleted the record: retention, or `kafka-delete-records`.
    Deleted,
    /// The log was cut below what was delivered, so that other records may have these offsets now: the election of a
    /// leader that had fallen behind, or a topic that was deleted and created again.
    Truncated,
    /// What a broker has stored is not what it was sent: a checksum differs, or a batch has no valid form.
    Damaged,
    /// A batch has a codec or a format that this build cannot decode.
    Undecodable,
    /// The client may not read the topic.
    Unauthorized,
    /// The topic, or the partition, does not exist any more.
    Missing,
}

impl UnreadableReason {
    /// What an operator can do.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Deleted => {
                "the topic must keep every record (retention.ms=-1, retention.bytes=-1, cleanup.policy=delete); see \
                 docs/operations/runbook.md, \"The log is not the one that was counted\""
            }
            Self::Truncated => {
                "see docs/operations/runbook.md, \"The log was truncated\": set unclean.leader.election.enable=false"
            }
            Self::Damaged => {
                "see docs/operations/runbook.md, \"A batch of the log cannot be read\": another replica may have it whole"
            }
            Self::Undecodable => {
                "see docs/operations/runbook.md, \"A batch of the log cannot be read\": a newer version of Stitch may be able \
                 to decode it"
            }
            Self::Unauthorized => {
                "let the principal of this client read the topic: \
                 kafka-acls.sh --add --allow-principal User:NAME --operation Read --topic TOPIC"
            }
            Self::Missing => {
                "the topic was deleted: see docs/operations/runbook.md, \"The log is not the one that was counted\""
            }
        }
    }
}

impl From<Unreadable> for UserError {
    fn from(error: Unreadable) -> Self {
        let help = error.reason.help();
        Self::new(error, help)
    }
}

/// One record of the event topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Position in the partition.
    pub offset: Offset,
    /// Milliseconds since 1970, as Kafka stores them; `None` in a record of a format before 0.10.
    pub timestamp_ms: Option<i64>,
    /// The key, byte for byte.
    pub key: Option<Arc<[u8]>>,
    /// The value, byte for byte.
    pub value: Option<Arc<[u8]>>,
}

/// Membership in the consumer group of the processors, which assigns the partitions. Delivers no records.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Group {
    /// Acknowledges a revocation; see [`GroupEvent::Revoked`].
    type Ack: RevokeAck;

    /// The next event of the group. Cancel-safe.
    async fn next(&mut self) -> GroupEvent<Self::Ack>;

    /// Commits offsets to the group: for lag tools and as a tripwire, never as the source of truth. The future does not
    /// borrow the group, so that its events can be received meanwhile.
    ///
    /// # Errors
    /// No broker answered, or one refused. Harmless: the next commit includes these offsets.
    fn commit(&self, offsets: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static;

    /// Leaves the group, so that the other members need not wait for a timeout.
    async fn leave(self);
}

/// An event of the group.
#[derive(Debug)]
pub enum GroupEvent<Ack> {
    /// These partitions are assigned to this process, in addition to those it has; none if there are more members than
    /// partitions.
    Assigned(Vec<Partition>),
    /// These partitions will move to other members. The group waits for the acknowledgement, within its own bound; at the
    /// bound they are lost.
    Revoked(Vec<Partition>, Ack),
    /// These partitions belong to other members already.
    Lost(Vec<Partition>),
    /// An error from which the membership recovers by itself.
    Trouble(LogError),
    /// The membership has ended, and nothing is assigned any more: join again. Reported once.
    Ended(LogError),
}

/// Acknowledges a revocation: the partitions may move to other members. Dropping it does the same.
pub trait RevokeAck {
    /// Acknowledges the revocation.
    fn done(self);
}

/// The dead-letter topic.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait DeadLetters {
    /// Copies a rejected record, byte for byte, with the headers `stitch-reason`, `stitch-partition` and
    /// `stitch-offset`. When it returns, the brokers have it.
    ///
    /// # Errors
    /// It may or may not have been written. Retry: delivery is at least once.
    async fn put(
        &self,
        partition: Partition,
        record: &Record,
        reason: &str,
    ) -> Result<(), LogError>;
}

/// The begin and end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can still be read.
    pub begin: Offset,
    /// The offset behind the last record that a `read_committed` consumer can receive.
    pub end: Offset,
}

/// The properties that distinguish a log from others of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// Name of the topic.
    pub topic: String,
    /// The topic's `cleanup.policy`; empty if this client may not see it.
    pub cleanup_policy: String,
    /// The first record of each partition that has one.
    pub fingerprints: BTreeMap<Partition, Fingerprint>,
}

/// A partition's first record. Kafka's client exposes no topic id; this distinguishes a recreated topic from the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Offset of the record.
    pub offset: Offset,
    /// Timestamp in milliseconds since 1970, as Kafka stores it.
    pub timestamp_ms: Option<i64>,
    /// CRC-32 of key and value.
    pub checksum: u32,
}

impl Fingerprint {
    /// The fingerprint of this record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            checksum: checksum(record.key.as_deref(), record.value.as_deref()),
        }
    }
}

/// The CRC-32 of key and value, each preceded by its length, so that a byte cannot move from one to the other unseen.
fn checksum(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in [key, value] {
        let length = part
            .and_then(|bytes| i64::try_from(bytes.len()).ok())
            .unwrap_or(-1);
        crc.update(&length.to_be_bytes());
        crc.update(part.unwrap_or_default());
    }
    crc.finalize()
}

/// An error of Kafka; the variants differ in what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No answer, or a refusal that may pass: a retry can help.
    #[error("Kafka could not answer: {0}")]
    Unavailable(String),
    /// Fails until something changes: no such topic, permission, configuration. A process that Kafka has answered before
    /// hears this only when it has lasted for a minute, because brokers that restart say it of topics that exist.
    #[error("Kafka refused: {0}")]
    Refused(String),
    /// The brokers and this program do not trust each other, or it has not the right: a certificate, a user, a password, an
    /// ACL. As [`LogError::Refused`] otherwise.
    #[error("{}", .0.message)]
    Denied(UserError),
}

const KAFKA_AWAY: &str = "see whether the Kafka brokers are up, and whether \"bootstrap.servers\" in [kafka.client] names some of them, with \
     the ports for its \"security.protocol\"";
const KAFKA_REFUSED: &str =
    "see the topic, the permissions of this client and the properties in [kafka.client]";

impl From<LogError> for UserError {
    fn from(error: LogError) -> Self {
        let help = match &error {
            LogError::Unavailable(_) => KAFKA_AWAY,
            LogError::Refused(_) => KAFKA_REFUSED,
            LogError::Denied(denial) => return denial.clone(),
        };
        Self::new(error, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_distinguish_null_from_empty_and_key_from_value() {
        let mut checksums = vec![
            checksum(None, None),
            checksum(Some(b""), None),
            checksum(None, Some(b"")),
            checksum(Some(b"ab"), Some(b"c")),
            checksum(Some(b"a"), Some(b"bc")),
            checksum(Some(b"c"), Some(b"ab")),
        ];
        let all = checksums.len();
        checksums.sort_unstable();
        checksums.dedup();
        assert_eq!(checksums.len(), all);
    }
}
