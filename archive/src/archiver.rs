//! Copies the topic: the one loop of an archiver, which reads records and puts segments.
//!
//! Nothing is decided between two archivers, and nothing is locked: each collects the records behind the end of the chain,
//! and puts them under the name that is next. One of them is first; the other goes on behind that segment
//! ([`settle`]). A process that is killed has put a segment or has not. What [`collector`] has in memory, Kafka has.
//!
//! A partition that cannot be read on is *stopped*, and never skipped: the chain ends there until the records are found
//! again, in Kafka or in what another archiver has put meanwhile.

pub(crate) mod collector;
pub(crate) mod settle;
pub(crate) mod start;
mod partitions;
mod stopped_partitions;
mod effects;
mod summary;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use stitch_common::clock::{Clock, Moment};
use stitch_common::liveness::Liveness;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, EventLog, Feed, FeedEvent, ObjectStore, Unreadable};
use stitch_common::progress::Progress;
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

use self::collector::Collector;
use self::effects::{Completion, Effect};
use self::settle::{Patience, Settled};
use crate::chain::{INDEX_SEGMENTS, Segment};
use crate::error::ArchiveError;
use crate::identity::LogComparison;
use crate::metrics;
use crate::reader::Archive;

pub use self::summary::{Stopped, Summary};

/// How often time is looked at: for segments that are old enough, and for the beat.
const TICK: Duration = Duration::from_secs(1);
/// How often new partitions are looked for, and a stopped one is tried again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);
/// How often the ends of the log are asked for, for metrics.
const DISTANCE_INTERVAL: Duration = Duration::from_secs(15);
/// The pause before a feed that could not be created is tried again.
const FEED_PAUSE: Duration = Duration::from_secs(5);
/// Attempts to put a segment of a run that ends by itself.
const ATTEMPTS_MAX: u32 = 8;
/// How long puts are tried after a stop was requested.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How long Kafka may deliver nothing of a partition to a run that ends by itself.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Until it is stopped.
    UntilStopped,
    /// To the log's end as it is at the start.
    Once,
}

/// The servers, and time.
pub struct Ports<'a, L, S, C> {
    /// The event topic.
    pub log: &'a L,
    /// The archive of it.
    pub archive: &'a Archive<S>,
    /// Time.
    pub clock: &'a C,
}

/// Copies the topic into the archive.
///
/// # Errors
/// Kafka or the store refuses, or, for [`Extent::Once`], cannot be reached at the start; a partition could not be archived
/// to the end of a [`Extent::Once`]; what was read could not be put after a stop. Whatever was put stays.
///
/// # Cancellation
/// As if the process were killed: segments are put whole or not at all.
pub async fn run<L: EventLog, S: ObjectStore, C: Clock>(
    ports: &Ports<'_, L, S, C>,
    config: &stitch_config::Archive,
    extent: Extent,
    liveness: &Liveness,
    progress: &(impl Progress + ?Sized),
    stop: &CancellationToken,
) -> Result<Summary, UserError> {
    let opened = start::once_servers_answer(ports.clock, extent, liveness, stop, async || {
        Archiver::open(ports, config, extent, progress).await
    });
    let Some(mut archiver) = opened.await? else {
        return Ok(Summary::default());
    };
    liveness.beat(ports.clock.now());
    liveness.set_ready(true);
    let ended = archiver.work(liveness, stop).await;
    liveness.set_ready(false);
    progress.end();
    ended?;
    archiver.summary()
}

/// One partition.
struct Task {
    collector: Collector,
    /// The chain's end: everything below is archived.
    complete_to: Offset,
    /// The segments at the chain's end that are in no index yet.
    unindexed: Vec<Segment>,
    /// The latest time of an archived record.
    latest_ms: Option<i64>,
    /// Where a run that ends by itself ends.
    end: Option<Offset>,
    stopped: Option<Stopped>,
    /// Log and archive have different records: it is not tried again.
    has_conflict: bool,
    /// Whether the end of the chain is looked up, to go on from there.
    is_following: bool,
    /// How the log was compared with the archive, the last time.
    compared: Option<LogComparison>,
    /// When something of it was delivered last, or nothing had to be.
    heard: Moment,
}

impl Task {
    /// Nothing is skipped. Reported once, however often it is tried again.
    fn stop(&mut self, stopped: Stopped) {
        if self.stopped.as_ref() != Some(&stopped) {
            let partition = stopped.partition;
            tracing::error!(%partition, error = %stopped.error, "the partition is stopped: nothing is skipped");
        }
        self.stopped = Some(stopped);
    }
}

struct Archiver<'a, L: EventLog, S, C, P: ?Sized> {
    ports: &'a Ports<'a, L, S, C>,
    config: &'a stitch_config::Archive,
    extent: Extent,
    progress: &'a P,
    feed: L::Feed,
    tasks: BTreeMap<Partition, Task>,
    /// New partitions that are being opened.
    opening: BTreeSet<Partition>,
    effects: FuturesUnordered<Effect<'a, L::Feed>>,
    /// How many of the effects put a segment or an index.
    puts: usize,
    epoch: AssignmentEpoch,
    patience: Patience,
    /// When this archiver began.
    opened: Moment,
    refreshed: Moment,
    measured: Moment,
    summary: Summary,
    /// A stop was requested: nothing is read any more.
    is_stopping: bool,
}

impl<'a, L: EventLog, S: ObjectStore, C: Clock, P: Progress + ?Sized> Archiver<'a, L, S, C, P> {
    async fn work(
        &mut self,
        liveness: &Liveness,
        stop: &CancellationToken,
    ) -> Result<(), UserError> {
        let clock = self.ports.clock;
        while !self.is_done() {
            liveness.beat(clock.now());
            self.put_what_is_sealed();
            let has_room = self.buffered_bytes() < self.config.memory_bytes_max;
            tokio::select! {
                biased;
                // Each is cancel-safe: the token and the sleep only wait, effects stay in their set, and deliveries in the
                // feed.
                () = stop.cancelled() => return self.finish(liveness).await,
                Some(completion) = self.effects.next(), if !self.effects.is_empty() => {
                    self.on_completion(completion)?;
                }
                event = self.feed.next(), if has_room => self.on_event(event)?,
                () = clock.sleep(TICK) => {}
            }
            self.on_tick();
        }
        // Indexes that are being written. Nothing else is waited for: Kafka may be away.
        while self.puts > 0
            && let Some(completion) = self.effects.next().await
        {
            self.on_completion(completion)?;
        }
        Ok(())
    }

    /// Puts what was read, and ends. Nothing else is waited for.
    async fn finish(&mut self, liveness: &Liveness) -> Result<(), UserError> {
        self.is_stopping = true;
        for (partition, task) in &mut self.tasks {
            if task.is_following {
                // It would be given up when the chain's end is known, for which nothing waits now.
                task.collector = Collector::new(*partition, task.complete_to, self.epoch);
            }
            task.collector.seal(self.ports.archive.folder());
        }
        let clock = self.ports.clock;
        let since = clock.now();
        self.put_what_is_sealed();
        while self.puts > 0 {
            let now = clock.now();
            liveness.beat(now);
            if now.since(since) >= STOP_PATIENCE {
                self.patience.last_attempt.cancel();
            }
            tokio::select! {
                biased;
                // Cancel-safe: effects stay in their set, and the sleep only waits.
                Some(completion) = self.effects.next() => self.on_completion(completion)?,
                () = clock.sleep(TICK) => {}
            }
            self.put_what_is_sealed();
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let is_at_end = |task: &Task| {
            // What was read before it stopped is put, and another archiver may have what comes then.
            let has_ended =
                task.stopped.is_some() && !task.is_following && task.collector.is_idle();
            has_ended || task.end.is_some_and(|end| task.complete_to >= end)
        };
        self.extent == Extent::Once && self.tasks.values().all(is_at_end)
    }

    fn buffered_bytes(&self) -> usize {
        let tasks = self.tasks.values();
        tasks.map(|task| task.collector.bytes()).sum()
    }

    fn on_event(&mut self, event: FeedEvent) -> Result<(), UserError> {
        let now = self.ports.clock.now();
        match event {
            FeedEvent::Records {
                partition,
                epoch,
                records,
            } => {
                let folder = self.ports.archive.folder();
                let segment_bytes = self.config.segment_bytes;
                if let Some(task) = self.tasks.get_mut(&partition) {
                    self.progress.advance(records.len() as u64);
                    let collector = &mut task.collector;
                    collector.on_records(epoch, &records, now, folder, segment_bytes);
                    self.on_delivered(partition, epoch);
                }
            }
            FeedEvent::EndReached {
                partition,
                epoch,
                end_offset,
            } => {
                if let Some(task) = self.tasks.get_mut(&partition) {
                    task.collector.on_end(epoch, end_offset, now);
                    self.on_delivered(partition, epoch);
                }
            }
            FeedEvent::Unreadable { epoch, error } => self.on_unreadable(epoch, error),
            FeedEvent::Trouble(error) => tracing::warn!(%error, "reading the topic"),
            FeedEvent::Ended(error) => {
                tracing::warn!(%error, "the feed has ended; it is created again");
                self.create_feed(Duration::ZERO);
            }
        }
        Ok(())
    }

    /// The partition can be read. A run that ends by itself does not wait for a full segment.
    fn on_delivered(&mut self, partition: Partition, epoch: AssignmentEpoch) {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return;
        };
        if task.collector.epoch() == epoch {
            task.heard = self.ports.clock.now();
            if task.stopped.take().is_some() {
                tracing::info!(%partition, "the partition can be read again");
            }
        }
        let next = task.collector.next();
        if task.end.is_some_and(|end| next >= end) {
            task.collector.seal(self.ports.archive.folder());
        }
    }

    /// Everything below the offset has been delivered.
    fn on_unreadable(&mut self, epoch: AssignmentEpoch, error: Unreadable) {
        let task = self.tasks.get(&error.partition);
        if task.is_some_and(|task| task.collector.epoch() == epoch) {
            self.stop_reading(Stopped::from(error));
        }
    }

    fn on_tick(&mut self) {
        let now = self.ports.clock.now();
        let folder = self.ports.archive.folder();
        let age_max = self.config.segment_age;
        let mut open = None;
        let mut buffered = 0;
        for (partition, task) in &mut self.tasks {
            let is_old = |begun: Moment| now.since(begun) >= age_max;
            if task.collector.begun().is_some_and(is_old) {
                task.collector.seal(folder);
            }
            buffered += task.collector.bytes();
            open = open.max(Some((task.collector.open_bytes(), *partition)));
        }
        // Room for what comes: the largest segment does not wait any longer.
        if buffered >= self.config.memory_bytes_max / 2
            && let Some((bytes, partition)) = open
            && bytes > 0
            && let Some(task) = self.tasks.get_mut(&partition)
        {
            task.collector.seal(folder);
        }
        let stopped = self.tasks.values().filter(|task| task.stopped.is_some());
        metrics::show(buffered, stopped.count());
        match self.extent {
            Extent::UntilStopped => self.refresh(now),
            // What is full takes no deliveries.
            Extent::Once => self.stop_silent(now, buffered < self.config.memory_bytes_max),
        }
    }

    fn put_what_is_sealed(&mut self) {
        let (archive, clock) = (self.ports.archive, self.ports.clock);
        for (partition, task) in &mut self.tasks {
            if let Some(sealed) = task.collector.take_put() {
                let (partition, patience) = (*partition, self.patience.clone());
                self.puts += 1;
                self.effects.push(Box::pin(async move {
                    let settled = settle::settle(archive, clock, partition, &sealed, &patience);
                    let settled = settled.await;
                    let segment = sealed.segment;
                    Completion::Settled {
                        partition,
                        segment,
                        settled,
                    }
                }));
            }
        }
    }

    fn on_completion(&mut self, completion: Completion<L::Feed>) -> Result<(), UserError> {
        match completion {
            Completion::Feed(feed) => self.on_feed(feed),
            Completion::Settled {
                partition,
                segment,
                settled,
            } => {
                self.puts -= 1;
                self.on_settled(partition, segment, settled)
            }
            Completion::Compared {
                partition,
                compared,
            } => {
                self.on_compared(partition, compared);
                Ok(())
            }
            Completion::Followed {
                partition,
                followed,
            } => self.on_followed(partition, followed),
            Completion::Indexed(indexed) => {
                self.puts -= 1;
                if let Err(error) = indexed {
                    tracing::warn!(%error, "an index could not be put; footers are read instead");
                }
                Ok(())
            }
            Completion::Partitions(found) => {
                self.on_partitions(found);
                Ok(())
            }
            Completion::Opened { partition, opened } => {
                self.opening.remove(&partition);
                let failed = |error| {
                    tracing::warn!(%partition, %error, "a new partition could not be opened yet");
                    Ok(())
                };
                opened.map_or_else(failed, |opened| self.add(partition, opened))
            }
            Completion::Measured(bounds) => {
                self.on_measured(bounds);
                Ok(())
            }
        }
    }

    fn on_settled(
        &mut self,
        partition: Partition,
        segment: Segment,
        settled: Settled,
    ) -> Result<(), UserError> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        match settled {
            Settled::Archived => {
                metrics::archived(&segment);
                self.summary.add(&segment);
                task.collector.on_archived();
                self.extend(partition, vec![segment]);
                let task = self.tasks.get(&partition);
                let is_stopped =
                    task.is_some_and(|task| task.stopped.is_some() && task.collector.is_idle());
                if is_stopped && self.extent == Extent::Once {
                    self.follow(partition, Duration::ZERO);
                }
                Ok(())
            }
            Settled::Overtaken => {
                metrics::overtaken();
                let from = segment.from;
                tracing::info!(%partition, %from, "another archiver was faster; going on behind its segment");
                self.follow(partition, Duration::ZERO);
                Ok(())
            }
            Settled::Conflict(found) => {
                task.has_conflict = true;
                let conflict = self.conflict(partition, &found);
                self.stop_partition(Stopped::new(partition, found.from, conflict));
                Ok(())
            }
            Settled::GaveUp(error @ ArchiveError::Store(_)) => Err(error.into()),
            Settled::GaveUp(error) => {
                self.stop_partition(Stopped::new(partition, segment.from, error));
                Ok(())
            }
        }
    }

    fn conflict(&self, partition: Partition, found: &Segment) -> UserError {
        let name = self.ports.archive.folder().segment(partition, found.from);
        let message = format!(
            "partition {partition}: the log and the archive have different records from {} to {} ({name})",
            found.from, found.to
        );
        UserError::new(
            message,
            "see docs/operations/archive.md, \"The log is not the one that was archived\"",
        )
    }

    /// Adds segments to the end of what is known of the chain.
    fn extend(&mut self, partition: Partition, segments: Vec<Segment>) {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return;
        };
        let mut indexed = Vec::new();
        for segment in segments {
            task.complete_to = segment.to;
            task.latest_ms = segment.latest_ms.or(task.latest_ms);
            task.unindexed.push(segment);
            if task.unindexed.len() == INDEX_SEGMENTS {
                indexed.push(std::mem::take(&mut task.unindexed));
            }
        }
        for segments in indexed {
            self.put_index(partition, segments);
        }
    }

    fn summary(&mut self) -> Result<Summary, UserError> {
        for (partition, task) in &self.tasks {
            self.summary
                .complete_to
                .insert(*partition, task.complete_to);
            if let Some(stopped) = &task.stopped {
                self.summary.stopped.push(stopped.clone());
            }
        }
        let unarchived = self.tasks.values().any(|task| !task.collector.is_idle());
        if unarchived && self.extent == Extent::UntilStopped {
            let message = "not everything that was read is in the archive";
            let help = "nothing is lost: Kafka has it, and the next archiver archives it";
            return Err(UserError::new(message, help));
        }
        Ok(std::mem::take(&mut self.summary))
    }
}

#[cfg(test)]
mod tests;
