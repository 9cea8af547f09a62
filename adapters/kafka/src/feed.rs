//! Records from given offsets: a handle for the program, a thread for Kafka's client, and the queue between them.
//!
//! Partitions are assigned to the client by Stitch, never by a group. A partition is restarted by unassigning it and
//! assigning it again at the other offset, both on the one thread that polls: the client drops the records fetched for
//! the earlier assignment, and no seek can cross a fetch.

mod fetcher;
pub(crate) mod partition_queues;
mod feed_queue;

use std::sync::Arc;

use tokio::sync::oneshot;

use self::feed_queue::{Command, FeedQueue};
use self::fetcher::Fetcher;
use crate::metadata_client::MetadataClient;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Feed, FeedEvent, LogError};
use stitch_config::Kafka;

/// Records from given offsets. Dropping it ends its thread, which may take as long as the client needs to close.
pub struct KafkaFeed {
    queue: Arc<FeedQueue>,
    ended: oneshot::Receiver<()>,
}

impl KafkaFeed {
    /// A feed of a topic that has `partitions` partitions now.
    pub(super) fn new(
        kafka: &Kafka,
        partitions: usize,
        metadata: &Arc<MetadataClient>,
    ) -> Result<Self, LogError> {
        let queue = Arc::new(FeedQueue::default());
        let (ending, ended) = oneshot::channel();
        let fetcher = Fetcher::new(kafka, partitions, Arc::clone(metadata), Arc::clone(&queue))?;
        std::thread::Builder::new()
            .name("stitch-feed".to_owned())
            .spawn(move || {
                fetcher.run();
                // The feed may have been dropped.
                ending.send(()).ok();
            })
            .map_err(|error| LogError::Unavailable(format!("starting a feed's thread: {error}")))?;
        Ok(Self { queue, ended })
    }

    /// Ends the feed and waits until its thread has closed Kafka's client. If cancelled, the thread closes it later.
    pub async fn close(mut self) {
        self.queue.close();
        // An error means that the thread panicked: it has ended too.
        (&mut self.ended).await.ok();
    }

    fn command(&self, command: Command) -> Result<(), LogError> {
        if self.queue.command(command) {
            Ok(())
        } else {
            Err(LogError::Unavailable(
                "the feed's thread has ended; create a new feed".to_owned(),
            ))
        }
    }
}

impl Feed for KafkaFeed {
    fn start(
        &mut self,
        partition: Partition,
        from: Offset,
        epoch: AssignmentEpoch,
    ) -> Result<(), LogError> {
        self.command(Command::Start {
            partition,
            from,
            epoch,
        })
    }

    fn stop(&mut self, partition: Partition) -> Result<(), LogError> {
        self.command(Command::Stop { partition })
    }

    async fn next(&mut self) -> FeedEvent {
        self.queue.next().await
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_dropped_feed_ends_its_thread_even_when_no_broker_is_up() {
        let client = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "group")];
        let client = client.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kafka = Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        };
        let metadata = Arc::new(MetadataClient::new(&kafka).unwrap());
        let mut feed = KafkaFeed::new(&kafka, 1, &metadata).unwrap();
        feed.start(Partition(0), Offset(0), AssignmentEpoch(1))
            .unwrap();
        let (_, nothing) = oneshot::channel();
        let ended = std::mem::replace(&mut feed.ended, nothing);
        drop(feed);
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert_eq!(ended, Ok(Ok(())));
    }
}
