//! Membership in the consumer group: a handle for the program, and a thread on which Kafka's client calls back.
//!
//! The member never reads a record: it pauses every partition that is assigned to it. So no record is fetched twice, and
//! rebalances cannot disturb the feed.
//!
//! The client calls back inside its poll, so a revoked partition is held by not returning: until then the group waits
//! for this member. That wait is bounded below the group's own timeouts, or the member would be expelled.

mod member;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak, mpsc as std_mpsc};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;

use self::member::{Member, member_consumer};
use crate::error::log_error;
use stitch_common::offset::Offsets;
use stitch_common::ports::{Group, GroupEvent, LogError, RevokeAck};
use stitch_config::Kafka;

/// Events that may be unread; beyond that the thread waits, and the group with it.
const EVENTS_MAX: usize = 64;

/// The operation that errors name.
const COMMITTING: &str = "committing to the group";

/// How long a commit may take.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long leaving may take; after that the thread goes on alone, and the group's own timeout ends the membership.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Membership in the consumer group. Dropping it leaves the group too, without waiting.
pub struct KafkaGroup {
    events: mpsc::Receiver<GroupEvent<KafkaAck>>,
    /// Only the thread owns the consumer, so that it is closed there.
    consumer: Weak<BaseConsumer<Member>>,
    topic: String,
    commits: Arc<Semaphore>,
    leaving: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
    end_reported: bool,
}

impl KafkaGroup {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (ending, ended) = oneshot::channel();
        let leaving = Arc::new(AtomicBool::new(false));
        let consumer = Arc::new(member_consumer(kafka, sender, Arc::clone(&leaving))?);
        let weak = Arc::downgrade(&consumer);
        std::thread::Builder::new()
            .name("stitch-group".to_owned())
            .spawn(move || {
                member::stay(consumer);
                // The group may have been dropped.
                ending.send(()).ok();
            })
            .map_err(|error| {
                LogError::Unavailable(format!("starting the group's thread: {error}"))
            })?;
        Ok(Self {
            events,
            consumer: weak,
            topic: kafka.topic.clone(),
            commits: Arc::new(Semaphore::new(1)),
            leaving,
            ended,
            end_reported: false,
        })
    }
}

impl Group for KafkaGroup {
    type Ack = KafkaAck;

    async fn next(&mut self) -> GroupEvent<KafkaAck> {
        match self.events.recv().await {
            Some(event) => event,
            None if self.end_reported => std::future::pending().await,
            None => {
                self.end_reported = true;
                let ended = "the group's thread has ended; join the group again".to_owned();
                GroupEvent::Ended(LogError::Unavailable(ended))
            }
        }
    }

    fn commit(&self, offsets: &Offsets) -> impl Future<Output = Result<(), LogError>> + 'static {
        let list = self
            .list(offsets)
            .map_err(|error| log_error(COMMITTING, &error));
        let consumer = self.consumer.clone();
        let commits = Arc::clone(&self.commits);
        async move {
            let list = list?;
            if list.count() == 0 {
                return Ok(());
            }
            let committed = commit_in_turn(consumer, commits, list);
            match tokio::time::timeout(COMMIT_TIMEOUT, committed).await {
                Ok(committed) => committed,
                Err(_elapsed) => Err(LogError::Unavailable(format!(
                    "{COMMITTING}: no answer in {COMMIT_TIMEOUT:?}"
                ))),
            }
        }
    }

    async fn leave(mut self) {
        self.leaving.store(true, Ordering::Release);
        // The thread may be waiting for room in the queue, which nothing reads any more.
        self.events.close();
        if tokio::time::timeout(LEAVE_TIMEOUT, &mut self.ended)
            .await
            .is_err()
        {
            warn!(timeout = ?LEAVE_TIMEOUT, "leaving the group timed out; its own timeout will end the membership");
        }
    }
}

impl KafkaGroup {
    fn list(&self, offsets: &Offsets) -> rdkafka::error::KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(offsets.0.len());
        for (partition, offset) in &offsets.0 {
            let offset = rdkafka::Offset::Offset(offset.0);
            list.add_partition_offset(&self.topic, partition.0, offset)?;
        }
        Ok(list)
    }
}

/// Commits one at a time: an earlier commit must not overtake a later one, and none pile up on a silent broker.
async fn commit_in_turn(
    consumer: Weak<BaseConsumer<Member>>,
    commits: Arc<Semaphore>,
    list: TopicPartitionList,
) -> Result<(), LogError> {
    let turn = commits.acquire_owned().await;
    let committed = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match consumer.upgrade() {
            Some(consumer) => consumer
                .commit(&list, CommitMode::Sync)
                .map_err(|error| log_error(COMMITTING, &error)),
            None => Err(LogError::Refused(format!(
                "{COMMITTING}: this member has left it"
            ))),
        }
    });
    match committed.await {
        Ok(committed) => committed,
        Err(ended) => Err(LogError::Unavailable(format!("{COMMITTING}: {ended}"))),
    }
}

impl Drop for KafkaGroup {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Release);
    }
}

/// Returns revoked partitions to the group when it is used or dropped.
#[derive(Debug)]
pub struct KafkaAck {
    /// The thread waits until this is dropped.
    _held: std_mpsc::Sender<()>,
}

impl RevokeAck for KafkaAck {
    fn done(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_member_ends_its_thread_even_when_no_broker_is_up() {
        let client = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "group")];
        let client = client.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kafka = Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        };
        let mut group = KafkaGroup::new(&kafka).unwrap();
        let (_, nothing) = oneshot::channel();
        let ended = std::mem::replace(&mut group.ended, nothing);
        drop(group);
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert_eq!(ended, Ok(Ok(())));
    }
}
