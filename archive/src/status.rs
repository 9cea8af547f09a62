//! How far the archive is behind the log, and when Kafka's retention overtakes it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use stitch_common::clock::Clock;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::{AssignmentEpoch, Bounds, EventLog, Feed, FeedEvent, LogError};

/// How long the first records that are not archived are waited for.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// What Kafka deletes: limits of the topic, if there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this, in milliseconds.
    pub age_ms: Option<i64>,
    /// The oldest records of a partition that has more bytes.
    pub bytes: Option<i64>,
}

/// The time of the first record at or above a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordTime {
    /// It has this time, in milliseconds since 1970.
    At(i64),
    /// There is none: what lies there is no record.
    Missing,
    /// It could not be read, or has no time.
    Unknown,
}

/// The distance of one partition's archive from the ends of its log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionStatus {
    /// The partition.
    pub partition: Partition,
    /// Where its archive begins; none if nothing of it was ever archived.
    pub origin: Option<Offset>,
    /// The position up to which it is archived.
    pub complete_to: Option<Offset>,
    /// The first offset that Kafka has.
    pub log_begin: Offset,
    /// The log's end.
    pub log_end: Offset,
    /// Records that are not archived, at most.
    pub behind_records: i64,
    /// The age of the oldest record that is not archived; none if there is none, or it is not known.
    pub behind_seconds: Option<i64>,
    /// When Kafka deletes the first record that is not archived; none if it does not by age, or if there is none.
    pub retention_left_seconds: Option<i64>,
    /// The share of the retention that is left until then, from 0 to 1; none without a retention, or if it is not known.
    pub retention_left: Option<f64>,
    /// Whether Kafka deletes by age, and the age of the oldest record that is not archived could not be found out.
    pub retention_unknown: bool,
    /// How the log shows that it is not the one that was archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_log: Option<String>,
    /// Whether less than half of the retention is left, or that is not known, or records are lost already, or the log is
    /// another one.
    pub alarm: bool,
}

impl PartitionStatus {
    /// The status of a partition. `first` is the time of the first record that is not archived.
    #[must_use]
    pub fn new(
        partition: Partition,
        archived: Option<(Offset, Offset)>,
        log: Bounds,
        first: RecordTime,
        retention: Retention,
        now_ms: i64,
    ) -> Self {
        let complete_to = archived.map_or(log.begin, |(_, complete_to)| complete_to);
        let behind = log.end.0.saturating_sub(complete_to.0).max(0);
        let age_ms = match first {
            RecordTime::At(first_ms) if behind > 0 => Some(now_ms.saturating_sub(first_ms).max(0)),
            RecordTime::At(_) | RecordTime::Missing | RecordTime::Unknown => None,
        };
        let retention_unknown =
            retention.age_ms.is_some() && behind > 0 && first == RecordTime::Unknown;
        let left_ms = match (retention.age_ms, age_ms) {
            (Some(limit), Some(age)) => Some(limit.saturating_sub(age).max(0)),
            (Some(_) | None, Some(_) | None) => None,
        };
        let is_lost = log.begin > complete_to;
        let mut left = match (retention.age_ms, left_ms) {
            (Some(limit), Some(left)) => Some(ratio(left, limit)),
            (Some(_), None) if !retention_unknown => Some(1.0),
            (Some(_) | None, _) => None,
        };
        // By size, Kafka deletes at the begin of the log: how much of what it keeps is archived.
        if retention.bytes.is_some() && log.begin > Offset(0) {
            let by_size = ratio(complete_to.0 - log.begin.0, log.end.0 - log.begin.0);
            left = Some(left.unwrap_or(1.0).min(by_size));
        }
        if is_lost {
            left = left.map(|_| 0.0);
        }
        Self {
            partition,
            origin: archived.map(|(origin, _)| origin),
            complete_to: archived.map(|(_, complete_to)| complete_to),
            log_begin: log.begin,
            log_end: log.end,
            behind_records: behind,
            behind_seconds: age_ms.map(|ms| ms / 1000),
            retention_left_seconds: left_ms.map(|ms| ms / 1000),
            retention_left: left,
            retention_unknown,
            other_log: None,
            alarm: is_lost || retention_unknown || left.is_some_and(|left| left < 0.5),
        }
    }
}

/// The share that `part` is of `whole`, from 0 to 1.
#[expect(
    clippy::cast_precision_loss,
    reason = "a share is shown with two digits"
)]
fn ratio(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        return 1.0;
    }
    (part.max(0) as f64 / whole as f64).min(1.0)
}

/// The time of the first record at or above each position.
///
/// # Errors
/// Kafka.
pub async fn first_times<L: EventLog, C: Clock>(
    log: &L,
    clock: &C,
    positions: &BTreeMap<Partition, Offset>,
) -> Result<BTreeMap<Partition, RecordTime>, LogError> {
    const EPOCH: AssignmentEpoch = AssignmentEpoch(1);
    // Until it is read.
    let mut found: BTreeMap<_, _> = positions
        .keys()
        .map(|partition| (*partition, RecordTime::Unknown))
        .collect();
    if positions.is_empty() {
        return Ok(found);
    }
    let mut feed = log.feed().await?;
    for (partition, from) in positions {
        feed.start(*partition, *from, EPOCH)?;
    }
    let mut waiting = positions.clone();
    let until = clock.now().plus(READ_TIMEOUT);
    while !waiting.is_empty() {
        let left = until.since(clock.now());
        let event = tokio::select! {
            biased;
            // Both are cancel-safe.
            event = feed.next() => event,
            () = clock.sleep(left) => break,
        };
        let (partition, first) = match event {
            FeedEvent::Records {
                partition, records, ..
            } => {
                let time = records.first().and_then(|record| record.timestamp_ms);
                (partition, time.map_or(RecordTime::Unknown, RecordTime::At))
            }
            FeedEvent::EndReached { partition, .. } => (partition, RecordTime::Missing),
            FeedEvent::Unreadable { error, .. } => (error.partition, RecordTime::Unknown),
            FeedEvent::Trouble(_) => continue,
            FeedEvent::Ended(error) => return Err(error),
        };
        if waiting.remove(&partition).is_some() {
            found.insert(partition, first);
            feed.stop(partition)?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Partition = Partition(0);
    const HOUR_MS: i64 = 3_600_000;
    const BY_AGE: Retention = Retention {
        age_ms: Some(10 * HOUR_MS),
        bytes: None,
    };

    fn status(
        complete_to: i64,
        begin: i64,
        age_hours: Option<i64>,
        retention: Retention,
    ) -> PartitionStatus {
        let log = Bounds {
            begin: Offset(begin),
            end: Offset(100),
        };
        let now = 1000 * HOUR_MS;
        let first = age_hours.map_or(RecordTime::Unknown, |hours| {
            RecordTime::At(now - hours * HOUR_MS)
        });
        PartitionStatus::new(
            P,
            Some((Offset(0), Offset(complete_to))),
            log,
            first,
            retention,
            now,
        )
    }

    #[test]
    fn the_time_left_is_that_of_the_first_record_which_is_not_archived() {
        let fine = status(90, 0, Some(4), BY_AGE);
        assert_eq!(
            (fine.behind_records, fine.behind_seconds),
            (10, Some(4 * 3600))
        );
        assert_eq!(fine.retention_left_seconds, Some(6 * 3600));
        assert!(!fine.alarm, "{fine:?}");
        assert!(status(90, 0, Some(6), BY_AGE).alarm);
        assert!(!status(100, 0, Some(6), BY_AGE).alarm, "nothing is behind");
        assert!(
            !status(90, 0, Some(600), Retention::default()).alarm,
            "nothing is deleted"
        );
        assert_eq!(
            status(90, 0, Some(600), BY_AGE).retention_left_seconds,
            Some(0)
        );
    }

    #[test]
    fn an_age_that_is_not_known_is_an_alarm_where_kafka_deletes_by_age() {
        let unknown = status(90, 0, None, BY_AGE);
        assert!(unknown.alarm && unknown.retention_unknown, "{unknown:?}");
        assert_eq!(
            (unknown.behind_seconds, unknown.retention_left),
            (None, None)
        );
        assert!(!status(100, 0, None, BY_AGE).alarm, "nothing is behind");
        assert!(!status(90, 0, None, Retention::default()).alarm);
    }

    #[test]
    fn records_that_are_lost_are_an_alarm_whatever_the_retention() {
        for retention in [BY_AGE, Retention::default()] {
            assert!(status(50, 60, Some(0), retention).alarm);
            assert!(!status(60, 60, Some(0), retention).alarm);
        }
    }

    #[test]
    fn by_size_it_is_an_alarm_if_the_older_half_of_the_log_is_not_archived() {
        let by_size = Retention {
            age_ms: None,
            bytes: Some(1 << 30),
        };
        assert!(status(70, 50, Some(1), by_size).alarm);
        assert!(!status(80, 50, Some(1), by_size).alarm);
        assert!(
            !status(10, 0, Some(1), by_size).alarm,
            "nothing was deleted yet"
        );
    }

    #[test]
    fn a_partition_that_was_never_archived_is_behind_by_all_of_its_log() {
        let log = Bounds {
            begin: Offset(5),
            end: Offset(9),
        };
        let first = RecordTime::At(0);
        let status = PartitionStatus::new(P, None, log, first, BY_AGE, 9 * HOUR_MS);
        assert_eq!((status.complete_to, status.behind_records), (None, 4));
        assert!(status.alarm);
    }
}
