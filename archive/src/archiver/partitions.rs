//! The partitions of an archiver: opened at its start and when they are new, started where the chain ends, and followed
//! where another archiver was faster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Bounds, EventLog, Feed, LogError, ObjectStore};
use stitch_common::progress::Progress;
use stitch_common::server_failure::ServerFailure;
use stitch_common::user_error::UserError;
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::effects::{Completion, reach};
use super::settle::Patience;
use super::{
    ATTEMPTS_MAX, Archiver, DISTANCE_INTERVAL, Extent, FEED_PAUSE, Ports, REFRESH_INTERVAL,
    Stopped, Summary, Task,
};
use crate::chain::{Chain, INDEX_SEGMENTS, Segment};
use crate::error::ArchiveError;
use crate::metrics::{self, Distance};
use crate::reader::Archive;
use crate::{identity, origin, store_check};

impl<'a, L: EventLog, S: ObjectStore, C: Clock, P: Progress + ?Sized> Archiver<'a, L, S, C, P> {
    /// Opens every partition, and starts to read it where its archive ends.
    pub(super) async fn open(
        ports: &'a Ports<'a, L, S, C>,
        config: &'a stitch_config::Archive,
        extent: Extent,
        progress: &'a P,
    ) -> Result<Self, ServerFailure> {
        store_check::check(ports.archive).await?;
        let partitions = ports.log.partitions().await?;
        let bounds = ports.log.bounds(&partitions).await?;
        let now = ports.clock.now();
        let mut archiver = Self {
            ports,
            config,
            extent,
            progress,
            feed: ports.log.feed().await?,
            tasks: BTreeMap::new(),
            opening: BTreeSet::new(),
            effects: FuturesUnordered::new(),
            puts: 0,
            epoch: AssignmentEpoch::default(),
            patience: Patience {
                attempts_max: (extent == Extent::Once).then_some(ATTEMPTS_MAX),
                last_attempt: CancellationToken::new(),
            },
            opened: now,
            refreshed: now,
            measured: now,
            summary: Summary::default(),
            is_stopping: false,
        };
        let mut chains = Vec::new();
        for (partition, bounds) in &bounds {
            chains.push(open(ports.archive, *partition, bounds.begin).await?);
        }
        let mut others = identity::others(ports.archive, ports.log, &chains).await?;
        let ends = chains.iter().map(|chain| {
            let bounds = bounds.get(&chain.partition);
            let end = bounds.map_or(Offset(0), |bounds| bounds.end);
            end.0
                .saturating_sub(chain.complete_to().unwrap_or_default().0)
        });
        let total = ends.map(|left| u64::try_from(left).unwrap_or(0)).sum();
        progress.begin(
            "archiving",
            "records",
            (extent == Extent::Once).then_some(total),
        );
        for chain in chains {
            let partition = chain.partition;
            let end = bounds.get(&partition).map(|bounds| bounds.end);
            archiver.add(partition, chain)?;
            if let Some(task) = archiver.tasks.get_mut(&partition) {
                task.end = end.filter(|_| extent == Extent::Once);
                if let Some(error) = others.remove(&partition) {
                    task.has_conflict = true;
                    let offset = task.complete_to;
                    archiver.stop_partition(Stopped::new(partition, offset, error));
                }
            }
        }
        archiver.on_measured(Ok(bounds));
        Ok(archiver)
    }

    /// Adds a partition, and starts to read it where its archive ends.
    pub(super) fn add(&mut self, partition: Partition, chain: Chain) -> Result<(), UserError> {
        let complete_to = chain.complete_to().unwrap_or_default();
        let latest_ms = chain
            .segments
            .iter()
            .rev()
            .find_map(|segment| segment.latest_ms);
        let indexed = chain.segments.len() / INDEX_SEGMENTS * INDEX_SEGMENTS;
        let mut segments = chain.segments;
        let unindexed = segments.split_off(indexed);
        // A process that was killed may have left one index out.
        let last_index = segments.len().saturating_sub(INDEX_SEGMENTS);
        self.put_index(partition, segments.split_off(last_index));
        let task = Task {
            collector: Collector::new(partition, complete_to, self.epoch),
            complete_to,
            unindexed,
            latest_ms,
            end: None,
            stopped: None,
            has_conflict: false,
            is_following: false,
            compared: None,
            heard: self.ports.clock.now(),
        };
        self.tasks.insert(partition, task);
        Ok(self.start(partition)?)
    }

    pub(super) fn put_index(&mut self, partition: Partition, segments: Vec<Segment>) {
        let archive = self.ports.archive;
        if segments.is_empty() {
            return;
        }
        self.puts += 1;
        self.effects.push(Box::pin(async move {
            let (store, folder) = (archive.store(), archive.folder());
            let put = crate::chain::put_index(store, folder, partition, &segments);
            Completion::Indexed(put.await)
        }));
    }

    /// Starts to read a partition behind what has been collected.
    pub(super) fn start(&mut self, partition: Partition) -> Result<(), LogError> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        self.epoch.0 += 1;
        task.collector.restart(self.epoch);
        self.feed
            .start(partition, task.collector.next(), self.epoch)
    }

    /// Stops a partition whose archive is not what it has to be: what was collected of it is given up.
    pub(super) fn stop_partition(&mut self, stopped: Stopped) {
        let partition = stopped.partition;
        if let Some(task) = self.tasks.get_mut(&partition) {
            // Deliveries of the feed are of an earlier epoch from now on.
            self.epoch.0 += 1;
            task.collector = Collector::new(partition, task.complete_to, self.epoch);
            task.stop(stopped);
        }
    }

    /// Creates a feed in the place of one that ended.
    pub(super) fn create_feed(&self, pause: Duration) {
        let Ports { log, clock, .. } = *self.ports;
        self.effects.push(Box::pin(async move {
            clock.sleep(pause).await;
            Completion::Feed(log.feed().await)
        }));
    }

    pub(super) fn on_feed(&mut self, feed: Result<L::Feed, LogError>) -> Result<(), UserError> {
        match feed {
            Ok(feed) => self.feed = feed,
            Err(error) => {
                tracing::warn!(%error, "the topic cannot be read; it is tried again");
                self.create_feed(FEED_PAUSE);
                return Ok(());
            }
        }
        // A stopped one is tried again by itself: its log may be another one by now.
        let is_read = |(_, task): &(&Partition, &Task)| task.stopped.is_none();
        let tasks = self.tasks.iter().filter(is_read);
        let partitions: Vec<_> = tasks.map(|(partition, _)| *partition).collect();
        for partition in partitions {
            self.start(partition)?;
        }
        Ok(())
    }

    /// Looks up where the chain ends now, to go on from there. What has been collected is given up. After a stop was requested
    /// nothing goes on, and nothing is looked up: the store may be away.
    pub(super) fn follow(&mut self, partition: Partition, pause: Duration) {
        let Ports { archive, clock, .. } = *self.ports;
        let Some(task) = self.tasks.get_mut(&partition) else {
            return;
        };
        if self.is_stopping {
            task.collector = Collector::new(partition, task.complete_to, self.epoch);
            return;
        }
        if std::mem::replace(&mut task.is_following, true) {
            return;
        }
        let from = task.complete_to;
        self.effects.push(Box::pin(async move {
            clock.sleep(pause).await;
            let followed = follow(archive, partition, from).await;
            Completion::Followed {
                partition,
                followed,
            }
        }));
    }

    pub(super) fn on_followed(
        &mut self,
        partition: Partition,
        followed: Result<Vec<Segment>, ArchiveError>,
    ) -> Result<(), UserError> {
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        task.is_following = false;
        let segments = match followed {
            Ok(segments) => segments,
            Err(ArchiveError::Store(error))
                if self.extent == Extent::UntilStopped || self.is_stopping =>
            {
                tracing::warn!(%partition, %error, "the end of the archive could not be read; it is tried again");
                self.follow(partition, REFRESH_INTERVAL);
                return Ok(());
            }
            Err(error @ ArchiveError::Store(_)) => return Err(error.into()),
            Err(error) => {
                let offset = task.complete_to;
                self.stop_partition(Stopped::new(partition, offset, error));
                return Ok(());
            }
        };
        let advanced = !segments.is_empty();
        let complete_to = reach(task.complete_to, &segments);
        self.extend(partition, segments);
        let Some(task) = self.tasks.get_mut(&partition) else {
            return Ok(());
        };
        task.collector = Collector::new(partition, complete_to, self.epoch);
        if task.stopped.is_some() && !advanced && self.extent == Extent::Once {
            // It stays stopped: the run ends without it.
            return Ok(());
        }
        if advanced {
            task.stopped = None;
        }
        if !self.is_stopping {
            self.start(partition)?;
        }
        Ok(())
    }

    /// Looks for new partitions, and tries stopped ones again.
    pub(super) fn refresh(&mut self, now: Moment) {
        let log = self.ports.log;
        let partitions: Vec<_> = self.tasks.keys().copied().collect();
        if now.since(self.measured) >= DISTANCE_INTERVAL {
            self.measured = now;
            self.effects.push(Box::pin(async move {
                Completion::Measured(log.bounds(&partitions).await)
            }));
        }
        if now.since(self.refreshed) < REFRESH_INTERVAL {
            return;
        }
        self.refreshed = now;
        self.retry_stopped();
        self.effects.push(Box::pin(async move {
            let bounds = async { log.bounds(&log.partitions().await?).await };
            Completion::Partitions(bounds.await)
        }));
    }

    pub(super) fn on_partitions(&mut self, found: Result<BTreeMap<Partition, Bounds>, LogError>) {
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "new partitions cannot be looked for");
                return;
            }
        };
        let archive = self.ports.archive;
        for (partition, bounds) in found {
            // One that is being opened is not opened once more: each would read it from the same place.
            if !self.tasks.contains_key(&partition) && self.opening.insert(partition) {
                self.effects.push(Box::pin(async move {
                    let opened = open(archive, partition, bounds.begin).await;
                    Completion::Opened { partition, opened }
                }));
            }
        }
    }

    /// Shows how far each partition's archive is from the ends of its log.
    pub(super) fn on_measured(&self, bounds: Result<BTreeMap<Partition, Bounds>, LogError>) {
        let Ok(bounds) = bounds else {
            return;
        };
        let now_ms = self.ports.clock.wall().timestamp_millis();
        // At least as old is what waits where nothing was archived yet.
        let opened = self.ports.clock.now().since(self.opened);
        let opened_ms = i64::try_from(opened.as_millis()).unwrap_or(i64::MAX);
        for (partition, task) in &self.tasks {
            let Some(Bounds { begin, end }) = bounds.get(partition) else {
                continue;
            };
            let complete_to = task.complete_to;
            let behind = end.0.saturating_sub(complete_to.0).max(0);
            let age_ms = task
                .latest_ms
                .map_or(opened_ms, |ms| now_ms.saturating_sub(ms).max(0));
            let distance = Distance {
                complete_to,
                behind,
                behind_ms: if behind == 0 { 0 } else { age_ms },
                margin: complete_to.0.saturating_sub(begin.0),
            };
            metrics::distance(*partition, distance);
        }
    }
}

/// The chain of a partition, which begins with the log if there is none yet.
async fn open<S: ObjectStore>(
    archive: &Archive<S>,
    partition: Partition,
    begin: Offset,
) -> Result<Chain, ArchiveError> {
    let chain = archive.chain(partition).await?;
    if chain.origin.is_some() {
        return Ok(chain);
    }
    let origin = origin::create(archive.store(), archive.folder(), partition, begin).await?;
    if origin > Offset(0) {
        tracing::warn!(%partition, %origin, "the archive begins where the log does: what was before is in neither");
    }
    archive.chain(partition).await
}

/// The segments behind `from`.
async fn follow<S: ObjectStore>(
    archive: &Archive<S>,
    partition: Partition,
    from: Offset,
) -> Result<Vec<Segment>, ArchiveError> {
    let mut segments = Vec::new();
    let mut position = from;
    while let Some(segment) = archive.segment(partition, position).await? {
        position = segment.to;
        segments.push(segment);
    }
    Ok(segments)
}
