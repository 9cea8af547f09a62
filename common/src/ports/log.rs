//! The port to Kafka: the log itself, feeds from chosen places, the consumer group, and the rejected records.

use crate::user_error::UserError;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::offset::{Offset, Offsets, Partition};

/// The event topic.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait EventLog {
    /// Delivers records from chosen places.
    type Feed: Feed;
    /// Membership in the processors' group.
    type Group: Group;
    /// Where rejected records go.
    type DeadLetters: DeadLetters;

    /// Every partition that the topic has now.
    ///
    /// # Errors
    /// No broker answered, or there is no such topic.
    async fn partitions(&self) -> Result<Vec<Partition>, LogError>;

    /// Where each of these partitions begins and ends now, asked of the brokers at this moment: every record that a
    /// consumer can have been given before the call lies below `end`.
    ///
    /// # Errors
    /// As told; may be repeated.
    async fn bounds(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, Bounds>, LogError>;

    /// What tells this log from others of the same name.
    ///
    /// # Errors
    /// As told; may be repeated.
    async fn identity(&self) -> Result<LogIdentity, LogError>;

    /// What the processors' group has committed.
    ///
    /// # Errors
    /// As told; may be repeated.
    async fn committed(&self) -> Result<BTreeMap<Partition, Offset>, LogError>;

    /// A feed that delivers nothing yet.
    ///
    /// # Errors
    /// The client could not be made.
    async fn feed(&self) -> Result<Self::Feed, LogError>;

    /// Joins the processors' group.
    ///
    /// # Errors
    /// The client could not be made.
    async fn join(&self) -> Result<Self::Group, LogError>;

    /// The topic of rejected records.
    ///
    /// # Errors
    /// The client could not be made.
    async fn dead_letters(&self) -> Result<Self::DeadLetters, LogError>;
}

/// Delivers the records of chosen partitions from chosen places. Has nothing to do with the group.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Feed {
    /// Starts delivering `partition` from `from`, anew if it was started before: nothing of an earlier run arrives
    /// after the first record of the new one, and each delivery names its run.
    ///
    /// # Errors
    /// The client refused.
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError>;

    /// Stops delivering `partition`. What was fetched already may still arrive.
    ///
    /// # Errors
    /// The client refused.
    fn stop(&mut self, partition: Partition) -> Result<(), LogError>;

    /// The next delivery. Cancel-safe.
    ///
    /// What a feed holds ready is bounded in bytes by its configuration, whatever the backlog.
    async fn next(&mut self) -> FeedEvent;
}

/// Which start of a partition a delivery belongs to; chosen by the caller, larger each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssignmentEpoch(pub u64);

/// What a feed delivers.
#[derive(Debug)]
pub enum FeedEvent {
    /// Records in the order of their offsets, at least one.
    Records {
        /// Their partition.
        partition: Partition,
        /// The start that they belong to.
        epoch: AssignmentEpoch,
        /// The records.
        records: Vec<Record>,
    },
    /// Every record below `end_offset` has been delivered, and `end_offset` is, or was a moment ago, the log's end. Told each time
    /// the end is reached, and again if the end moves on without any record (markers of transactions).
    EndReached {
        /// Which partition.
        partition: Partition,
        /// The start that it belongs to.
        epoch: AssignmentEpoch,
        /// The log's end.
        end_offset: Offset,
    },
    /// The partition cannot be read on from where it was: its records there are gone. Stays so until another start.
    Gone {
        /// Which partition.
        partition: Partition,
        /// The start that it belongs to.
        epoch: AssignmentEpoch,
        /// What Kafka says.
        error: LogError,
    },
    /// Kafka has trouble; the feed goes on by itself when it can.
    Trouble(LogError),
}

/// One record of the event topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in its partition.
    pub offset: Offset,
    /// Its key, byte for byte.
    pub key: Option<Arc<[u8]>>,
    /// Its value, byte for byte.
    pub value: Option<Arc<[u8]>>,
}

/// Membership in the processors' consumer group, which deals the partitions out. Delivers no records.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait Group {
    /// What gives a partition back to the group; see [`GroupEvent::Revoked`].
    type Ack: RevokeAck;

    /// The next change. Cancel-safe.
    async fn next(&mut self) -> GroupEvent<Self::Ack>;

    /// Tells the group how far the log is answered: for lag tools and as a tripwire, never as truth. The future stands
    /// by itself, so that the group can be listened to meanwhile.
    ///
    /// # Errors
    /// As told; harmless, and worth another try at the next interval.
    fn commit(&self, offsets: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static;

    /// Leaves the group, so that the others need not wait for a timeout.
    async fn leave(self);
}

/// What the group says.
#[derive(Debug)]
pub enum GroupEvent<Ack> {
    /// These partitions are this process's, beside those it has.
    Assigned(Vec<Partition>),
    /// These partitions are to go to others. The group waits, within its own bound, until the acknowledgement is given;
    /// at the bound they are told as lost.
    Revoked(Vec<Partition>, Ack),
    /// These partitions belong to others already.
    Lost(Vec<Partition>),
    /// Kafka has trouble; the membership goes on by itself when it can.
    Trouble(LogError),
}

/// Tells the group that revoked partitions may go to others. Dropping it says the same.
pub trait RevokeAck {
    /// The partitions are given back.
    fn done(self);
}

/// The topic of rejected records.
#[expect(
    async_fn_in_trait,
    reason = "a process is one future: nothing of it crosses threads"
)]
pub trait DeadLetters {
    /// Copies a rejected record, byte for byte, with the headers `stitch-reason`, `stitch-partition` and
    /// `stitch-offset`. When it returns, the brokers have it.
    ///
    /// # Errors
    /// It may or may not have been written: try again, at least once is promised.
    async fn put(
        &self,
        partition: Partition,
        record: &Record,
        reason: &str,
    ) -> Result<(), LogError>;
}

/// Where a partition begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset that can still be read.
    pub begin: Offset,
    /// The offset behind the last record that a consumer of our isolation level can be given.
    pub end: Offset,
}

/// What tells a log from others of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdentity {
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// The topic's name.
    pub topic: String,
    /// The topic's `cleanup.policy`.
    pub cleanup_policy: String,
    /// The first record of each partition that has one.
    pub fingerprints: BTreeMap<Partition, Fingerprint>,
}

/// A partition's first record: Kafka's client tells no id of a topic, and this tells one made anew from the old one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp in milliseconds since 1970, as Kafka keeps it.
    pub timestamp_ms: Option<i64>,
    /// The CRC-32 of its key and value.
    pub checksum: u32,
}

/// Why Kafka could not be asked; variants by what the caller can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No answer, or not now: worth another try.
    #[error("Kafka could not answer: {0}")]
    Unavailable(String),
    /// It will not work without a change: no such topic, permission, configuration.
    #[error("Kafka refused: {0}")]
    Refused(String),
}

const KAFKA_AWAY: &str = "see whether the Kafka brokers are up, and whether \"bootstrap.servers\" in [kafka.client] names some of them";
const KAFKA_REFUSED: &str =
    "see the topic, the permissions of this client and the properties in [kafka.client]";

impl From<LogError> for UserError {
    fn from(error: LogError) -> Self {
        let help = match &error {
            LogError::Unavailable(_) => KAFKA_AWAY,
            LogError::Refused(_) => KAFKA_REFUSED,
        };
        Self::new(error, help)
    }
}
