//! The event loop of one member: it alone drives the engine, the effects, the feed, the group and the heartbeat. What
//! stops the loop stops them all, so a process that cannot send cannot keep its lease either (rule P3).

mod commands;
mod revoke_acks;
mod suspensions;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future::join_all};
use stitch_common::clock::{Clock, Moment};
use stitch_common::lease::Lease;
use stitch_common::offset::{Offsets, Partition};
use stitch_common::ports::{
    Bounds, EventLog, Feed, FeedEvent, Group, GroupEvent, Session, SessionState, Store,
};
use stitch_protocol::doubt::DoubtCause;
use stitch_protocol::revocation::RevocationRequest;
use stitch_protocol::suspension::SuspensionRecord;
use tokio_util::sync::CancellationToken;

use crate::effects::{Completion, Connections, Effect};
use crate::engine::{Engine, SuspensionReason, rule};
use crate::error::Error;
use crate::locks::Locks;
use crate::member::Process;
use crate::metrics::{self, MemberGauges};
use crate::request::Requests;
use crate::topic_fingerprint::Fingerprints;

use revoke_acks::RevokeAcks;

/// How a member's counting ended.
#[derive(Debug)]
pub(crate) struct LoopEnd {
    /// What it left behind; an error if it ended at once, as if the process were killed.
    pub(crate) outcome: Result<StopOutcome, Error>,
    /// What made it stop, if nobody asked it to.
    pub(crate) failure: Option<Error>,
    /// When its time to stop was over, if it stopped.
    pub(crate) stop_deadline: Option<Moment>,
}

/// What a member that stopped has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopOutcome {
    /// Everything begun is acknowledged, checkpointed and released.
    Drained,
    /// Something is not, for this reason.
    InDoubt(String),
}

/// How often the metrics are updated.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log's ends are read, for the lag.
const LOG_BOUNDS_INTERVAL: Duration = Duration::from_secs(5);
/// How often topic and table are looked at: others may have their names by now. The first records of the partitions are compared
/// with those that are stored, the table with the one that the member has joined with.
const IDENTITY_INTERVAL: Duration = Duration::from_secs(60);
/// How many completions are handled before the engine advances.
const COMPLETIONS_AT_ONCE_MAX: usize = 512;

type Watch<S> = <S as Session>::Watch;
type Ack<L> = <<L as EventLog>::Group as Group>::Ack;

/// The loop's own state: locks, effects under way, and timers.
pub(crate) struct EventLoop<'a, S: Session, C: Clock, Q: Store, L: EventLog> {
    connections: &'a Connections<'a, S, C, Q, L>,
    process: &'a Process<'a>,
    engine: Engine,
    feed: L::Feed,
    fingerprints: &'a Fingerprints,
    lease: Lease,
    effects: FuturesUnordered<Effect<'a, Watch<S>>>,
    locks: Locks,
    requests: Requests,
    revocation_requests: Vec<RevocationRequest>,
    revoke_acks: RevokeAcks<Ack<L>>,
    log_bounds: BTreeMap<Partition, Bounds>,
    session_state: SessionState,
    heartbeat_due: Option<Moment>,
    gauges: MemberGauges,
    metrics_due: Moment,
    log_bounds_due: Moment,
    identity_due: Moment,
    committing: bool,
    next_commit: Option<Offsets>,
    stop_deadline: Option<Moment>,
    /// Why it stops, if nobody asked it to.
    failure: Option<Error>,
    /// Whether the group has assigned its share of the partitions at least once.
    has_assignment: bool,
    /// Ends the copies of the rejected records of each partition.
    copies: BTreeMap<Partition, CancellationToken>,
    /// What was said of counts because a partition is suspended.
    doubted: BTreeMap<Partition, DoubtCause>,
    /// The suspensions of which operators know.
    suspensions: BTreeMap<Partition, SuspensionRecord>,
}

impl<'a, S: Session, C: Clock, Q: Store, L: EventLog> EventLoop<'a, S, C, Q, L> {
    pub(crate) fn new(
        connections: &'a Connections<'a, S, C, Q, L>,
        process: &'a Process<'a>,
        engine: Engine,
        feed: L::Feed,
        fingerprints: &'a Fingerprints,
    ) -> Self {
        let now = connections.clock.now();
        let session = connections.session.zookeeper();
        let requests = Requests::new(engine.cells_per_request_max());
        Self {
            connections,
            process,
            requests,
            engine,
            feed,
            fingerprints,
            lease: Lease::new(session.timeout()),
            effects: FuturesUnordered::new(),
            locks: Locks::default(),
            revocation_requests: Vec::new(),
            revoke_acks: RevokeAcks::new(),
            log_bounds: BTreeMap::new(),
            session_state: SessionState::Connected,
            heartbeat_due: Some(now),
            gauges: MemberGauges::default(),
            metrics_due: now,
            log_bounds_due: now,
            identity_due: now.plus(IDENTITY_INTERVAL),
            committing: false,
            next_commit: None,
            stop_deadline: None,
            failure: None,
            has_assignment: false,
            copies: BTreeMap::new(),
            doubted: BTreeMap::new(),
            suspensions: BTreeMap::new(),
        }
    }

    /// Counts until asked to stop, or until its work fails: then it drains as well. Only the end of its session ends it at
    /// once; its locks end with the session then. Cancellation is as if the process were killed.
    pub(crate) async fn run(mut self, group: &mut L::Group) -> LoopEnd {
        self.spawn(self.connections.revocation_requests(None));
        let outcome = self.run_until_stopped(group).await;
        let failure = self.failure.take();
        let stop_deadline = self.stop_deadline;
        // While something is in doubt, no range may be granted to others before a dead member shows it: both come with
        // the session's end.
        match &outcome {
            Ok(StopOutcome::InDoubt(_)) if rule::keeps_locks_in_doubt() => self.abandon(),
            Ok(_) => self.release_ranges().await,
            Err(_) => self.abandon(),
        }
        LoopEnd {
            outcome,
            failure,
            stop_deadline,
        }
    }

    async fn run_until_stopped(&mut self, group: &mut L::Group) -> Result<StopOutcome, Error> {
        loop {
            self.poll_effects()?;
            let now = self.connections.clock.now();
            self.process.status.set_ready(self.is_ready(now));
            self.run_timers(now);
            for command in self.engine.advance(now, &self.lease) {
                self.carry_out(command)?;
            }
            self.send_requests();
            self.commit(group);
            if self.engine.is_finished() && !self.locks.ranges.is_waiting() {
                return Ok(StopOutcome::Drained);
            }
            if self.stop_deadline.is_some_and(|deadline| now >= deadline) {
                let why = "what it began could not be finished before stop_timeout_ms".to_owned();
                return Ok(StopOutcome::InDoubt(why));
            }
            let pause = self.next_wakeup(now).since(now);
            let session = self.connections.session.zookeeper();
            // Every branch is cancel-safe: each waits for an event that stays where it is until it is taken.
            tokio::select! {
                biased;
                () = self.process.stop.cancelled(), if self.stop_deadline.is_none() => self.stop(),
                state = session.state_other_than(self.session_state) => self.on_session_state(state)?,
                event = group.next() => self.on_group_event(event)?,
                event = self.feed.next(), if self.engine.wants_records() => self.on_feed_event(event)?,
                Some(completion) = self.effects.next() => self.on_completion(completion)?,
                () = self.connections.clock.sleep(pause) => {}
            }
        }
    }

    /// Whether it counts what it is asked to: health checks wait for that.
    fn is_ready(&self, now: Moment) -> bool {
        self.lease.permit(now).is_some() && self.has_assignment && self.failure.is_none()
    }

    /// The member's work has failed. It stops, and ends with the first error once it has drained.
    ///
    /// # Errors
    /// Its session is over: there is nothing that it could still drain.
    fn fail(&mut self, error: Error) -> Result<(), Error> {
        if error.ends_at_once() {
            return Err(error);
        }
        if self.failure.is_none() {
            tracing::warn!(%error, "this member's work has failed");
            self.failure = Some(error);
        }
        if self.stop_deadline.is_none() {
            self.stop();
        }
        Ok(())
    }

    /// Polls every effect that can go on, new ones too, and handles those that complete.
    fn poll_effects(&mut self) -> Result<(), Error> {
        for _ in 0..COMPLETIONS_AT_ONCE_MAX {
            let Some(Some(completion)) = self.effects.next().now_or_never() else {
                break;
            };
            self.on_completion(completion)?;
        }
        Ok(())
    }

    fn next_wakeup(&self, now: Moment) -> Moment {
        let engine = self.engine.next_wakeup(now);
        [self.heartbeat_due, self.stop_deadline, engine]
            .into_iter()
            .flatten()
            .fold(self.metrics_due, Moment::min)
    }

    fn run_timers(&mut self, now: Moment) {
        if self.heartbeat_due.is_some_and(|due| now >= due) {
            self.heartbeat_due = None;
            self.spawn(self.connections.heartbeat());
        }
        if now >= self.metrics_due {
            self.metrics_due = now.plus(METRICS_INTERVAL);
            metrics::show(self.engine.gauges(), self.lease.left(now));
            for reason in SuspensionReason::EVERY {
                metrics::suspended(reason, self.engine.suspended(reason));
            }
            let log_bounds = &self.log_bounds;
            let positions = self.engine.positions();
            let positions = positions
                .into_iter()
                .map(|(partition, checkpoint, delivered_end)| {
                    let bounds = log_bounds.get(&partition);
                    let end = bounds.map_or(delivered_end, |bounds| bounds.end.max(delivered_end));
                    (partition, checkpoint, end)
                });
            self.gauges.show_positions(positions);
        }
        if now >= self.log_bounds_due {
            self.log_bounds_due = now.plus(LOG_BOUNDS_INTERVAL);
            let partitions = self.locks.partitions.held().collect();
            self.spawn(self.connections.log_bounds(partitions));
        }
        if now >= self.identity_due {
            self.identity_due = now.plus(IDENTITY_INTERVAL);
            let held = self.locks.partitions.held();
            let partitions = held.chain(self.fingerprints.recreated()).collect();
            self.spawn(self.connections.first_records(partitions));
            self.spawn(self.connections.table_of_counts());
        }
    }

    fn spawn(&self, effect: impl Future<Output = Completion<Watch<S>>> + 'a) {
        self.effects.push(Box::pin(effect));
    }

    fn stop(&mut self) {
        let now = self.connections.clock.now();
        tracing::info!("stopping: finishing what was begun");
        self.stop_deadline = Some(now.plus(self.process.config.processor.stop_timeout));
        self.engine.stop(now);
        self.locks.ranges.cancel_waits();
    }

    fn on_session_state(&mut self, state: SessionState) -> Result<(), Error> {
        self.session_state = state;
        match state {
            SessionState::Connected => {
                self.lease.reconnected();
                self.heartbeat_due = Some(self.connections.clock.now());
            }
            SessionState::Disconnected => {
                tracing::warn!(
                    "connection to zookeeper lost, nothing is sent until it answers a write"
                );
                self.lease.disconnected();
            }
            SessionState::Over => return Err(Error::SessionOver),
        }
        Ok(())
    }

    fn on_group_event(&mut self, event: GroupEvent<Ack<L>>) -> Result<(), Error> {
        let now = self.connections.clock.now();
        match event {
            GroupEvent::Assigned(partitions) => {
                self.has_assignment = true;
                tracing::info!(?partitions, "partitions assigned");
                for partition in partitions {
                    self.engine.assign(partition, now);
                }
            }
            GroupEvent::Revoked(partitions, ack) => {
                tracing::info!(?partitions, "partitions revoked, handing them over");
                let waiting = partitions.iter().copied().collect();
                self.revoke_acks.add(waiting, ack);
                for partition in partitions {
                    self.engine.revoke(partition, now);
                }
                self.acknowledge_revocations();
            }
            GroupEvent::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "partitions lost to other processes, writing their checkpoints"
                );
                for partition in partitions {
                    self.engine.revoke(partition, now);
                }
            }
            GroupEvent::Trouble(cause) => tracing::warn!(%cause, "trouble in the consumer group"),
            GroupEvent::Ended(error) => self.fail(error.into())?,
        }
        Ok(())
    }

    fn acknowledge_revocations(&mut self) {
        self.revoke_acks
            .acknowledge(|partition| self.engine.has(partition));
    }

    fn on_feed_event(&mut self, event: FeedEvent) -> Result<(), Error> {
        match event {
            FeedEvent::Records {
                partition,
                epoch,
                records,
            } => {
                self.fingerprints.on_records(partition);
                self.engine.on_records(partition, epoch, records);
            }
            FeedEvent::EndReached {
                partition,
                epoch,
                end_offset,
            } => self.engine.on_end_reached(partition, epoch, end_offset),
            FeedEvent::Unreadable { epoch, error } => {
                if self.engine.is_current(error.partition, epoch) {
                    self.suspend(error.partition, error.into())?;
                }
            }
            FeedEvent::Ended(error) => self.fail(error.into())?,
            FeedEvent::Trouble(cause) => tracing::warn!(%cause, "trouble reading the event log"),
        }
        Ok(())
    }

    /// Releases every range lock, within what is left of the time to stop.
    async fn release_ranges(self) {
        let locks = self.locks.ranges.into_held();
        let releases = join_all(locks.map(|lock| self.connections.release_range(lock)));
        let now = self.connections.clock.now();
        let left = self.stop_deadline.unwrap_or(now).since(now);
        tokio::select! {
            biased;
            // A lock that is not released in time ends with the session.
            _ = releases => {}
            () = self.connections.clock.sleep(left) => {}
        }
    }

    /// Abandons every lock: they end with the session.
    fn abandon(mut self) {
        self.locks.ranges.cancel_waits();
        self.locks.partitions.cancel_waits();
        while let Some(Some(completion)) = self.effects.next().now_or_never() {
            completion.abandon();
        }
        self.locks.abandon();
    }
}
