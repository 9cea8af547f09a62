//! Waits for Kafka outside of locks, where nothing else bounds them: they last as long as the partitions that are waited
//! for make progress. Other partitions, and errors that repeat, are no progress.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use stitch_common::clock::{Clock, Moment};
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Backends;
use stitch_expected::expected_error::ExpectedError;
use stitch_expected::log_follower::LogFollower;
use stitch_totals::log_records::LogRecordsError;

use crate::context::{PATIENCE, RestoreContext};
use crate::error::Error;

/// How often a wait is looked at, and reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Runs `work` until a partition that it waits for has made no progress for [`PATIENCE`]. Reports such waits.
pub(crate) async fn while_kafka_delivers<B: Backends, T, E: From<Error>>(
    context: &RestoreContext<'_, B>,
    follower: &LogFollower,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let stall = async {
        let mut waits = Waits::default();
        loop {
            context.clock.sleep(REPORT_INTERVAL).await;
            let now = context.clock.now();
            waits.update(now, &follower.awaited());
            for (partition, waited) in &waits.stalled(now) {
                let seconds = waited.as_secs();
                if *waited >= PATIENCE {
                    let partition = *partition;
                    let stalled = LogRecordsError::Stalled { partition, seconds };
                    return ExpectedError::from(stalled);
                }
                context.progress.note(&format!(
                    "waiting for Kafka: nothing of partition {partition} for {seconds} s"
                ));
            }
        }
    };
    // Boxed, because the work is large.
    match select(Box::pin(work), pin!(stall)).await {
        Either::Left((result, _)) => result,
        Either::Right((stalled, _)) => Err(Error::from(stalled).into()),
    }
}

/// Since when partitions that are waited for have been where they are.
#[derive(Debug, Default)]
struct Waits(BTreeMap<Partition, (Offset, Moment)>);

impl Waits {
    fn update(&mut self, now: Moment, awaited: &BTreeMap<Partition, Offset>) {
        self.0
            .retain(|partition, (position, _)| awaited.get(partition) == Some(position));
        for (partition, position) in awaited {
            self.0.entry(*partition).or_insert((*position, now));
        }
    }

    /// Partitions that made no progress, and for how long.
    fn stalled(&self, now: Moment) -> Vec<(Partition, Duration)> {
        let waits = self.0.iter();
        let waits = waits.map(|(partition, (_, since))| (*partition, now.since(*since)));
        waits.filter(|(_, waited)| !waited.is_zero()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_makes_progress_is_waited_for_however_long_and_another_one_does_not_help() {
        let (slow, stuck) = (Partition(0), Partition(1));
        let mut waits = Waits::default();
        for second in 0..7 {
            let now = Moment::new(Duration::from_secs(second * 10));
            let awaited = BTreeMap::from([
                (slow, Offset(i64::try_from(second).unwrap())),
                (stuck, Offset(5)),
            ]);
            waits.update(now, &awaited);
            let stalled = waits.stalled(now);
            let expected = Duration::from_secs(second * 10);
            let expected = (second > 0).then_some((stuck, expected));
            assert_eq!(stalled, Vec::from_iter(expected));
        }
        waits.update(Moment::new(Duration::from_secs(70)), &BTreeMap::new());
        assert!(waits.0.is_empty(), "nothing is waited for any more");
    }
}
