//! The thread of the group member, and the callbacks of Kafka's client on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as std_mpsc};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::KafkaAck;
use crate::client_config::{Role, client_config, create_consumer};
use crate::context::Context;
use crate::denial::Identity;
use crate::error::{ends_membership, log_error, may_end_membership};
use crate::patience::LASTING;
use crate::repeats::Repeats;
use stitch_common::clock::{Clock, Moment, SystemClock};
use stitch_common::offset::Partition;
use stitch_common::ports::{GroupEvent, LogError};
use stitch_config::Kafka;

/// How long a poll waits, and so how soon the thread notices that it has to leave.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the coordinator may take to say whether it still refuses this member. Nothing is polled meanwhile.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the thread checks whether partitions that it holds have been lost meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The client's context: receives its callbacks.
pub(super) struct Member {
    topic: String,
    identity: Identity,
    sender: mpsc::Sender<GroupEvent<KafkaAck>>,
    leaving: Arc<AtomicBool>,
    /// How long revoked partitions are held at most.
    hold: Duration,
    /// Whether the end of the membership was reported.
    ended: AtomicBool,
    standing: Mutex<Standing>,
    repeats: Mutex<Repeats>,
}

/// Whether the group takes this member.
#[derive(Debug, Default)]
struct Standing {
    /// Whether partitions were ever assigned to it.
    joined: bool,
    /// The refusal that has lasted since, and the error.
    refused: Option<(Moment, LogError)>,
}

/// The member's consumer, subscribed.
pub(super) fn member_consumer(
    kafka: &Kafka,
    sender: mpsc::Sender<GroupEvent<KafkaAck>>,
    leaving: Arc<AtomicBool>,
) -> Result<BaseConsumer<Member>, LogError> {
    let doing = "creating the member of the group";
    let hold = hold(&client_config(&kafka.client, Role::Member))
        .map_err(|error| log_error(doing, &error))?;
    let member = Member {
        topic: kafka.topic.clone(),
        identity: Identity::of(kafka),
        sender,
        leaving,
        hold,
        ended: AtomicBool::new(false),
        standing: Mutex::default(),
        repeats: Mutex::default(),
    };
    let consumer = create_consumer(kafka, Role::Member, member, doing)?;
    consumer
        .subscribe(&[&kafka.topic])
        .map_err(|error| log_error(doing, &error))?;
    Ok(consumer)
}

/// A session timeout, within which a processor must be able to stop anyway; heartbeats continue meanwhile. Also less than
/// `max.poll.interval.ms`, after which the group expels a member that does not poll.
fn hold(config: &ClientConfig) -> KafkaResult<Duration> {
    let native = config.create_native_config()?;
    let milliseconds = |name: &str| -> KafkaResult<u64> {
        // The client has checked that these are numbers.
        Ok(native.get(name)?.parse().unwrap_or(u64::MAX))
    };
    let polling = milliseconds("max.poll.interval.ms")? / 10 * 9;
    Ok(Duration::from_millis(
        milliseconds("session.timeout.ms")?.min(polling),
    ))
}

/// Polls until the program leaves; then leaves the group by closing the consumer.
pub(super) fn stay(consumer: Arc<BaseConsumer<Member>>) {
    while !consumer.context().leaving() {
        match consumer.poll(POLL_TIMEOUT) {
            // Records are ignored too: partitions are paused, and one fetched before the pause is read by the feed.
            None | Some(Ok(_)) | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => consumer.context().trouble(&error),
        }
        end_patience(&consumer);
    }
    // A commit in flight keeps the consumer until it ends; the last owner closes it.
    drop(consumer);
}

/// Ends the membership if it was refused for too long, and is refused still. The client reports a refusal once, however
/// long it lasts, and says nothing when a coordinator that has refused takes the member again as it was.
fn end_patience(consumer: &BaseConsumer<Member>) {
    let member = consumer.context();
    let Some(error) = member.lasting_refusal() else {
        return;
    };
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&member.topic, 0);
    match consumer.committed_offsets(asked, QUESTION_TIMEOUT) {
        Ok(_) => member.standing().refused = None,
        // Without an answer, too: a coordinator that the group's refusal hides is not found.
        Err(_) => member.end(error),
    }
}

impl Member {
    fn leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.sender.is_closed()
    }

    /// Waits for room in the queue, unless its reader is gone.
    fn send(&self, event: GroupEvent<KafkaAck>) {
        if !self.leaving() && self.sender.blocking_send(event).is_err() {
            debug!("a group event arrived after leaving");
        }
    }

    /// Reports an error: the end of the membership once, and any other without waiting, since the next one will say the
    /// same.
    fn trouble(&self, error: &KafkaError) {
        let ends = ends_membership(error);
        let may_end = may_end_membership(error);
        let error = self
            .identity
            .named(log_error("as a member of the group", error));
        if ends || (may_end && !self.endures(&error)) {
            self.end(error);
        } else if self.is_due(&error) && self.sender.try_send(GroupEvent::Trouble(error)).is_err() {
            debug!("dropped an error of the group: earlier events are unread");
        }
    }

    fn is_due(&self, error: &LogError) -> bool {
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        repeats.is_due(error, SystemClock.now())
    }

    /// Whether a refusal may pass, since this member was in the group before.
    fn endures(&self, error: &LogError) -> bool {
        let mut standing = self.standing();
        let refusal = || (SystemClock.now(), error.clone());
        standing.refused.get_or_insert_with(refusal);
        standing.joined
    }

    /// The refusal that was reported, if that is long ago and nothing was assigned since.
    fn lasting_refusal(&self) -> Option<LogError> {
        let refused = self.standing().refused.clone();
        let (since, error) = refused?;
        let lasts = SystemClock.now().since(since) >= LASTING;
        (lasts && !self.ended.load(Ordering::Acquire)).then_some(error)
    }

    fn end(&self, error: LogError) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.send(GroupEvent::Ended(error));
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) {
        *self.standing() = Standing {
            joined: true,
            refused: None,
        };
        let assigned = list.set_all_offsets(rdkafka::Offset::End).and_then(|()| {
            match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_assign(list)?,
                RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list)?,
            }
            if list.count() > 0 {
                consumer.pause(list)
            } else {
                Ok(())
            }
        });
        if let Err(error) = assigned {
            self.trouble(&error);
        }
        // Even if there are none: then the group has more members than partitions, and this one is well.
        self.send(GroupEvent::Assigned(self.partitions(list)));
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions = self.partitions(list);
        if !partitions.is_empty() && !self.leaving() {
            if consumer.assignment_lost() {
                self.send(GroupEvent::Lost(partitions));
            } else {
                self.hold_until_ack(consumer, partitions);
            }
        }
        let revoked = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
        };
        if let Err(error) = revoked {
            self.trouble(&error);
        }
    }

    /// Holds the partitions until the program acknowledges the revocation, they are lost, or the bound is reached.
    fn hold_until_ack(&self, consumer: &BaseConsumer<Self>, partitions: Vec<Partition>) {
        let (held, ack) = std_mpsc::channel();
        self.send(GroupEvent::Revoked(
            partitions.clone(),
            KafkaAck { _held: held },
        ));
        if !self.wait_for_ack(consumer, &ack) {
            warn!(
                ?partitions,
                "partitions move to another member without being acknowledged"
            );
            self.send(GroupEvent::Lost(partitions));
        }
    }

    /// Whether the revocation was acknowledged in time.
    fn wait_for_ack(&self, consumer: &BaseConsumer<Self>, ack: &Receiver<()>) -> bool {
        let clock = SystemClock;
        let until = clock.now().plus(self.hold);
        loop {
            match ack.recv_timeout(CHECK_INTERVAL) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.leaving() {
                return true;
            }
            if consumer.assignment_lost() || clock.now() >= until {
                return false;
            }
        }
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        list.elements_for_topic(&self.topic)
            .iter()
            .map(|element| Partition(element.partition()))
            .collect()
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, list);
        } else {
            // Anything else means that this member no longer owns the partitions.
            self.revoke(consumer, list);
        }
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        Context.log(level, facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        Context.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Context.error(error, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(session_ms: &str, poll_ms: &str) -> Duration {
        let mut config = ClientConfig::new();
        config.set("session.timeout.ms", session_ms);
        config.set("max.poll.interval.ms", poll_ms);
        hold(&config).unwrap()
    }

    #[test]
    fn partitions_are_held_no_longer_than_the_group_keeps_a_member_that_does_not_poll() {
        assert_eq!(held("45000", "300000"), Duration::from_secs(45));
        assert_eq!(held("45000", "45000"), Duration::from_millis(40_500));
        assert!(hold(&ClientConfig::new()).unwrap() > Duration::from_secs(20));
    }
}
