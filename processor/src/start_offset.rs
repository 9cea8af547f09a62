//! Where a partition is taken up, and when it must not be (design, section 6): each refusal protects counts that are
//! right from being counted again or not at all.

use stitch_common::checkpoint::Checkpoint;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Bounds;
use stitch_common::range::RangeBits;
use stitch_common::user_error::UserError;

/// Why a partition must not be counted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The group has commits, which are only made behind progress, and there is no progress.
    #[error(
        "partition {partition} has no progress in ZooKeeper, though its group has committed offset {committed}"
    )]
    Missing {
        partition: Partition,
        committed: Offset,
    },
    /// Checkpoint stands before what the group has committed.
    #[error(
        "progress of partition {partition} in ZooKeeper stands at {progress}, behind offset {committed} that its group has committed"
    )]
    Behind {
        partition: Partition,
        progress: Offset,
        committed: Offset,
    },
    /// Checkpoint stands behind the log's end.
    #[error(
        "progress of partition {partition} in ZooKeeper stands at {progress}, beyond the log's end at {end}"
    )]
    Beyond {
        partition: Partition,
        progress: Offset,
        end: Offset,
    },
    /// The log begins behind progress: events between were never counted.
    #[error(
        "the log of partition {partition} begins at {begin}, but events are counted only up to {progress}: those between are gone"
    )]
    Gone {
        partition: Partition,
        progress: Offset,
        begin: Offset,
    },
}

impl Refusal {
    /// What the operator can do about it.
    pub(crate) fn failure(&self) -> UserError {
        let help = match self {
            Self::Missing { .. } | Self::Behind { .. } => {
                "ZooKeeper was probably restored from an old copy, and counting on would count twice: stop every \
                 processor and follow docs/operations.md, \"progress is lost\""
            }
            Self::Beyond { .. } => {
                "the topic was probably made anew or cut off: give the new topic a namespace of its own, or follow \
                 docs/operations.md, \"the log is not the one that was counted\""
            }
            Self::Gone { .. } => {
                "the topic's retention has overtaken the processors: raise it, and follow docs/operations.md, \"the \
                 log is not the one that was counted\""
            }
        };
        UserError::new(self, help)
    }
}

/// The offset from which `partition` is delivered: the first that any range has not answered. `progress` is what
/// ZooKeeper has, `committed` what the group has committed, and `bounds` the log's, asked after progress was read.
pub(crate) fn point(
    partition: Partition,
    progress: Option<&Checkpoint>,
    committed: Option<Offset>,
    bounds: Bounds,
    bits: RangeBits,
) -> Result<Offset, Refusal> {
    let Some(progress) = progress else {
        return match committed.filter(|committed| committed.0 > 0) {
            Some(committed) => Err(Refusal::Missing {
                partition,
                committed,
            }),
            None => Ok(bounds.begin),
        };
    };
    let (lowest, highest) = (progress.lowest(bits), progress.highest(bits));
    if let Some(committed) = committed.filter(|committed| *committed > lowest) {
        return Err(Refusal::Behind {
            partition,
            progress: lowest,
            committed,
        });
    }
    if highest > bounds.end {
        return Err(Refusal::Beyond {
            partition,
            progress: highest,
            end: bounds.end,
        });
    }
    if lowest >= bounds.begin {
        return Ok(lowest);
    }
    // Nothing was ever counted here, so it starts at the first record that there is.
    if highest == Offset::default() {
        return Ok(bounds.begin);
    }
    Err(Refusal::Gone {
        partition,
        progress: lowest,
        begin: bounds.begin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITION: Partition = Partition(3);

    fn at(
        progress: Option<i64>,
        committed: Option<i64>,
        begin: i64,
        end: i64,
    ) -> Result<i64, String> {
        let bits = RangeBits::new(1).unwrap();
        let progress = progress.map(|offset| Checkpoint::everywhere(Offset(offset)));
        let bounds = Bounds {
            begin: Offset(begin),
            end: Offset(end),
        };
        point(
            PARTITION,
            progress.as_ref(),
            committed.map(Offset),
            bounds,
            bits,
        )
        .map(|offset| offset.0)
        .map_err(|refusal| refusal.failure().message)
    }

    #[test]
    fn a_partition_goes_on_where_progress_says() {
        assert_eq!(at(Some(5), Some(5), 0, 9), Ok(5));
        assert_eq!(at(Some(5), Some(2), 0, 5), Ok(5));
        assert_eq!(at(Some(5), None, 5, 5), Ok(5));
    }

    #[test]
    fn a_partition_without_progress_starts_at_its_first_offset() {
        assert_eq!(at(None, None, 0, 9), Ok(0));
        assert_eq!(at(None, None, 4, 9), Ok(4));
        assert_eq!(at(None, Some(0), 4, 9), Ok(4));
        assert_eq!(at(Some(0), None, 4, 9), Ok(4));
    }

    #[test]
    fn lost_or_old_progress_is_refused() {
        assert!(
            at(None, Some(7), 0, 9)
                .unwrap_err()
                .contains("has no progress")
        );
        assert!(
            at(Some(5), Some(6), 0, 9)
                .unwrap_err()
                .contains("behind offset 6")
        );
    }

    #[test]
    fn another_log_is_refused() {
        assert!(
            at(Some(10), None, 0, 9)
                .unwrap_err()
                .contains("beyond the log's end")
        );
        assert!(at(Some(3), None, 4, 9).unwrap_err().contains("are gone"));
    }

    #[test]
    fn the_range_furthest_behind_decides() {
        let bits = RangeBits::new(1).unwrap();
        let progress =
            Checkpoint::from_ranges(bits, |range| Offset(if range.0 == 0 { 2 } else { 8 }));
        let bounds = Bounds {
            begin: Offset(0),
            end: Offset(9),
        };
        assert_eq!(
            point(PARTITION, Some(&progress), None, bounds, bits),
            Ok(Offset(2))
        );
        let cut = Bounds {
            begin: Offset(0),
            end: Offset(7),
        };
        assert!(point(PARTITION, Some(&progress), None, cut, bits).is_err());
    }
}
