//! Membership in the processors' group: a handle for the program, and a thread on which Kafka's client calls back.
//!
//! The member never reads a record: what it is assigned it assigns to itself paused. So no record is fetched twice, and
//! what the group does to its member cannot disturb the feed.
//!
//! The client calls back inside its poll, so a revoked partition can be held by not returning: the group waits for this
//! member until then. That wait is bounded below the group's own bounds, or the member would be put out of the group.

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
use stitch_common::config::Kafka;
use stitch_common::offset::Offsets;
use stitch_common::ports::{Group, GroupEvent, LogError, RevokeAck};

/// Changes that may lie unread; then the thread waits, and the group with it.
const EVENTS_MAX: usize = 64;

/// What errors say was being done.
const COMMITTING: &str = "committing to the group";

/// How long a commit is waited for.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long leaving is waited for; then the thread goes on by itself, and the group's own timeout does the rest.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Membership in the processors' group. Dropping it leaves the group too, unobserved.
pub struct KafkaGroup {
    events: mpsc::Receiver<GroupEvent<KafkaAck>>,
    /// The thread alone keeps the consumer, so that it is closed there.
    consumer: Weak<BaseConsumer<Member>>,
    topic: String,
    commits: Arc<Semaphore>,
    leaving: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
    told: bool,
}

impl KafkaGroup {
    pub(super) fn new(kafka: &Kafka) -> Result<Self, LogError> {
        let (tells, events) = mpsc::channel(EVENTS_MAX);
        let (ends, ended) = oneshot::channel();
        let leaving = Arc::new(AtomicBool::new(false));
        let consumer = Arc::new(member_consumer(kafka, tells, Arc::clone(&leaving))?);
        let weak = Arc::downgrade(&consumer);
        std::thread::Builder::new()
            .name("stitch-group".to_owned())
            .spawn(move || {
                member::stay(consumer);
                // Nobody may wait for it.
                ends.send(()).ok();
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
            told: false,
        })
    }
}

impl Group for KafkaGroup {
    type Ack = KafkaAck;

    async fn next(&mut self) -> GroupEvent<KafkaAck> {
        match self.events.recv().await {
            Some(event) => event,
            None if self.told => std::future::pending().await,
            None => {
                self.told = true;
                let ended = "the group's thread has ended; join the group anew".to_owned();
                GroupEvent::Trouble(LogError::Refused(ended))
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
        // The thread may wait for room to tell something; there is nobody to read it any more.
        self.events.close();
        if tokio::time::timeout(LEAVE_TIMEOUT, &mut self.ended)
            .await
            .is_err()
        {
            warn!(timeout = ?LEAVE_TIMEOUT, "the group was not left in time; it will notice by its own timeout");
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

/// One at a time: a later one must not be overtaken by an earlier one, and none pile up on a silent broker.
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
            None => Err(LogError::Refused(format!("{COMMITTING}: it was left"))),
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

/// Gives revoked partitions back to the group, when it is used or dropped.
#[derive(Debug)]
pub struct KafkaAck {
    /// The thread waits until this is gone.
    _held: std_mpsc::Sender<()>,
}

impl RevokeAck for KafkaAck {
    fn done(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_member_ends_its_thread_even_when_no_broker_is_there() {
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
