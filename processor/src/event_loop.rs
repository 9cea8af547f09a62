//! The loop of one member: it alone drives the machine, the errands, the feed, the group and the heartbeat. Whatever
//! stops it stops them all, so a process that cannot send cannot keep its lease either (rule P3).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future::join_all};
use stitch_common::clock::{Clock, Moment};
use stitch_common::lease::Lease;
use stitch_common::offset::{Offset, Offsets, Partition};
use stitch_common::ports::{
    Bounds, EventLog, Feed, FeedEvent, Group, GroupEvent, RevokeAck, Session, SessionState, Store,
};
use stitch_common::range::RangeId;
use stitch_protocol::checkpoint_node::KnownCheckpoint;
use stitch_protocol::partition_lock::PartitionLock;
use stitch_protocol::range_lock::RangeLock;
use stitch_protocol::revocation::RevocationRequest;
use tokio_util::sync::CancellationToken;

use crate::effects::{self, Completion, Effect, Servers};
use crate::engine::{Command, Engine, rule};
use crate::member::Process;
use crate::{error::Error, metrics};

/// How a member's counting ended when it was asked to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All that it began is answered, written and given back.
    Settled,
    /// Something is not, for this reason.
    Unsettled(String),
}

/// How often the metrics are brought up to date.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log's ends are asked for, for the lag.
const MEASURE_INTERVAL: Duration = Duration::from_secs(5);
/// How many finished errands are taken in before the machine goes on.
const DONE_AT_ONCE_MAX: usize = 512;

type Watch<S> = <S as Session>::Watch;
type Ack<L> = <<L as EventLog>::Group as Group>::Ack;

/// The loop's own state: locks that are held, errands under way, and what is due.
pub(crate) struct EventLoop<'a, S: Session, C: Clock, Q: Store, L: EventLog> {
    servers: &'a Servers<'a, S, C, Q, L>,
    process: &'a Process<'a>,
    counting: Engine,
    feed: L::Feed,
    lease: Lease,
    errands: FuturesUnordered<Effect<'a, Watch<S>>>,
    range_locks: BTreeMap<RangeId, RangeLock>,
    acquiring: BTreeMap<RangeId, CancellationToken>,
    partition_locks: BTreeMap<Partition, (PartitionLock, KnownCheckpoint)>,
    taking: BTreeMap<Partition, CancellationToken>,
    requests: Vec<RevocationRequest>,
    acks: Vec<(BTreeSet<Partition>, Ack<L>)>,
    ends: BTreeMap<Partition, Bounds>,
    state: SessionState,
    beat_due: Option<Moment>,
    show_due: Moment,
    measure_due: Moment,
    committing: bool,
    commit_next: Option<Offsets>,
    stop_deadline: Option<Moment>,
}

impl<'a, S: Session, C: Clock, Q: Store, L: EventLog> EventLoop<'a, S, C, Q, L> {
    pub(crate) fn new(
        servers: &'a Servers<'a, S, C, Q, L>,
        process: &'a Process<'a>,
        counting: Engine,
        feed: L::Feed,
    ) -> Self {
        let now = servers.clock.now();
        let session = servers.session.zookeeper();
        Self {
            servers,
            process,
            counting,
            feed,
            lease: Lease::new(session.timeout()),
            errands: FuturesUnordered::new(),
            range_locks: BTreeMap::new(),
            acquiring: BTreeMap::new(),
            partition_locks: BTreeMap::new(),
            taking: BTreeMap::new(),
            requests: Vec::new(),
            acks: Vec::new(),
            ends: BTreeMap::new(),
            state: SessionState::Connected,
            beat_due: Some(now),
            show_due: now,
            measure_due: now,
            committing: false,
            commit_next: None,
            stop_deadline: None,
        }
    }

    /// Counts until asked to stop. Cancelled, it is as if the process were killed.
    ///
    /// # Errors
    /// What ended it early. Its locks go with the session then.
    pub(crate) async fn run(mut self, group: &mut L::Group) -> Result<Ended, Error> {
        self.spawn(self.servers.requests(None));
        let ended = self.go_round(group).await;
        // While anything is unsettled nobody may be granted a range before the tombstone tells of it: both come with the
        // session's end.
        match &ended {
            Ok(Ended::Unsettled(_)) if rule::keeps_locks_in_doubt() => self.abandon(),
            Ok(_) => self.let_go().await,
            Err(_) => self.abandon(),
        }
        ended
    }

    async fn go_round(&mut self, group: &mut L::Group) -> Result<Ended, Error> {
        loop {
            self.take_in_done()?;
            let now = self.servers.clock.now();
            self.process
                .status
                .set_ready(self.lease.permit(now).is_some());
            self.do_what_is_due(now);
            for command in self.counting.advance(now, &self.lease) {
                self.carry_out(command)?;
            }
            self.commit(group);
            if self.counting.is_finished() && self.acquiring.is_empty() {
                return Ok(Ended::Settled);
            }
            if self.stop_deadline.is_some_and(|deadline| now >= deadline) {
                let why = "what it began could not be settled before stop_timeout_ms".to_owned();
                return Ok(Ended::Unsettled(why));
            }
            let pause = self.wakeup(now).since(now);
            let session = self.servers.session.zookeeper();
            // Every branch is cancel-safe: each waits for an event that stays where it is until it is taken.
            tokio::select! {
                biased;
                () = self.process.stop.cancelled(), if self.stop_deadline.is_none() => self.stop(),
                state = session.state_other_than(self.state) => self.session_changed(state)?,
                event = group.next() => self.group_changed(event),
                event = self.feed.next(), if self.counting.wants_records() => self.fed(event)?,
                Some(done) = self.errands.next() => self.done(done)?,
                () = self.servers.clock.sleep(pause) => {}
            }
        }
    }

    /// Polls every errand that can go on, new ones too, and takes in those that are finished.
    fn take_in_done(&mut self) -> Result<(), Error> {
        for _ in 0..DONE_AT_ONCE_MAX {
            let Some(Some(done)) = self.errands.next().now_or_never() else {
                break;
            };
            self.done(done)?;
        }
        Ok(())
    }

    fn wakeup(&self, now: Moment) -> Moment {
        let due = [Some(self.show_due), self.beat_due, self.stop_deadline];
        let due = due.into_iter().flatten().min().unwrap_or(self.show_due);
        self.counting
            .next_wakeup(now)
            .map_or(due, |wakeup| wakeup.min(due))
    }

    fn do_what_is_due(&mut self, now: Moment) {
        if self.beat_due.is_some_and(|due| now >= due) {
            self.beat_due = None;
            self.spawn(self.servers.heartbeat());
        }
        if now >= self.show_due {
            self.show_due = now.plus(SHOW_INTERVAL);
            metrics::show(self.counting.gauges(), self.lease.left(now));
            for (partition, progress, taken_in) in self.counting.positions() {
                let end = self
                    .ends
                    .get(&partition)
                    .map_or(taken_in, |one| one.end.max(taken_in));
                metrics::position(partition, progress, end);
            }
        }
        if now >= self.measure_due {
            self.measure_due = now.plus(MEASURE_INTERVAL);
            let partitions = self.partition_locks.keys().copied().collect();
            self.spawn(self.servers.measure(partitions));
        }
    }

    fn spawn(&self, errand: impl Future<Output = Completion<Watch<S>>> + 'a) {
        self.errands.push(Box::pin(errand));
    }

    fn stop(&mut self) {
        let now = self.servers.clock.now();
        tracing::info!("stopping: finishing what was begun");
        self.stop_deadline = Some(now.plus(self.process.config.processor.stop_timeout));
        self.counting.stop(now);
        self.not_wanted_any_more();
    }

    fn session_changed(&mut self, state: SessionState) -> Result<(), Error> {
        self.state = state;
        match state {
            SessionState::Connected => {
                self.lease.reconnected();
                self.beat_due = Some(self.servers.clock.now());
            }
            SessionState::Disconnected => {
                tracing::warn!(
                    "connection to zookeeper lost, nothing is sent until it answers a write"
                );
                self.lease.disconnected();
            }
            SessionState::Over => return Err(Error::Over),
        }
        Ok(())
    }

    fn group_changed(&mut self, event: GroupEvent<Ack<L>>) {
        let now = self.servers.clock.now();
        match event {
            GroupEvent::Assigned(partitions) => {
                tracing::info!(?partitions, "partitions assigned");
                for partition in partitions {
                    self.counting.assigned(partition, now);
                }
            }
            GroupEvent::Revoked(partitions, ack) => {
                tracing::info!(?partitions, "partitions to be handed over");
                let waiting = partitions
                    .iter()
                    .copied()
                    .filter(|one| self.counting.has(*one))
                    .collect();
                self.acks.push((waiting, ack));
                for partition in partitions {
                    self.counting.revoked(partition, now);
                }
                self.acknowledge();
            }
            GroupEvent::Lost(partitions) => {
                tracing::warn!(
                    ?partitions,
                    "partitions lost to others, writing down what was counted"
                );
                for partition in partitions {
                    self.counting.revoked(partition, now);
                }
            }
            GroupEvent::Trouble(cause) => tracing::warn!(%cause, "trouble in the consumer group"),
        }
    }

    fn acknowledge(&mut self) {
        let counting = &self.counting;
        for (waiting, _) in &mut self.acks {
            waiting.retain(|partition| counting.has(*partition));
        }
        while let Some(index) = self.acks.iter().position(|(waiting, _)| waiting.is_empty()) {
            let (_, ack) = self.acks.swap_remove(index);
            ack.done();
        }
    }

    fn fed(&mut self, event: FeedEvent) -> Result<(), Error> {
        match event {
            FeedEvent::Records {
                partition,
                epoch,
                records,
            } => {
                self.counting.delivered(partition, epoch, records);
            }
            FeedEvent::EndReached {
                partition,
                epoch,
                end_offset,
            } => {
                self.counting.end_reached(partition, epoch, end_offset);
            }
            FeedEvent::Gone {
                partition,
                epoch,
                error,
            } => {
                if self.counting.is_delivered(partition, epoch) {
                    return Err(Error::LogGone {
                        partition,
                        cause: error.to_string(),
                    });
                }
            }
            FeedEvent::Trouble(cause) => tracing::warn!(%cause, "trouble reading the event log"),
        }
        Ok(())
    }

    /// Sets out on what the machine commands.
    fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        let servers = self.servers;
        match command {
            Command::Acquire(range) => {
                let not_wanted = CancellationToken::new();
                self.acquiring.insert(range, not_wanted.clone());
                self.spawn(servers.acquire(range, not_wanted));
            }
            Command::Release(range) => {
                let lock = self
                    .range_locks
                    .remove(&range)
                    .expect("what is released is held");
                self.spawn(servers.release(lock));
            }
            Command::Marker(range) => self.spawn(servers.marker(range)),
            Command::Send { id, permit, batch } => self.spawn(servers.send(id, permit, batch)),
            Command::Take(partition) => {
                let not_wanted = CancellationToken::new();
                self.taking.insert(partition, not_wanted.clone());
                self.spawn(servers.take(partition, not_wanted));
            }
            Command::WriteProgress(partition, progress) => {
                let held = self.partition_locks.remove(&partition);
                let (lock, known) =
                    held.expect("progress is written under the lock, once at a time");
                self.spawn(servers.write(lock, known, progress));
            }
            Command::GiveBack(partition) => match self.taking.get(&partition) {
                Some(not_wanted) => not_wanted.cancel(),
                None => {
                    let held = self.partition_locks.remove(&partition);
                    let (lock, _) = held.expect("what is given back is held and not being written");
                    self.spawn(servers.give_back(lock));
                }
            },
            Command::Start {
                partition,
                from,
                epoch,
            } => self.feed.start(partition, from, epoch)?,
            Command::Stop(partition) => self.feed.stop(partition)?,
            Command::Copy {
                partition,
                epoch,
                record,
                reason,
            } => {
                self.spawn(servers.copy(partition, epoch, record, reason));
            }
            Command::Commit(offsets) => self.commit_next = Some(offsets),
        }
        Ok(())
    }

    /// One commit at a time; of those that come meanwhile the last one counts.
    fn commit(&mut self, group: &L::Group) {
        if !self.committing
            && let Some(offsets) = self.commit_next.take()
        {
            self.committing = true;
            self.spawn(effects::commit(group.commit(&offsets), &self.servers.clock));
        }
    }

    fn done(&mut self, done: Completion<Watch<S>>) -> Result<(), Error> {
        let now = self.servers.clock.now();
        match done {
            Completion::Granted(lock) => self.granted(lock, now),
            Completion::NotWanted(range) => drop(self.acquiring.remove(&range)),
            Completion::Released(range) => self.counting.released(range),
            Completion::Marked(range) => self.counting.marked(range),
            Completion::Answered(id, outcome) => self.counting.answered(id, outcome, now),
            Completion::Taken { lock, known, from } => self.taken(lock, known, from),
            Completion::GivenBack(partition) => {
                self.taking.remove(&partition);
                self.counting.given_back(partition, now);
                self.acknowledge();
            }
            Completion::Written(lock, known) => {
                let partition = lock.partition();
                self.partition_locks.insert(partition, (lock, known));
                self.counting.progress_written(partition);
            }
            Completion::Copied(partition, epoch, offset) => {
                self.counting.copied(partition, epoch, offset)
            }
            Completion::Committed => self.committing = false,
            Completion::NotCommitted => {
                self.committing = false;
                self.counting.commit_failed();
            }
            Completion::Heartbeat(sent) => {
                self.lease.renew(sent);
                self.beat_due = Some(sent.plus(self.lease.heartbeat_interval()));
            }
            Completion::Unheard => {
                self.beat_due = Some(now.plus(self.lease.heartbeat_interval() / 4))
            }
            Completion::Requests(requests, watch) => {
                self.requests = requests;
                self.ask_to_yield(now);
                self.spawn(self.servers.requests(Some(watch)));
            }
            Completion::Measured(ends) => self.ends.extend(ends),
            Completion::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn granted(&mut self, lock: RangeLock, now: Moment) {
        let range = lock.range();
        self.acquiring.remove(&range);
        self.range_locks.insert(range, lock);
        self.counting.granted(range);
        self.ask_to_yield(now);
    }

    fn taken(&mut self, lock: PartitionLock, known: KnownCheckpoint, from: Offset) {
        let partition = lock.partition();
        let wanted = self
            .taking
            .remove(&partition)
            .is_some_and(|token| !token.is_cancelled());
        if wanted {
            let progress = known.progress().clone();
            self.partition_locks.insert(partition, (lock, known));
            self.counting.taken(partition, progress, from);
        } else {
            self.spawn(self.servers.give_back(lock));
        }
    }

    fn ask_to_yield(&mut self, now: Moment) {
        for (range, lock) in &self.range_locks {
            let asked = |held| {
                self.requests
                    .iter()
                    .any(|request| request.asks(*range, held))
            };
            if lock.sequence().is_some_and(asked) {
                self.counting.yield_asked(*range, now);
            }
        }
    }

    /// Gives every range lock back, within what is left of the time to stop.
    async fn let_go(self) {
        let locks = self.range_locks.into_values();
        let releasing = join_all(locks.map(|lock| self.servers.release(lock)));
        let now = self.servers.clock.now();
        let left = self.stop_deadline.unwrap_or(now).since(now);
        tokio::select! {
            biased;
            // What is not released in time goes with the session.
            _ = releasing => {}
            () = self.servers.clock.sleep(left) => {}
        }
    }

    /// Forgets every lock: they go with the session.
    fn abandon(mut self) {
        self.not_wanted_any_more();
        self.taking.values().for_each(CancellationToken::cancel);
        while let Some(Some(done)) = self.errands.next().now_or_never() {
            match done {
                Completion::Granted(lock) => lock.abandon(),
                Completion::Taken { lock, .. } | Completion::Written(lock, _) => lock.abandon(),
                Completion::NotWanted(_)
                | Completion::Released(_)
                | Completion::Marked(_)
                | Completion::Answered(..)
                | Completion::GivenBack(_)
                | Completion::Copied(..)
                | Completion::Committed
                | Completion::NotCommitted
                | Completion::Heartbeat(_)
                | Completion::Unheard
                | Completion::Requests(..)
                | Completion::Measured(_)
                | Completion::Failed(_) => {}
            }
        }
        self.range_locks.into_values().for_each(RangeLock::abandon);
        self.partition_locks
            .into_values()
            .for_each(|(lock, _)| lock.abandon());
    }

    fn not_wanted_any_more(&self) {
        self.acquiring.values().for_each(CancellationToken::cancel);
    }
}
