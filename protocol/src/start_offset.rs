//! The offset at which a partition is counted on, and the refusals: a checkpoint that does not fit the group's commits or
//! the log (design, section 6). Each refusal protects counts that are right from being counted again or not at all.

use stitch_common::checkpoint::Checkpoint;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Bounds;
use stitch_common::range::RangeBits;
use stitch_common::user_error::UserError;

/// Why a partition must not be counted or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The group has commits, which are only made behind a checkpoint, and there is no checkpoint.
    #[error(
        "partition {partition} has no checkpoint in ZooKeeper, though its group has committed offset {committed}"
    )]
    Missing {
        /// The partition.
        partition: Partition,
        /// The offset that its group has committed.
        committed: Offset,
    },
    /// The checkpoint is behind the offset that the group has committed.
    #[error(
        "the checkpoint of partition {partition} in ZooKeeper is at {checkpoint}, behind offset {committed} that its group has committed"
    )]
    Behind {
        /// The partition.
        partition: Partition,
        /// The lowest offset of its checkpoint.
        checkpoint: Offset,
        /// The offset that its group has committed.
        committed: Offset,
    },
    /// The checkpoint is beyond the log's end.
    #[error(
        "the checkpoint of partition {partition} in ZooKeeper is at {checkpoint}, beyond the log's end at {end}"
    )]
    Beyond {
        /// The partition.
        partition: Partition,
        /// The highest offset of its checkpoint.
        checkpoint: Offset,
        /// The end of its log.
        end: Offset,
    },
    /// The log begins behind the checkpoint: the events between were never counted.
    #[error(
        "the log of partition {partition} begins at {begin}, but events are counted only up to {checkpoint}: those between are gone"
    )]
    Gone {
        /// The partition.
        partition: Partition,
        /// The lowest offset of its checkpoint.
        checkpoint: Offset,
        /// The beginning of its log.
        begin: Offset,
    },
}

impl From<&Refusal> for UserError {
    fn from(refusal: &Refusal) -> Self {
        let help = match refusal {
            Refusal::Missing { .. } | Refusal::Behind { .. } => {
                "ZooKeeper was probably restored from an old copy, and counting on would count twice: stop every \
                 processor and follow docs/operations/runbook.md, \"A checkpoint is lost\""
            }
            Refusal::Beyond { .. } => {
                "the topic was probably created again or cut off: give the new topic a namespace of its own, or follow \
                 docs/operations/runbook.md, \"The log is not the one that was counted\""
            }
            Refusal::Gone { .. } => {
                "the topic's retention has overtaken the processors: raise it, and follow \
                 docs/operations/runbook.md, \"The log is not the one that was counted\""
            }
        };
        Self::new(refusal, help)
    }
}

/// Compares a checkpoint with the offset that the group has committed and with the log's end. `committed` was read before
/// the checkpoint, and `end` after it: all three only grow.
///
/// # Errors
/// ZooKeeper was restored from an old copy, or the topic is another one.
pub fn check(
    partition: Partition,
    checkpoint: Option<&Checkpoint>,
    committed: Option<Offset>,
    end: Offset,
    bits: RangeBits,
) -> Result<(), Refusal> {
    let committed = committed.unwrap_or_default();
    let Some(checkpoint) = checkpoint else {
        if committed > Offset(0) {
            return Err(Refusal::Missing {
                partition,
                committed,
            });
        }
        return Ok(());
    };
    let (lowest, highest) = (checkpoint.lowest(bits), checkpoint.highest(bits));
    if committed > lowest {
        return Err(Refusal::Behind {
            partition,
            checkpoint: lowest,
            committed,
        });
    }
    if highest > end {
        return Err(Refusal::Beyond {
            partition,
            checkpoint: highest,
            end,
        });
    }
    Ok(())
}

/// The offset from which `partition` is delivered: the first that any range has not acknowledged.
///
/// # Errors
/// Those of [`check`]; or the log has lost events that were never counted.
pub fn start_offset(
    partition: Partition,
    checkpoint: Option<&Checkpoint>,
    committed: Option<Offset>,
    bounds: Bounds,
    bits: RangeBits,
) -> Result<Offset, Refusal> {
    check(partition, checkpoint, committed, bounds.end, bits)?;
    let Some(checkpoint) = checkpoint else {
        return Ok(bounds.begin);
    };
    let lowest = checkpoint.lowest(bits);
    if lowest >= bounds.begin {
        return Ok(lowest);
    }
    // Nothing of it was ever counted, so it starts at the first record that the log has.
    if checkpoint.highest(bits) == Offset::default() {
        return Ok(bounds.begin);
    }
    Err(Refusal::Gone {
        partition,
        checkpoint: lowest,
        begin: bounds.begin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: Partition = Partition(3);

    fn start(
        checkpoint: Option<i64>,
        committed: Option<i64>,
        begin: i64,
        end: i64,
    ) -> Result<i64, String> {
        let bits = RangeBits::new(1).unwrap();
        let checkpoint = checkpoint.map(|offset| Checkpoint::everywhere(Offset(offset)));
        let bounds = Bounds {
            begin: Offset(begin),
            end: Offset(end),
        };
        start_offset(
            PARTITION,
            checkpoint.as_ref(),
            committed.map(Offset),
            bounds,
            bits,
        )
        .map(|offset| offset.0)
        .map_err(|refusal| UserError::from(&refusal).message)
    }

    #[test]
    fn a_partition_goes_on_at_its_checkpoint() {
        assert_eq!(start(Some(5), Some(5), 0, 9), Ok(5));
        assert_eq!(start(Some(5), Some(2), 0, 5), Ok(5));
        assert_eq!(start(Some(5), None, 5, 5), Ok(5));
    }

    #[test]
    fn a_partition_without_checkpoint_starts_at_the_first_offset_of_its_log() {
        assert_eq!(start(None, None, 0, 9), Ok(0));
        assert_eq!(start(None, None, 4, 9), Ok(4));
        assert_eq!(start(None, Some(0), 4, 9), Ok(4));
        assert_eq!(start(Some(0), None, 4, 9), Ok(4));
    }

    #[test]
    fn a_lost_or_old_checkpoint_is_refused() {
        assert!(
            start(None, Some(7), 0, 9)
                .unwrap_err()
                .contains("has no checkpoint")
        );
        assert!(
            start(Some(5), Some(6), 0, 9)
                .unwrap_err()
                .contains("behind offset 6")
        );
    }

    #[test]
    fn a_checkpoint_of_another_log_is_refused() {
        assert!(
            start(Some(10), None, 0, 9)
                .unwrap_err()
                .contains("beyond the log's end")
        );
        assert!(start(Some(3), None, 4, 9).unwrap_err().contains("are gone"));
    }

    #[test]
    fn the_range_furthest_behind_decides_the_start() {
        let bits = RangeBits::new(1).unwrap();
        let checkpoint =
            Checkpoint::from_ranges(bits, |range| Offset(if range.0 == 0 { 2 } else { 8 }));
        let bounds = Bounds {
            begin: Offset(0),
            end: Offset(9),
        };
        assert_eq!(
            start_offset(PARTITION, Some(&checkpoint), None, bounds, bits),
            Ok(Offset(2))
        );
        let cut = Bounds {
            begin: Offset(0),
            end: Offset(7),
        };
        assert!(start_offset(PARTITION, Some(&checkpoint), None, cut, bits).is_err());
    }
}
