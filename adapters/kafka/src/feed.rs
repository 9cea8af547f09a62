//! Records from chosen places: a handle for the program, a thread for Kafka's client, and what lies ready between them.
//!
//! The client is assigned partitions by us, never by a group. A partition is started anew by taking it from the client
//! and giving it back at the other offset, both on the one thread that polls: the client drops what it had fetched for
//! the earlier assignment, and no seek can cross a fetch.

mod fetcher;
mod ready;

use std::sync::Arc;

use tokio::sync::oneshot;

use self::fetcher::Fetcher;
use self::ready::{Command, Ready};
use crate::asking::Asking;
use stitch_common::config::Kafka;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Feed, FeedEvent, LogError};

/// Records from chosen places. Dropping it ends its thread, which may take as long as the client needs to close.
pub struct KafkaFeed {
    ready: Arc<Ready>,
    ended: oneshot::Receiver<()>,
}

impl KafkaFeed {
    pub(super) fn new(kafka: &Kafka, asking: &Arc<Asking>) -> Result<Self, LogError> {
        let ready = Arc::new(Ready::default());
        let (ends, ended) = oneshot::channel();
        let fetcher = Fetcher::new(kafka, Arc::clone(asking), Arc::clone(&ready))?;
        std::thread::Builder::new()
            .name("stitch-feed".to_owned())
            .spawn(move || {
                fetcher.run();
                // Nobody may wait for it.
                ends.send(()).ok();
            })
            .map_err(|error| LogError::Unavailable(format!("starting a feed's thread: {error}")))?;
        Ok(Self { ready, ended })
    }

    /// Ends the feed and waits until its thread has let go of Kafka's client. Cancelling it leaves that to the thread.
    pub async fn close(mut self) {
        self.ready.close();
        // An error says that the thread ended in another way: it has ended.
        (&mut self.ended).await.ok();
    }

    fn command(&self, command: Command) -> Result<(), LogError> {
        if self.ready.command(command) {
            Ok(())
        } else {
            Err(LogError::Refused(
                "the feed's thread has ended; make a new feed".to_owned(),
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
        self.ready.next().await
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        self.ready.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_dropped_feed_ends_its_thread_even_when_no_broker_is_there() {
        let client = [("bootstrap.servers", "127.0.0.1:1"), ("group.id", "group")];
        let client = client.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kafka = Kafka {
            topic: "events".to_owned(),
            client: client.into(),
        };
        let asking = Arc::new(Asking::new(&kafka).unwrap());
        let mut feed = KafkaFeed::new(&kafka, &asking).unwrap();
        feed.start(Partition(0), Offset(0), AssignmentEpoch(1))
            .unwrap();
        let (_, nothing) = oneshot::channel();
        let ended = std::mem::replace(&mut feed.ended, nothing);
        drop(feed);
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert_eq!(ended, Ok(Ok(())));
    }
}
